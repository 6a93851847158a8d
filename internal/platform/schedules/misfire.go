package schedules

import "time"

// makeUpMax is how old a missed tick may be and still be made up for. Its month's partition is then there.
const makeUpMax = 28 * 24 * time.Hour

// tick is a moment that becomes a task.
type tick struct {
	at     time.Time
	missed bool // made up for, later than the grace allows
}

// settlement is what becomes of the ticks that are due.
type settlement struct {
	ticks []tick
	// after is how far ticks are accounted for by that: to now, or to the last of the ticks, when there are more of them than were
	// asked for. next is the first tick after it, due already in that case; zero when the rule has no other.
	after, next time.Time
	missedFrom  time.Time // the first missed tick; zero: none
	missedUntil time.Time
}

// settle decides about the ticks after one moment, at the time now; max bounds how many it takes at once. Ticks no
// older than the grace are made, each; what becomes of missed ones is the policy's business.
func (m Misfire) settle(r *Rule, after, now time.Time, limit int) settlement {
	now = later(now, after)
	onTime := later(after, now.Add(-m.Grace-time.Nanosecond)) // the ticks after it are in time
	s := settlement{after: now}
	if first := r.Next(after); !first.IsZero() && !first.After(onTime) {
		s.missedFrom, s.missedUntil = first, onTime
		for _, at := range m.makeUp(r, after, onTime, now) {
			s.ticks = append(s.ticks, tick{at: at, missed: true})
		}
	}
	for at := r.Next(onTime); !at.IsZero() && !at.After(now) && len(s.ticks) <= limit; at = r.Next(at) {
		s.ticks = append(s.ticks, tick{at: at})
	}
	if len(s.ticks) > limit {
		s.ticks = s.ticks[:limit]
		s.after = s.ticks[limit-1].at
	}
	s.next = r.Next(s.after)
	return s
}

// makeUp are the missed ticks that are made after all.
func (m Misfire) makeUp(r *Rule, after, onTime, now time.Time) []time.Time {
	after = later(after, now.Add(-makeUpMax))
	if !after.Before(onTime) {
		return nil
	}
	switch m.Policy {
	case All:
		return r.latest(after, onTime, m.Max)
	case Once:
		if next := r.Next(onTime); !next.IsZero() && !next.After(now) {
			return nil // a tick in time makes up for them
		}
		return r.latest(after, onTime, 1)
	}
	return nil
}
