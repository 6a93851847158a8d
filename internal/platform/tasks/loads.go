package tasks

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// loads are what the lines hold of this node's workers, so that each gets its share and one that has a backlog leaves room for the
// others.
//
// A line's share is its part, by weight, of the workers, among the lines that have begun something lately. A line that is alone has
// all of them. Beside others it may hold more than its share too, but not the last workers: as many as the others, those that are
// within their shares, have lately held at once stay free for them, up to a quarter of all. A worker cannot be taken away from a
// task; what comes seldom would wait for one to be done each time.
type loads struct {
	workers    int
	period     time.Duration    // for how long a line counts that does nothing more; at the most twice that
	lines      map[ids.ID]*load // those that hold something, or did lately
	weights    float64          // of all of them
	within     int              // held by those that are not over
	most, past int              // the most that was, since turned and in the period before
	turned     time.Time
}

// load is a line's.
type load struct {
	held   int // tasks that have a worker, or wait for one on this node
	weight float64
	seen   time.Time // when it was last known to hold some
	over   time.Time // when the line last took more than its share; zero: not lately
}

// lately is the period of a node's loads.
const lately = time.Second

// take notes that a task of a line gets a worker.
func (o *loads) take(line ids.ID, weight float64, now time.Time) *load {
	o.turn(now)
	l := o.lines[line]
	if l == nil {
		l = &load{}
		o.lines[line] = l
	}
	o.weights += weight - l.weight
	l.weight, l.seen = weight, now
	l.held++
	exceeds := l.held > o.share(l.weight, o.weights)
	switch {
	case !l.over.IsZero() && exceeds:
		l.over = now
	case !l.over.IsZero():
	case exceeds:
		l.over = now
		o.within -= l.held - 1
	default:
		o.within++
		o.most = max(o.most, o.within)
	}
	return l
}

// release notes that a task's worker is free again.
func (o *loads) release(l *load) {
	if l.held--; l.over.IsZero() {
		o.within--
	}
}

// turn begins a new period when one is over, and forgets the lines that have done nothing in the last one.
func (o *loads) turn(now time.Time) {
	if now.Sub(o.turned) < o.period {
		return
	}
	o.weights = 0
	for id, l := range o.lines {
		switch {
		case l.held > 0:
			l.seen = now
		case now.Sub(l.seen) >= 2*o.period:
			delete(o.lines, id)
			continue
		}
		o.weights += l.weight
	}
	for _, l := range o.lines {
		if !l.over.IsZero() && now.Sub(l.over) >= o.period && l.held <= o.share(l.weight, o.weights) {
			l.over = time.Time{}
			o.within += l.held
		}
	}
	o.turned, o.past, o.most = now, o.most, o.within
}

// share is the part of the workers that a weight comes to.
func (o *loads) share(weight, weights float64) int {
	return max(1, int(float64(o.workers)*weight/weights))
}

// reserve is how many free workers are kept from a line that is not alone, for those that are within their shares.
func (o *loads) reserve() int {
	return max(0, min(max(o.most, o.past)-o.within, o.workers/4))
}

// room is how many of the free workers a line may have of which more tasks have come than those in its load.
func (o *loads) room(line ids.ID, weight float64, more, free int) int {
	l, others := o.lines[line], o.weights
	if l != nil {
		more, others = more+l.held, others-l.weight
	}
	if others <= 0 {
		return free
	}
	return min(free, max(o.share(weight, others+weight)-more, free-o.reserve()))
}

// alone tells whether a line has the node to itself.
func (o *loads) alone(line ids.ID) bool {
	_, is := o.lines[line]
	return len(o.lines) == 0 || is && len(o.lines) == 1
}
