package tasks

import "container/heap"

// claimant is a line among those that the free workers are divided among.
type claimant struct {
	share       // what it is given so far, of workers and of its limits
	let    int  // so much of that its limits have let through
	held   int  // of its tasks that have a worker already
	most   int  // its share of all workers
	over   bool // it has had more than that lately: what it gets is not what workers are reserved for
	behind int  // its place among those that have equally little
}

// next is how much a claimant has for its weight when it gets one more.
func (c *claimant) next() float64 { return float64(c.held+c.n+1) / c.q.weight }

// within tells whether a claimant is to have one more by its share.
func (c *claimant) within() bool { return c.held+c.n < c.most }

// claimants are a heap with the one on top that has the least.
type claimants []*claimant

func (c claimants) Len() int      { return len(c) }
func (c claimants) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c claimants) Push(any)      {} // all are there from the beginning
func (c claimants) Less(i, j int) bool {
	a, b := c[i].next(), c[j].next()
	return a < b || a == b && c[i].behind < c[j].behind
}

func (c *claimants) Pop() any {
	last := len(*c) - 1
	*c = (*c)[:last]
	return nil
}

// division is what a round has to give out.
type division struct {
	budget  int // so many tasks are claimed at once, at the most
	free    int // workers
	reserve int // of them, for lines within their shares
	kept    bool
}

// back takes back what limits have refused a line.
func (d *division) back(c *claimant, n int) {
	d.budget += n
	d.free += n
	if !c.over {
		d.reserve += n
	}
}

// among gives out workers one after the other, each to the line that has the least. It notes whether the reserve has kept one from
// having more.
func (d *division) among(lines []*claimant) {
	rest := claimants(append([]*claimant(nil), lines...))
	for heap.Init(&rest); d.budget > 0 && d.free > 0 && len(rest) > 0; heap.Fix(&rest, 0) {
		c := rest[0]
		within := c.within()
		if !within && d.free <= d.reserve {
			d.kept = true
			if heap.Remove(&rest, 0); len(rest) == 0 {
				return
			}
			continue
		}
		if within && !c.over {
			d.reserve = max(0, d.reserve-1)
		}
		c.n++
		d.free--
		d.budget--
	}
}

// probes gives lines in which nothing waits, for all that is known, a few to find out: of the workers that are left, or one task each that
// is the next to get one.
func (d *division) probes(idle []*claimant) {
	few, all := 1, min(d.budget, max(d.free, 1))
	if len(idle) > 0 {
		few = min(probe, max(1, all/(2*len(idle))))
	}
	for _, c := range idle {
		if !c.within() && d.free <= d.reserve {
			continue
		}
		c.n = min(few, all)
		all -= c.n
	}
}

// claimants finds out what lines have of this node's workers: those in which tasks are known to wait, and the others.
func (t *Tasks) claimants(open []*queueing, budget int) (waiting, idle []*claimant, d division) {
	all := make([]claimant, len(open))
	t.mu.Lock()
	defer t.mu.Unlock()
	weights, lines := t.loads.weights, len(t.loads.lines)
	for i, q := range open {
		c := &all[i]
		c.q, c.behind = q, i
		if l := t.loads.lines[q.id]; l != nil {
			c.held, c.over = l.held, !l.over.IsZero()
		} else if q.hungry {
			weights += q.weight
			lines++
		}
	}
	for i := range all {
		c := &all[i]
		c.most = t.loads.share(c.q.weight, max(weights, c.q.weight))
		if c.q.hungry {
			waiting = append(waiting, c)
		} else {
			idle = append(idle, c)
		}
	}
	d = division{budget: budget, free: t.cfg.Workers - t.running - t.waiting}
	if lines > 1 {
		d.reserve = t.loads.reserve()
	}
	return waiting, idle, d
}
