package limits

import "time"

// moment is a time by the node's monotonic clock, in nanoseconds since the node was made.
type moment int64

func (m moment) plus(d time.Duration) moment { return m + moment(d) }

func (m moment) until(later moment) time.Duration { return time.Duration(later - m) }

// cooling keeps the slots that were used and are not free again yet, by the time at which they are. Times are rounded up to
// a step, so that ten thousand uses a second need some hundred buckets and no allocation each. Buckets are in order of time;
// uses come nearly so, and find their place from the end.
type cooling struct {
	step    time.Duration
	buckets []bucket
	first   int   // those before it are over
	units   int64 // in all buckets that are not over
	handed  int64 // the last bucket that was handed over: what is in it cannot be brought forward any more
}

// bucket is how many units are free again at a time, counted in steps.
type bucket struct{ at, units int64 }

// bucketOf is the first step that is not before a moment.
func (c *cooling) bucketOf(at moment) int64 {
	return (int64(at) + int64(c.step) - 1) / int64(c.step)
}

// momentOf is when a bucket is over.
func (c *cooling) momentOf(at int64) moment { return moment(at * int64(c.step)) }

// add keeps units until a moment.
func (c *cooling) add(until moment, units int64) {
	at, i := c.bucketOf(until), len(c.buckets)
	for i > c.first && c.buckets[i-1].at > at {
		i--
	}
	c.units += units
	if i > c.first && c.buckets[i-1].at == at {
		c.buckets[i-1].units += units
		return
	}
	c.buckets = append(c.buckets, bucket{})
	copy(c.buckets[i+1:], c.buckets[i:])
	c.buckets[i] = bucket{at, units}
}

// bringForward has units free at an earlier moment than the one they were added with, unless they are over or handed over.
func (c *cooling) bringForward(from, to moment, units int64) {
	at := c.bucketOf(from)
	if at <= c.handed || c.bucketOf(to) >= at {
		return
	}
	for i := len(c.buckets) - 1; i >= c.first && c.buckets[i].at >= at; i-- {
		if c.buckets[i].at == at && c.buckets[i].units >= units {
			c.buckets[i].units -= units
			c.units -= units
			c.add(to, units)
			return
		}
	}
}

// expire forgets what is free again.
func (c *cooling) expire(now moment) {
	for c.first < len(c.buckets) && c.momentOf(c.buckets[c.first].at) <= now {
		c.units -= c.buckets[c.first].units
		c.first++
	}
	const worthMoving = 64
	switch {
	case c.first == len(c.buckets):
		c.buckets, c.first = c.buckets[:0], 0
	case c.first >= worthMoving && 2*c.first >= len(c.buckets):
		c.buckets = c.buckets[:copy(c.buckets, c.buckets[c.first:])]
		c.first = 0
	}
}

// next is when so many units are free again, if all that cool here are enough.
func (c *cooling) next(units int64) (moment, bool) {
	for _, b := range c.buckets[c.first:] {
		if units -= b.units; units <= 0 {
			return c.momentOf(b.at), true
		}
	}
	return 0, false
}

// handOver takes out everything that is free again by a moment, and adds it to a list.
func (c *cooling) handOver(by moment, turn int64, list []move) []move {
	last := int64(by) / int64(c.step)
	c.handed = max(c.handed, last)
	for c.first < len(c.buckets) && c.buckets[c.first].at <= last {
		b := c.buckets[c.first]
		c.units -= b.units
		c.first++
		if b.units > 0 {
			list = append(list, move{until: c.momentOf(b.at), units: b.units, turn: turn})
		}
	}
	return list
}
