package destinations

import "time"

// BreakerPosition is what the breaker does with requests.
type BreakerPosition string

// The positions.
const (
	BreakerClosed   BreakerPosition = "closed"    // lets all through, and counts
	BreakerOpen     BreakerPosition = "open"      // lets none through, until its time is over
	BreakerHalfOpen BreakerPosition = "half_open" // lets a few through, to see
)

// Breaker is a circuit breaker. A request is counted for the spell in which it was begun: those still under way when the
// breaker opens say nothing about what comes after.
type Breaker struct {
	Position  BreakerPosition
	Spell     int64     // rises whenever it opens, and when a person closes it
	WindowAt  time.Time // closed: since when it counts
	Requests  int64     // in the window, without those refused for reasons of their own
	Failures  int64     // of these
	OpenUntil time.Time // open
	Openings  int64     // one after another, without closing in between
	Successes int64     // half open
}

// Tally is how requests of one spell went.
type Tally struct {
	Spell     int64
	Successes int64
	Failures  int64 // it did not answer, or answered that it cannot
	Refusals  int64 // answered with a 4xx: that counts for neither side, but shows that somebody answers
}

// At is the breaker at a moment: an open one whose time is over is half open.
func (b Breaker) At(now time.Time) Breaker {
	if b.Position == BreakerOpen && !now.Before(b.OpenUntil) {
		b.Position, b.Successes = BreakerHalfOpen, 0
	}
	return b
}

// Count is the breaker after it has heard how requests went.
func (b Breaker) Count(cfg CircuitBreaker, t Tally, now time.Time) Breaker {
	if cfg.Disabled {
		return b.close(now)
	}
	b = b.At(now)
	if t.Spell != b.Spell {
		return b
	}
	switch b.Position {
	case BreakerOpen: // nobody may have asked
	case BreakerHalfOpen:
		b.Successes += t.Successes + t.Refusals
		switch {
		case t.Failures > 0:
			return b.open(cfg, now)
		case b.Successes >= cfg.SuccessThreshold:
			return b.close(now)
		}
	default:
		if b.WindowAt.IsZero() || now.Sub(b.WindowAt) >= time.Duration(cfg.WindowSeconds)*time.Second {
			b.WindowAt, b.Requests, b.Failures = now, 0, 0
		}
		b.Requests += t.Successes + t.Failures
		b.Failures += t.Failures
		if b.Failures > 0 && b.Requests >= cfg.MinimumRequestCount && float64(b.Failures) >= cfg.FailureThreshold*float64(b.Requests) {
			return b.open(cfg, now)
		}
	}
	return b
}

// Probes is how many requests may be under way at once, and begin within a second, while it is not closed.
func (b Breaker) Probes(cfg CircuitBreaker) int64 { return min(1+b.Successes, cfg.ProbesMax) }

func (b Breaker) open(cfg CircuitBreaker, now time.Time) Breaker {
	wait := time.Duration(cfg.BreakerTimeoutSeconds) * time.Second
	longest := time.Duration(cfg.BreakerTimeoutSecondsMax) * time.Second
	for range min(b.Openings, 32) {
		wait = min(2*wait, longest)
	}
	return Breaker{
		Position: BreakerOpen, Spell: b.Spell + 1, OpenUntil: now.Add(min(wait, longest)), Openings: b.Openings + 1, WindowAt: now,
	}
}

// close begins to count anew. Closing what is closed changes nothing.
func (b Breaker) close(now time.Time) Breaker {
	if b.Position == BreakerClosed {
		return b
	}
	return Breaker{Position: BreakerClosed, Spell: b.Spell, WindowAt: now}
}

// Reset is what a person makes of it: closed, and deaf to what is under way.
func (b Breaker) Reset(now time.Time) Breaker {
	if b.Position == BreakerClosed {
		return b
	}
	b.Spell++
	return b.close(now)
}
