package tasks

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// grant is what a task may use of the limits it counts against.
type grant = limits.Grant

func unused(grants []*grant) {
	for _, g := range grants {
		g.Unused()
	}
}

// probe is how many tasks are asked for in a line that seemed empty the last time.
const probe = 16

// admit decides how many tasks of each line may be begun: at most budget in all, divided among the lines in which tasks wait, and no
// more than pauses, holds and limits let through. It tells for how long all that was refused stays so, and whether a line got less than
// it might have had with more workers.
func (t *Tasks) admit(now time.Time, budget int) (shares []share, wait time.Duration, short bool) {
	wait = t.cfg.PollMax
	open := make([]*queueing, 0, len(t.lines))
	for _, q := range t.lines {
		if q.asked = false; !q.hungry && now.Sub(q.found) > lineActive {
			continue
		}
		if until := t.heldUntil(now, q); until.After(now) {
			wait = min(wait, until.Sub(now))
			continue
		}
		q.asked = true
		open = append(open, q)
	}
	slices.SortFunc(open, func(a, b *queueing) int { return ids.Compare(a.id, b.id) })
	open = t.turn(open, budget)
	waiting, idle, d := t.claimants(open, budget)
	reserve, rest := d.reserve, waiting
	for range divisionsMax { // what limits refuse one line is for the others
		d.among(rest)
		var retry time.Duration
		if rest, retry = t.ask(&d, rest); retry == 0 {
			break
		}
		d.reserve = min(d.reserve, reserve)
		wait = min(wait, retry)
	}
	for _, c := range rest {
		short = short || c.n == 0
	}
	d.probes(idle)
	if _, retry := t.ask(&d, idle); retry > 0 {
		wait = min(wait, retry)
	}
	for _, c := range slices.Concat(waiting, idle) {
		if c.n > 0 {
			shares = append(shares, c.share)
		}
	}
	t.keep(d.kept)
	return shares, wait, short
}

// divisionsMax bounds how often what limits have refused is divided again.
const divisionsMax = 8

// turn puts the lines in the order in which those that have equally little are served: each time it begins where the last one ended.
// Of very many it chooses some.
func (t *Tasks) turn(open []*queueing, budget int) []*queueing {
	if len(open) == 0 {
		return nil
	}
	from, _ := slices.BinarySearchFunc(open, t.turnFrom, func(q *queueing, id ids.ID) int { return ids.Compare(q.id, id) })
	t.turnFrom = open[(from+min(budget, len(open)-1))%len(open)].id
	return slices.Concat(open[from:], open[:from])[:min(len(open), divisionsMax*budget)]
}

// heldUntil is until when nothing of a line may be begun, whatever the limits say; the past: now.
func (t *Tasks) heldUntil(now time.Time, q *queueing) time.Time {
	until := t.queues.heldUntil(now, q.org, q.queue)
	if q.destination == "" {
		return until
	}
	if q.entry == nil {
		return later(until, now.Add(time.Second))
	}
	if hold, is := q.entry.Gate(q.limitKey); is {
		pause := forever
		if !hold.Until.IsZero() {
			pause = hold.Until.Sub(t.destinations.Now())
		}
		until = later(until, now.Add(pause))
	}
	return until
}

// meet finds the destinations of lines.
func (t *Tasks) meet(ctx context.Context) error {
	var refs []destinations.Ref
	var of []*queueing
	for _, q := range t.lines {
		if q.destination != "" && (q.entry == nil || q.entry.Gone()) {
			refs, of = append(refs, destinations.Ref{OrgID: q.org, Name: q.destination}), append(of, q)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	entries, err := t.destinations.Use(ctx, refs)
	if err != nil {
		return err
	}
	for i, q := range of {
		q.entry = entries[i]
	}
	return nil
}

// ask asks the limits of lines for what they were given. It returns the lines to which nothing was refused, and when to ask again for
// what was; 0: nothing was.
func (t *Tasks) ask(d *division, lines []*claimant) (rest []*claimant, wait time.Duration) {
	for _, c := range lines {
		wanted := c.n - c.let
		if keys := t.limitKeys(c.q); wanted > 0 && len(keys) > 0 {
			grants, _, retry := t.limits.Take(keys, int64(c.q.units), wanted)
			c.grants = append(c.grants, grants...)
			if refused := wanted - len(grants); refused > 0 {
				c.n -= refused
				c.let = c.n
				d.back(c, refused)
				retry = max(retry, time.Microsecond)
				wait = min(cmp.Or(wait, retry), retry)
				continue
			}
		}
		c.let = c.n
		rest = append(rest, c)
	}
	return rest, wait
}

// limitKeys are the limits that a line's tasks count against.
func (t *Tasks) limitKeys(q *queueing) []limits.Key {
	keys := t.queues.limitKeys(q.org, q.queue)
	if q.entry != nil {
		for _, l := range q.entry.Limits(q.limitKey) {
			t.limits.Define(l.Key, l.Version, l.Windows)
			keys = append(keys, l.Key)
		}
	}
	return keys
}

// newcomers are the tasks of one list that are to be taken as they are queued.
type newcomers struct {
	free   int            // workers that have nothing to do
	toWait int            // so many more may wait for one
	taken  map[ids.ID]int // by line
}

// newcomers tells how many tasks this node may take as they are queued.
func (t *Tasks) newcomers() newcomers {
	t.mu.Lock()
	defer t.mu.Unlock()
	free := t.cfg.Workers - t.running - t.waiting
	return newcomers{free: max(free, 0), toWait: max(min(free, 0)+waitingPerWorker*t.cfg.Workers, 0), taken: map[ids.ID]int{}}
}

// atOnce takes a task as it is queued, where nothing stands in its way, it overtakes nobody, and nothing has to be counted. Those for
// which no worker is free wait for one here only while nobody else's would stand in line behind them.
func (t *Tasks) atOnce(s *Spec, task *Task, n *newcomers) bool {
	if s.After > 0 || !s.At.IsZero() || s.OrderingKey != "" || task.Destination != "" || s.Priority > 1 {
		return false
	}
	if n.free == 0 && (n.toWait == 0 || task.FairnessKey != "") {
		return false
	}
	if _, known := t.kinds[task.Kind]; !known || !t.queues.free(task.since, task.OrgID, task.Queue) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, waits := t.backlog[task.line]; waits {
		return false
	}
	switch {
	case n.free > 0 && t.loads.room(task.line, task.weight, n.taken[task.line], n.free) > 0:
		n.free--
	case n.free == 0 && t.loads.alone(task.line):
		n.toWait--
	default:
		return false
	}
	n.taken[task.line]++
	return true
}
