package mockapi

import "time"

// Summary is what arrived and what it did, all in all, since the start or the last reset.
type Summary struct {
	Arrivals         int64               `json:"arrivals"`
	Accepted         int64               `json:"accepted"`
	Refused          int64               `json:"refused"` // 429: over a limit
	Crowded          int64               `json:"crowded"` // 429 or 503: too many at once
	Unauthorised     int64               `json:"unauthorised"`
	Invalid          int64               `json:"invalid"`
	Down             int64               `json:"down"`
	Effects          int64               `json:"effects"`
	DuplicateEffects int64               `json:"duplicate_effects"` // of a key that had its effect already
	Replayed         int64               `json:"replayed"`          // answered with the effect that was there
	KeysReused       int64               `json:"keys_reused"`       // 422: a key that came with another request
	Keys             int64               `json:"keys"`              // different idempotency keys
	ArrivalsByKeyMax int                 `json:"arrivals_by_key_max"`
	ConcurrentMax    int                 `json:"concurrent_max"` // arrivals under way at once, also those that were refused
	Faults           map[string]int64    `json:"faults"`
	TokensIssued     int64               `json:"tokens_issued"`
	Limits           []SummaryOfLimit    `json:"limits"`
	FirstAt          *time.Time          `json:"first_at"`
	LastAt           *time.Time          `json:"last_at"`
	Seconds          float64             `json:"seconds"` // from the first arrival to the last
	Remembered       SummaryOfRemembered `json:"remembered"`
}

// SummaryOfLimit is what one limit has seen since it was set. A window is any span of time as long as the limit's period,
// wherever it begins; of a limit by key, the window and the key with the most are told.
type SummaryOfLimit struct {
	Limit            string    `json:"limit"`
	ArrivalsInWindow int       `json:"arrivals_in_window_max"` // the most; above the limit's count somebody sent too much
	AcceptedInWindow int       `json:"accepted_in_window_max"`
	Key              string    `json:"key,omitempty"` // whose arrivals these were
	Until            time.Time `json:"window_until,omitzero"`
	Accepted         int64     `json:"accepted"`
	Possible         int64     `json:"possible,omitempty"`  // the most that could be accepted from the first arrival to the last; not of a limit by key
	RateUsed         float64   `json:"rate_used,omitempty"` // accepted / (count x time / period), once a period has passed; above 1 when the time is short, for a window may be full at both ends
	LowerBound       bool      `json:"lower_bound,omitempty"`
}

// SummaryOfRemembered is how much of the record is there. What was dropped is counted everywhere, but no longer told one by
// one; a key that was dropped counts as new when it comes again.
type SummaryOfRemembered struct {
	Arrivals        int   `json:"arrivals"`
	ArrivalsDropped int64 `json:"arrivals_dropped"`
	KeysDropped     int64 `json:"keys_dropped"`
}

// total counts what is not counted elsewhere. Guarded by its server's lock.
type total struct {
	arrivals, effects, duplicates, replayed, reused, keys int64
	byKeyMax, concurrentMax                               int
	verdicts                                              map[Verdict]int64
	faults                                                map[string]int64
	first, last                                           time.Duration
}

func (t *total) arrived(now time.Duration, known *caller, underWay int) {
	if t.arrivals == 0 {
		t.first = now
	}
	t.arrivals++
	t.last = now
	t.concurrentMax = max(t.concurrentMax, underWay)
	if known.isKey() {
		t.byKeyMax = max(t.byKeyMax, known.arrivals)
		if known.arrivals == 1 {
			t.keys++
		}
	}
}

// Summary tells what arrived so far.
func (s *Server) Summary() Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.total
	out := Summary{
		Arrivals: t.arrivals, Accepted: t.verdicts[Accepted], Refused: t.verdicts[Refused], Crowded: t.verdicts[Crowded],
		Unauthorised: t.verdicts[Unauthorised], Invalid: t.verdicts[Invalid], Down: t.verdicts[Down],
		Effects: t.effects, DuplicateEffects: t.duplicates, Replayed: t.replayed, KeysReused: t.reused,
		Keys: t.keys, ArrivalsByKeyMax: t.byKeyMax, ConcurrentMax: t.concurrentMax,
		Faults: map[string]int64{}, TokensIssued: s.auth.tokens.count(), Limits: []SummaryOfLimit{},
		Remembered: SummaryOfRemembered{s.record.kept, s.record.dropped, s.callers.dropped},
	}
	for name, n := range t.faults {
		out.Faults[name] = n
	}
	if t.arrivals > 0 {
		first, last := s.watch.wall(t.first), s.watch.wall(t.last)
		out.FirstAt, out.LastAt, out.Seconds = &first, &last, (t.last - t.first).Seconds()
	}
	for i, limit := range s.gate.limits.Limits {
		out.Limits = append(out.Limits, s.summaryOf(limit, &s.gate.totals[i]))
	}
	return out
}

func (s *Server) summaryOf(limit Limit, t *limitTotal) SummaryOfLimit {
	out := SummaryOfLimit{
		Limit: limit.String(), ArrivalsInWindow: t.arrivalsMax, AcceptedInWindow: t.admittedMax, Key: t.arrivalsKey,
		Accepted: t.admitted, LowerBound: t.short,
	}
	if t.arrivalsMax > 0 {
		out.Until = s.watch.wall(t.arrivalsAt)
	}
	span := t.last - t.first
	if limit.Per == "" && t.arrivalsMax > 0 {
		out.Possible = int64(limit.Count) * (int64(span/limit.Period) + 1)
	}
	if limit.Per == "" && span >= limit.Period {
		out.RateUsed = float64(t.admitted) / (float64(limit.Count) * float64(span) / float64(limit.Period))
	}
	return out
}
