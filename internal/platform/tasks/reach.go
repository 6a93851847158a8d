package tasks

import "time"

// reach is where in a line this node's claims have come to, by priority. The next one goes on from there: under a long transaction the
// index keeps every task that was taken, and a claim that began further back would walk through all of them. But a task may come to
// lie before that place: its transaction took long, or another node's clock of work has passed it. So now and then a claim
// goes back some way, and now and then all the way; each the more seldom the dearer it was. When it has found as many there as it asked
// for, there may be more: the next ones go on from its place, not from the furthest.
type reach struct {
	after  [4]time.Time // the place of the last task claimed, by the database's clock
	backAt time.Time    // when a claim is to go back next
	deepAt time.Time    // when one is to go all the way
}

const (
	backBy    = 5 * time.Second        // how long ago, by its place, a task may be that is found soon
	backEvery = 100 * time.Millisecond // how soon
	nearBy    = 100 * time.Millisecond // how long ago one may be that is found at once, where nothing else waits
	deepEvery = 10 * time.Second       // how soon any task is found
	dearTimes = 10                     // as long as a claim took that went back, the next one is put off, so many times
)

// stride is how far a claim goes back.
type stride int

const (
	strideOn stride = iota
	strideBack
	strideDeep
)

// next decides how far the next claim goes back.
func (r *reach) next(now time.Time) stride {
	switch {
	case !now.Before(r.deepAt):
		return strideDeep
	case !now.Before(r.backAt):
		return strideBack
	default:
		return strideOn
	}
}

// from is where a claim begins; nil: at the beginning. full says that the last one has left tasks behind.
func (r *reach) from(s stride, priority int, full bool) *time.Time {
	at := r.after[priority]
	if s == strideDeep || at.IsZero() {
		return nil
	}
	switch {
	case s == strideBack:
		at = at.Add(-backBy)
	case !full:
		at = at.Add(-nearBy)
	}
	return &at
}

// took notes a claim that took so long, the last places of what it has taken, and whether that was all it asked for.
func (r *reach) took(s stride, at time.Time, long time.Duration, last [4]time.Time, full bool) {
	for p, place := range last {
		if full && !place.IsZero() {
			r.after[p] = place
		} else {
			r.after[p] = later(r.after[p], place)
		}
	}
	switch s {
	case strideDeep:
		r.deepAt, r.backAt = at.Add(max(deepEvery, dearTimes*long)), at.Add(backEvery)
	case strideBack:
		r.backAt = at.Add(max(backEvery, dearTimes*long))
	}
}
