package tasks

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Waiting says why a task is not at work, and when it may be.
type Waiting struct {
	For       string    // one of the WaitsFor constants
	Sentence  string    // for people
	Until     time.Time // when what it waits for ends; zero: nobody knows, or when somebody acts
	HeldBy    string    // WaitsForDestination: the hold's reason
	Limit     string    // WaitsForLimit: its key; WaitsForDestination: that of a limit key which is held by itself
	Behind    ids.ID    // WaitsForTurn: the task whose turn it is
	Position  int       // how many come before it, where that counts
	More      bool      // there are more than Position
	PerSecond float64   // how many can be begun in a second; 0: nobody knows
	Estimate  time.Time // when it is likely to begin; zero: nobody knows
}

// What a task can wait for.
const (
	WaitsForQueue       = "queue_paused"
	WaitsForDestination = "destination_held"
	WaitsForMissing     = "destination_missing"
	WaitsForTurn        = "ordering"
	WaitsForTime        = "scheduled"
	WaitsForRetry       = "retry"
	WaitsForLimit       = "limit"
	WaitsForConcurrency = "concurrency"
	WaitsForWorker      = "worker"
)

// facts are what the rule goes by, as they were read.
type facts struct {
	now         time.Time // by the database's clock
	task        Shown
	queue       *Queue // nil: it was never made
	destination *destinations.Destination
	keyHold     *destinations.Hold // of the task's limit key alone; nil: there is none
	limits      []limitFact
	first       ids.ID // blocked: the task whose turn it is
	before      int    // in its line, or before its turn
}

// limitFact is a limit that the task counts against.
type limitFact struct {
	key   limits.Key
	state limits.State
}

// why is the rule: the first thing that must come to pass. A task that is at work, or has ended, waits for nothing.
func (f *facts) why() (Waiting, bool) {
	if !alive(f.task.State) || f.task.State == StateRunning {
		return Waiting{}, false
	}
	w := f.gate()
	if w.For == "" {
		w = f.state()
	}
	w.More = f.before >= positionMax
	w.PerSecond = f.rate()
	w.Estimate = f.estimate(w)
	return w, true
}

// gate is what keeps all tasks of the queue or the destination waiting, whatever their state, if it lasts beyond the task's time.
func (f *facts) gate() Waiting {
	outlasts := func(until time.Time) bool {
		return f.task.State == StateAvailable || until.IsZero() || until.After(f.task.DueAt)
	}
	if q := f.queue; q != nil && q.State == QueuePaused && outlasts(q.PausedUntil) {
		return Waiting{For: WaitsForQueue, Until: q.PausedUntil, Sentence: "The queue " + q.Name + " is paused" + ending(q.PausedUntil, "it is resumed") + because(q.PauseReason)}
	}
	d := f.destination
	if f.task.Destination == "" {
		return Waiting{}
	}
	if d == nil {
		return Waiting{For: WaitsForMissing, Sentence: "There is no destination " + f.task.Destination + ". Make it again, or cancel the task."}
	}
	hold, is := d.State.Hold(f.now)
	if k := f.keyHold; k != nil && (!is || !hold.Until.IsZero() && k.Until.After(hold.Until)) {
		hold, is = *k, true
	}
	if !is || !outlasts(hold.Until) {
		return Waiting{}
	}
	if hold.LimitKey != "" {
		return Waiting{
			For: WaitsForDestination, HeldBy: string(hold.Reason), Limit: "destination/" + d.Name + "/" + hold.LimitKey, Until: hold.Until,
			Sentence: "The destination " + d.Name + " has asked that nothing be sent for the limit key " + hold.LimitKey + ending(hold.Until, "") + because(hold.Detail),
		}
	}
	said := map[destinations.HoldReason]string{
		destinations.HeldByOperator:   "is paused",
		destinations.HeldByRetryAfter: "has asked to be left alone",
		destinations.HeldByAuth:       "refuses its credentials",
		destinations.HeldByBreaker:    "does not answer well, so its circuit breaker is open",
	}[hold.Reason]
	acts := "it is resumed"
	if hold.Reason == destinations.HeldByAuth {
		acts = "they are changed, or it is resumed"
	}
	return Waiting{
		For: WaitsForDestination, HeldBy: string(hold.Reason), Until: hold.Until,
		Sentence: "The destination " + d.Name + " " + said + ending(hold.Until, acts) + because(hold.Detail),
	}
}

