package limits

import (
	"slices"
	"time"
)

// Grant is one use that a caller may make. End it by Done or Unused, once; what comes later has no effect.
type Grant struct {
	limits  *Limits
	windows []*window
	units   int64
	at      moment // when it was taken, and then when it was sent
	phase   phase
}

// phase is how far a use has come.
type phase uint8

const (
	phaseTaken phase = iota
	phaseSent
	phaseEnded
)

// windowsUsual is how many windows a use has at most, usually.
const windowsUsual = 8

// Take asks for up to n uses, each of `units` slots of every window of every key. It never waits. What is not granted counts as
// demand. Where fewer than n are granted, blocker is a key that does not have more, and retry when to ask again at
// the latest; Freed may tell sooner.
func (l *Limits) Take(keys []Key, units int64, n int) (grants []*Grant, blocker Key, retry time.Duration) {
	if n <= 0 {
		return nil, Key{}, 0
	}
	units = max(units, 1)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var buffer [windowsUsual]*window
	windows, undefined, known := l.windowsOf(keys, now.mono, buffer[:0])
	if !known {
		l.metrics.refused.undefined.Add(float64(n))
		return nil, undefined, l.cfg.Refresh
	}
	fit, could, blocking := int64(n), int64(n), (*window)(nil)
	for _, w := range windows {
		could = min(could, w.limit/units)
		if room := l.roomOf(w, now) / units; room < fit {
			fit, blocking = room, w
		}
	}
	l.grant(windows, units, fit, int64(n), now.mono)
	if fit > 0 {
		grants = grantsOf(Grant{limits: l, windows: slices.Clone(windows), units: units, at: now.mono}, int(fit))
	}
	if fit == int64(n) {
		return grants, Key{}, 0
	}
	l.refuse(windows, units, could-fit, now)
	blocking.count(&l.metrics.refused, int64(n)-fit)
	return grants, blocking.key.name, l.retryAfter(blocking, units, now.mono)
}

// windowsOf collects the windows of keys, or tells which key is not defined.
func (l *Limits) windowsOf(keys []Key, now moment, windows []*window) ([]*window, Key, bool) {
	for i, name := range keys {
		if slices.Contains(keys[:i], name) {
			continue
		}
		k := l.keys[name]
		if k == nil {
			return nil, name, false
		}
		k.usedAt, k.seenAt = now, now
		windows = append(windows, k.windows...)
	}
	return windows, Key{}, true
}

// roomOf is how many units a window has now.
func (l *Limits) roomOf(w *window, now instant) int64 {
	w.cool.expire(now.mono)
	if l.stopped || !w.key.leased(now) {
		return 0
	}
	return w.room()
}

// grant takes the slots of fit uses out of n.
func (l *Limits) grant(windows []*window, units, fit, n int64, now moment) {
	l.metrics.granted.Add(float64(fit))
	for _, w := range windows {
		w.take(units * fit)
		if fit == n {
			w.satisfied()
		}
		if k := w.key; k.lackAt > 0 && fit > 0 {
			l.metrics.wait.Observe(k.lacked(now).Seconds())
			k.hasEnough(now)
		}
	}
}

func grantsOf(g Grant, n int) []*Grant {
	all, out := make([]Grant, n), make([]*Grant, n)
	for i := range out {
		all[i] = g
		out[i] = &all[i]
	}
	return out
}

// refuse notes what `more` uses lack, after what was granted, and has Run ask for it.
func (l *Limits) refuse(windows []*window, units, more int64, now instant) {
	if l.stopped {
		return
	}
	hurry := false
	for _, w := range windows {
		k := w.key
		lacks := more*units - l.roomOf(w, now)
		if lacks <= 0 {
			continue
		}
		w.lack(more*units, units)
		if k.lackAt > 0 && k.lacksAt.until(now.mono) > idleAfter {
			k.hasEnough(now.mono)
		}
		if k.lacksAt = now.mono; k.lackAt == 0 {
			k.lackAt = now.mono
		}
		l.enliven(k)
		hurry = hurry || !k.refreshing && now.mono >= k.askAt && w.held < w.want()
	}
	if hurry {
		wake(l.hurry)
	}
}

// retryAfter is when a window may have slots again that it does not have now. Requests that are under way may be answered, and so
// free their slots sooner than is known now: a period from now at the soonest.
func (l *Limits) retryAfter(w *window, units int64, now moment) time.Duration {
	const retryLeast = time.Millisecond
	retry := l.cfg.Refresh
	if w.period > 0 {
		retry = min(retry, w.rest)
	}
	if at, ok := w.cool.next(units - w.room()); ok {
		retry = min(retry, now.until(at))
	}
	return max(retry, retryLeast)
}

// Sent says that the request is about to be sent, and tells whether it still may be. It may not once the lease has run out,
// because the node stood still or the database was away; then the slots are somebody else's, and the grant has ended.
func (g *Grant) Sent() bool {
	l := g.limits
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.phase != phaseTaken {
		return false
	}
	for _, w := range g.windows {
		if l.stopped || !w.key.leased(now) || g.at < w.key.leasedSince {
			g.end(now.mono)
			return false
		}
	}
	g.phase, g.at = phaseSent, now.mono
	for _, w := range g.windows {
		w.sent(now.mono, g.units)
		if w == w.key.windows[0] { // of a key with several windows one counts
			w.key.figures.used += g.units
		}
	}
	return true
}

// Done says that the request was answered, or is known to have ended in another way.
func (g *Grant) Done() {
	now := g.limits.now()
	g.limits.mu.Lock()
	defer g.limits.mu.Unlock()
	if g.phase == phaseTaken {
		for _, w := range g.windows {
			w.unused()
		}
	}
	g.end(now.mono)
}

// Unused says that nothing was begun: the slots are free at once. After Sent it is Done.
func (g *Grant) Unused() { g.Done() }

// end gives up what the grant has. The caller holds mu.
func (g *Grant) end(now moment) {
	before := g.phase
	g.phase = phaseEnded
	freed := false
	for _, w := range g.windows {
		switch before {
		case phaseTaken:
			w.release(g.units)
			freed = freed || w.lacking() > 0
		case phaseSent:
			freed = w.done(g.at, now, g.units) && w.lacking() > 0 || freed
		}
	}
	if freed {
		wake(g.limits.freed)
	}
}
