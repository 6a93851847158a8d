package destinations

import "time"

// HoldReason says what keeps requests from being sent.
type HoldReason string

// The reasons.
const (
	HeldByOperator   HoldReason = "operator"    // a person paused it
	HeldByRetryAfter HoldReason = "retry_after" // the other side asked for it
	HeldByAuth       HoldReason = "auth"        // the credentials are refused
	HeldByBreaker    HoldReason = "breaker"     // it does not answer well
)

// State is what is known at run time, the same for all nodes. Its times are of the database's clock.
type State struct {
	Revision int64 // rises with whatever changes what may be sent, settings included
	Pause    Pause
	// LimitedUntil is what the other side asked for. It only moves forward.
	LimitedUntil time.Time
	Auth         AuthHold
	Breaker      Breaker
	Learned      Learned
	LastError    string // of the request that caused the latest hold
}

// Pause is a person's order to send nothing.
type Pause struct {
	Active bool
	Until  time.Time // zero: until it is resumed
	Reason string
}

// AuthHold says since when the credentials are refused.
type AuthHold struct {
	HeldAt time.Time // zero: they are not
	Mark   string    // of the secret that was refused; another one ends the hold
}

// Hold is why nothing may be sent, and until when.
type Hold struct {
	Reason HoldReason
	Until  time.Time // zero: until somebody acts
	Detail string
	// LimitKey is whose requests alone are held; empty: all are.
	LimitKey string
}

// Hold tells what holds the destination at a moment. Of several holds it is the one that ends last.
func (s State) Hold(now time.Time) (Hold, bool) {
	var longest Hold
	held := false
	consider := func(h Hold) {
		if !held || !longest.Until.IsZero() && (h.Until.IsZero() || h.Until.After(longest.Until)) {
			longest, held = h, true
		}
	}
	if s.Pause.Active && (s.Pause.Until.IsZero() || now.Before(s.Pause.Until)) {
		consider(Hold{Reason: HeldByOperator, Until: s.Pause.Until, Detail: s.Pause.Reason})
	}
	if !s.Auth.HeldAt.IsZero() {
		consider(Hold{Reason: HeldByAuth, Detail: s.LastError})
	}
	if s.Breaker.At(now).Position == BreakerOpen {
		consider(Hold{Reason: HeldByBreaker, Until: s.Breaker.OpenUntil, Detail: s.LastError})
	}
	if now.Before(s.LimitedUntil) {
		consider(Hold{Reason: HeldByRetryAfter, Until: s.LimitedUntil, Detail: s.LastError})
	}
	return longest, held
}

// Delta is what one node learned from the answers it got.
type Delta struct {
	Version   int64 // of the destination when the requests were sent
	Tallies   []Tally
	Limited   bool                     // it was turned away for its rate
	Told      int64                    // the share of the limits that the other side says we have, in permille; 0: it says nothing
	PauseFor  time.Duration            // from now, at least
	Keys      map[string]time.Duration // limit keys that pause by themselves, from now, at least
	Refused   bool                     // the credentials were refused,
	Mark      string                   // those of this secret
	Renewed   bool                     // the secret is no longer that of Mark: a hold for its sake ends
	LastError string
}

// After is the state after what a node has learned, with the settings that are valid now.
func (s State) After(d Delta, cfg CircuitBreaker, version int64, now time.Time) State {
	before := s
	s.Breaker = s.Breaker.At(now)
	for _, t := range d.Tallies {
		s.Breaker = s.Breaker.Count(cfg, t, now)
	}
	if until := now.Add(d.PauseFor); d.PauseFor > 0 && until.After(s.LimitedUntil) {
		s.LimitedUntil = until
	}
	if d.Limited {
		s.Learned = s.Learned.Limited(now)
	}
	if d.Told > 0 {
		s.Learned = s.Learned.Told(d.Told, now)
	}
	if d.Renewed && s.Auth.Mark == d.Mark {
		s.Auth = AuthHold{}
	}
	// Credentials that were changed since may be better.
	if d.Refused && d.Version == version && s.Auth.HeldAt.IsZero() {
		s.Auth = AuthHold{HeldAt: now, Mark: d.Mark}
	}
	if d.LastError != "" && s.changed(before) {
		s.LastError = d.LastError
	}
	if s.changed(before) {
		s.Revision++
	}
	return s
}

// changed tells whether something else may be sent now.
func (s State) changed(before State) bool {
	a, b := s.Breaker, before.Breaker
	return a.Position != b.Position || a.Spell != b.Spell || a.Successes != b.Successes || !a.OpenUntil.Equal(b.OpenUntil) ||
		s.Pause != before.Pause || !s.LimitedUntil.Equal(before.LimitedUntil) || s.Auth != before.Auth || s.Learned != before.Learned
}