// state is what a task waits for by its own state.
func (f *facts) state() Waiting {
	switch f.task.State {
	case StateBlocked:
		w := Waiting{For: WaitsForTurn, Behind: f.first, Position: f.before, Sentence: "It waits for its turn: tasks with the same ordering key are done one after the other."}
		if !f.first.IsZero() {
			w.Sentence = fmt.Sprintf("It waits for its turn: %s with the same ordering key comes first, and %d others before it.", ids.Format(Prefix, f.first), f.before)
		}
		return w
	case StateScheduled:
		return Waiting{For: WaitsForTime, Until: f.task.DueAt, Sentence: "It is wanted at " + spoken(f.task.DueAt) + "."}
	case StateRetryable:
		sentence := fmt.Sprintf("Attempt %d ended as %s; the next is at %s.", f.task.Last.Number, f.task.Last.Outcome, spoken(f.task.DueAt))
		return Waiting{For: WaitsForRetry, Until: f.task.DueAt, Sentence: sentence}
	}
	if w := f.exhausted(); w.For != "" {
		return w
	}
	return Waiting{
		For: WaitsForWorker, Position: f.before,
		Sentence: fmt.Sprintf("Nothing stands in its way but %s before it in its line, and a worker that is free.", howMany(f.before, "task")),
	}
}

// exhausted is the limit that has no slot left; of several, the one that has one last.
func (f *facts) exhausted() Waiting {
	var found Waiting
	for _, l := range f.limits {
		for _, w := range l.state.Windows {
			if w.Limit-w.Busy-w.Cooling >= int64(f.task.Units) {
				continue
			}
			if !found.Until.IsZero() && found.Until.After(w.FreeAt) {
				continue
			}
			found = Waiting{For: WaitsForLimit, Limit: l.key.Name, Position: f.before, Until: w.FreeAt}
			found.Sentence = fmt.Sprintf("The limit %s allows %d in %v%s, and that is used up", l.key.Name, w.Limit, w.Period, f.learned(l.key))
			if w.Period == 0 {
				found.For = WaitsForConcurrency
				found.Sentence = fmt.Sprintf("The limit %s allows %d at a time, and so many are at work", l.key.Name, w.Limit)
			}
			if !w.FreeAt.IsZero() {
				found.Sentence += "; the next slot is free at " + spoken(w.FreeAt)
			}
			found.Sentence += fmt.Sprintf(". %s before it in its line.", howMany(f.before, "task"))
		}
	}
	return found
}

// learned says at which share a destination's rate limits are kept, where that is less than all.
func (f *facts) learned(key limits.Key) string {
	if f.destination == nil || !strings.HasPrefix(key.Name, "destination/") {
		return ""
	}
	permille := f.destination.State.Learned.Share(f.now)
	if permille == 1000 {
		return ""
	}
	return fmt.Sprintf(" (%d.%d %% of what is configured, for it has turned requests away)", permille/10, permille%10)
}

// rate is how many tasks like this one can be begun in a second, by the tightest of the rates that those before it use up: a
// day's limit that has room for all of them slows nobody. Where none is used up, the tightest counts.
func (f *facts) rate() float64 {
	units := int64(max(1, f.task.Units))
	tightest, binding := math.Inf(1), math.Inf(1)
	for _, l := range f.limits {
		for _, w := range l.state.Windows {
			if w.Period == 0 {
				continue
			}
			rate := float64(w.Limit) / w.Period.Seconds() / float64(units)
			tightest = min(tightest, rate)
			if w.Limit-w.Busy-w.Cooling <= int64(f.before)*units {
				binding = min(binding, rate)
			}
		}
	}
	switch {
	case !math.IsInf(binding, 1):
		return binding
	case !math.IsInf(tightest, 1):
		return tightest
	}
	return 0
}

// estimate is when the task is likely to begin: after what it waits for, and after those before it at the pace of its limits.
func (f *facts) estimate(w Waiting) time.Time {
	begin := later(w.Until, f.now)
	switch {
	case w.Until.IsZero() && (w.For == WaitsForQueue || w.For == WaitsForDestination || w.For == WaitsForMissing || w.For == WaitsForTurn ||
		w.For == WaitsForConcurrency):
		return time.Time{} // nobody knows
	case f.before == 0 || w.For == WaitsForTime || w.For == WaitsForRetry:
		return begin
	case w.PerSecond == 0 || w.More:
		return time.Time{}
	}
	return begin.Add(time.Duration(float64(f.before) / w.PerSecond * float64(time.Second)))
}

func ending(until time.Time, otherwise string) string {
	if until.IsZero() {
		return ", until " + otherwise
	}
	return " until " + spoken(until)
}

func because(detail string) string {
	if detail == "" {
		return "."
	}
	return ": " + detail
}

func spoken(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

func howMany(n int, what string) string {
	switch {
	case n == 0:
		return "no " + what
	case n == 1:
		return "1 " + what
	case n >= positionMax:
		return fmt.Sprintf("more than %d %ss", positionMax, what)
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}
