package limits

import (
	"math"
	"slices"
	"time"
)

// Window allows Limit uses in any stretch of Period, or, where Period is 0, Limit uses at a time. A Limit of 0 allows none.
type Window struct {
	Limit  int64
	Period time.Duration
}

const (
	// longerThan is the period from which used slots cool in the database, where a crash forgets nothing, instead of in the
	// node, which can use them again without asking.
	longerThan = 10 * time.Second

	guardLeast, guardMost = time.Millisecond, 5 * time.Second
	guardShare            = 4   // of a period: a quarter
	paceShare             = 512 // of a period: 0.2 %, by which clocks may go faster or slower than one another
	localSteps            = 512 // of a period: how finely a node counts
	sharedSteps           = 100 // of a period: how finely the database counts
	sharedStepLeast       = time.Millisecond
)

// guardOf is how long a request may take to arrive at the other side without an answer from there.
func guardOf(period time.Duration) time.Duration {
	if period == 0 {
		return 0
	}
	return min(max(period/guardShare, guardLeast), guardMost)
}

// canonical orders windows by period and keeps the strictest of each.
func canonical(windows []Window) []Window {
	out := slices.Clone(windows)
	for i := range out {
		out[i].Limit = max(out[i].Limit, 0)
		out[i].Period = max(out[i].Period, 0).Truncate(time.Microsecond)
	}
	slices.SortFunc(out, func(a, b Window) int {
		if a.Period != b.Period {
			return int(max(min(a.Period-b.Period, 1), -1))
		}
		return int(max(min(a.Limit-b.Limit, 1), -1))
	})
	return slices.CompactFunc(out, func(a, b Window) bool { return a.Period == b.Period })
}

// uncapped is the cap of a node that may use all it holds.
const uncapped = math.MaxInt64

// window is one window of a key on this node: the slots it holds, and where in their lives they are.
//
//	free ──taken──> sent (cooling until the guard and the period are over, or, once answered, the period alone) ──> free
//
// A slot of period 0 stays taken until its use is done.
type window struct {
	key    *key
	period time.Duration
	guard  time.Duration
	rest   time.Duration // the period and a little more, for clocks that differ
	limit  int64

	held   int64   // leased to this node
	aside  int64   // of those, offered back in the refresh under way
	cap    int64   // how many may be busy; the rest is owed to other nodes as it comes free
	taken  int64   // busy, and not yet sent or, of period 0, not yet done
	cool   cooling // busy, and free again at known times
	moving moving  // busy, and on their way to cool in the database
	spent  cooling // that cool there, or are on their way

	now, before demand
	vain        int64 // uses that came to nothing since one was made of what callers got, as far back as demand goes
}

// moving is what a refresh moves to the database. While nobody knows what became of an earlier refresh, it has that one's too.
type moving struct {
	units int64
	list  []move
}

// move is how many units are free again at a moment, and the refresh, by its turn, that first took them along.
type move struct {
	until moment
	units int64
	turn  int64
}

// demand is what was seen of a window between two ticks.
type demand struct {
	busyMax  int64 // the most slots that were busy
	lackMax  int64 // the most units that a caller could not get
	unitMax  int64 // the most that one use of such a caller takes
	consumed int64 // units sent
	unused   int64 // uses that callers got, and had nothing to do with
}

func newWindow(k *key, w Window) *window {
	out := &window{key: k, period: w.Period, guard: guardOf(w.Period), limit: w.Limit, cap: uncapped}
	out.rest = w.Period + w.Period/paceShare
	out.cool.step = max(w.Period/localSteps, time.Microsecond)
	out.spent.step = out.cool.step
	return out
}

func (w *window) long() bool { return w.period > longerThan }

// busy is how many slots are not free.
func (w *window) busy() int64 { return w.taken + w.cool.units + w.moving.units }

// room is how many units can be taken.
func (w *window) room() int64 {
	return max(min(w.held-w.aside, w.cap, w.limit)-w.busy(), 0)
}

// take uses slots that there is room for.
func (w *window) take(units int64) { w.taken += units }

// release undoes take: the slots were not used.
func (w *window) release(units int64) { w.taken -= units }

// unused notes that a caller had nothing to do with a use that it got.
func (w *window) unused() {
	w.now.unused++
	w.vain++
}

// sent starts the time for which taken slots stay busy.
func (w *window) sent(now moment, units int64) {
	w.now.consumed += units
	w.vain = 0
	w.now.busyMax = max(w.now.busyMax, w.busy())
	if w.period == 0 {
		return
	}
	w.taken -= units
	w.cool.add(now.plus(w.guard+w.rest), units)
}

