package mockapi

import (
	"sort"
	"time"
)

// meter counts requests against one limit. Times are since the server's start and never go back. Not safe for concurrent
// use.
type meter interface {
	room(now time.Duration) room
	count(now time.Duration)
}

// room is what a limit has left at a moment.
type room struct {
	left int           // requests that may come at once
	wait time.Duration // until one may come; 0 if one may now
	full time.Duration // until nothing of the limit is used, if nothing comes meanwhile
}

func newMeter(algorithm Algorithm, l Limit) meter {
	switch algorithm {
	case FixedWindow:
		return &fixedWindow{limit: l}
	case TokenBucket:
		return &tokenBucket{limit: l, level: int64(l.Count) * int64(l.Period)}
	default:
		return &slidingWindow{limit: l}
	}
}

// slidingWindow remembers the last requests, as many as the limit allows: whether another may come depends on the oldest
// of these alone. A request leaves the window exactly one period after it came.
type slidingWindow struct {
	limit Limit
	times []time.Duration // a ring once it has as many as the limit
	first int             // where the oldest is
}

func (s *slidingWindow) at(i int) time.Duration { return s.times[(s.first+i)%len(s.times)] }

func (s *slidingWindow) room(now time.Duration) room {
	n := len(s.times)
	gone := sort.Search(n, func(i int) bool { return s.at(i) > now-s.limit.Period })
	out := room{left: s.limit.Count - (n - gone)}
	if gone < n {
		out.full = s.at(n-1) + s.limit.Period - now
	}
	if out.left == 0 {
		out.wait = s.at(0) + s.limit.Period - now
	}
	return out
}

func (s *slidingWindow) count(now time.Duration) {
	if len(s.times) < s.limit.Count {
		s.times = append(s.times, now)
		return
	}
	s.times[s.first] = now
	s.first = (s.first + 1) % len(s.times)
}

// fixedWindow counts in windows that stand side by side from the server's start on.
type fixedWindow struct {
	limit  Limit
	window int64
	used   int
}

func (f *fixedWindow) turn(now time.Duration) {
	if window := int64(now / f.limit.Period); window != f.window {
		f.window, f.used = window, 0
	}
}

func (f *fixedWindow) room(now time.Duration) room {
	f.turn(now)
	out := room{left: max(0, f.limit.Count-f.used)}
	end := time.Duration(f.window+1)*f.limit.Period - now
	if f.used > 0 {
		out.full = end
	}
	if out.left == 0 {
		out.wait = end
	}
	return out
}

func (f *fixedWindow) count(now time.Duration) {
	f.turn(now)
	f.used++
}

// tokenBucket is full at the start and refills evenly. Its level is in tokens times nanoseconds of the period, so that no
// fraction is lost: a nanosecond adds the limit's count, a request takes its period.
type tokenBucket struct {
	limit Limit
	level int64
	at    time.Duration
}

func (t *tokenBucket) refill(now time.Duration) {
	elapsed := min(now-t.at, t.limit.Period)
	t.level = min(t.capacity(), t.level+int64(elapsed)*int64(t.limit.Count))
	t.at = now
}

func (t *tokenBucket) capacity() int64 { return int64(t.limit.Count) * int64(t.limit.Period) }

func (t *tokenBucket) room(now time.Duration) room {
	t.refill(now)
	out := room{left: int(t.level / int64(t.limit.Period)), full: t.until(t.capacity())}
	if out.left == 0 {
		out.wait = t.until(int64(t.limit.Period))
	}
	return out
}

// until is how long it takes to a level.
func (t *tokenBucket) until(level int64) time.Duration {
	missing, perNanosecond := level-t.level, int64(t.limit.Count)
	return time.Duration((missing + perNanosecond - 1) / perNanosecond)
}

func (t *tokenBucket) count(now time.Duration) {
	t.refill(now)
	t.level = max(0, t.level-int64(t.limit.Period))
}

// peak finds the most requests that any window of a length has ever had, wherever it begins.
type peak struct {
	length time.Duration
	times  []time.Duration // those within the last window are from first on
	first  int
	most   int
	at     time.Duration // when the window with the most ended
	short  bool          // more came within one window than it may remember: most is a lower bound
}

func (p *peak) add(now time.Duration, remember int) {
	for p.first < len(p.times) && p.times[p.first] <= now-p.length {
		p.first++
	}
	if len(p.times)-p.first >= remember {
		p.first++
		p.short = true
	}
	if p.first > len(p.times)/2 {
		p.times = p.times[:copy(p.times, p.times[p.first:])]
		p.first = 0
	}
	p.times = append(p.times, now)
	if n := len(p.times) - p.first; n > p.most {
		p.most, p.at = n, now
	}
}

var (
	_ meter = (*slidingWindow)(nil)
	_ meter = (*fixedWindow)(nil)
	_ meter = (*tokenBucket)(nil)
)