// done ends the use of slots that were sent at a moment. It tells whether they are free at once.
func (w *window) done(sent, now moment, units int64) bool {
	if w.period == 0 {
		w.taken -= units
		return true
	}
	w.cool.bringForward(sent.plus(w.guard+w.rest), now.plus(w.rest), units)
	return false
}

// lack notes that a caller could not get so many units, for uses that take unit each.
func (w *window) lack(units, unit int64) {
	w.now.lackMax, w.now.unitMax = max(w.now.lackMax, units), max(w.now.unitMax, unit)
}

// unit is what a use takes that is lacking.
func (w *window) unit() int64 { return max(w.now.unitMax, w.before.unitMax, 1) }

// satisfied notes that there was enough for everybody.
func (w *window) satisfied() { w.now.lackMax, w.before.lackMax = 0, 0 }

// lacking is how many units callers could not get lately. Of callers that only look, one use is enough.
func (w *window) lacking() int64 {
	lack := max(w.now.lackMax, w.before.lackMax)
	if w.looks() {
		return min(lack, w.unit())
	}
	return lack
}

// looksMost is how many uses callers that have something to do give back one after the other, because now and then it is gone by then.
const looksMost = 8

// looks tells whether callers only look whether there is something to do: they used nothing of what they got.
func (w *window) looks() bool {
	return w.vain > looksMost && w.now.consumed+w.before.consumed == 0
}

// tick begins to count demand anew; that of the time before still counts once.
func (w *window) tick() {
	w.now, w.before = demand{busyMax: w.busy()}, w.now
	if w.before.unused == 0 {
		w.vain = 0
	}
}

// want is how many slots this node has use for, without those that move to the database.
func (w *window) want() int64 {
	busy := w.taken + w.cool.units
	if w.long() {
		// What is used goes away, so what is wanted is what will be used until the next tick.
		consumed := max(w.now.consumed, w.before.consumed)
		return min(busy+max(w.lacking(), consumed+consumed/4+min(consumed, 1)), w.limit)
	}
	peak := max(busy, w.now.busyMax, w.before.busyMax)
	return min(peak+w.lacking()+(peak+7)/8, w.limit)
}

// surplus is how many free slots are above the cap.
func (w *window) surplus() int64 {
	return max(w.held-max(min(w.cap, w.limit), w.busy()), 0)
}

// wish is what a refresh says for a window.
type wish struct {
	period time.Duration
	busy   int64 // without what moves
	want   int64
	unit   int64
	spent  int64
	aside  int64
	idle   bool
	moves  []move
}

// prepare makes the wish for a refresh, sets aside what may be given back, and hands over what cools in the database. An
// idle window gives back everything, a stopped one even what was taken and will not be sent any more.
func (w *window) prepare(now moment, turn int64, idle, stopped bool) wish {
	w.cool.expire(now)
	w.spent.expire(now)
	if stopped && w.period > 0 {
		w.taken = 0
	}
	if w.period > 0 && (w.long() || idle || stopped) {
		by := now.plus(w.rest + w.guard + w.cool.step)
		if !idle && !stopped {
			by = now.plus(w.rest) // what is neither answered nor older than the guard waits, because its answer will bring it forward
		}
		before := w.cool.units
		old := len(w.moving.list)
		w.moving.list = w.cool.handOver(by, turn, w.moving.list)
		w.moving.units += before - w.cool.units
		for _, m := range w.moving.list[old:] {
			w.spent.add(m.until, m.units)
		}
	}
	out := wish{
		period: w.period, busy: w.taken + w.cool.units, unit: w.unit(), spent: w.spent.units,
		idle: idle || stopped, moves: slices.Clone(w.moving.list),
	}
	if out.idle {
		w.aside = max(w.held-w.busy(), 0)
		out.want = out.busy
	} else {
		w.aside = w.surplus()
		out.want = w.want()
	}
	out.aside = w.aside
	return out
}

// settle takes over what a refresh has decided.
func (w *window) settle(v verdict) {
	w.held, w.cap, w.aside = v.held, v.cap, 0
	w.moving = moving{}
}

// unsettled leaves a refresh of which nobody knows whether it was committed: what was offered may be gone, what moves may
// not have arrived.
func (w *window) unsettled() {
	w.held -= w.aside
	w.aside = 0
}
