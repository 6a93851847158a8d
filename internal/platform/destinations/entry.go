package destinations

import (
	"net/http"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Ref names a destination.
type Ref struct {
	OrgID ids.ID
	Name  string
}

// Entry is a destination that this node uses: as it was at most a second ago, and what this node has learned since. It is
// kept fresh for as long as somebody asks about it; ask Use for it in each round of work rather than keep it. Safe for
// concurrent use.
type Entry struct {
	d *Destinations

	mu      sync.Mutex
	target  *Target // replaced, never changed
	gone    bool    // deleted, or forgotten
	usedAt  time.Time
	pending Delta // not yet recorded
	// What this node knows ahead of the others, until it has been recorded and read back.
	limitedUntil time.Time
	refused      bool

	limitedKeys  map[string]time.Time // limit keys that are held, and until when
	keysRevision int64                // up to which the database's are known
}

// Target is the destination to send to.
func (e *Entry) Target() *Target {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.target
}

// Gate tells whether requests may be sent now, as far as the Limits allow: those let a few through when the breaker is half
// open. Else it tells why not, and until when at the least, by the database's clock as this node knows it. A limit key may be
// held by itself.
func (e *Entry) Gate(limitKey string) (Hold, bool) {
	now := e.d.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.usedAt = now
	state := e.target.State
	if e.limitedUntil.After(state.LimitedUntil) {
		state.LimitedUntil = e.limitedUntil
	}
	if e.refused && state.Auth.HeldAt.IsZero() {
		state.Auth.HeldAt, state.LastError = now, e.pending.LastError
	}
	hold, held := state.Hold(now)
	until := e.limitedKeys[limitKey]
	if limitKey == "" || !until.After(now) || held && (hold.Until.IsZero() || hold.Until.After(until)) {
		return hold, held
	}
	return Hold{Reason: HeldByRetryAfter, Until: until, LimitKey: limitKey}, true
}

// Gone tells that the entry is not refreshed any more: the destination was deleted, or nobody asked about it for a minute.
func (e *Entry) Gone() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
}

// Ticket is the moment at which a request was begun: what comes of it is understood by that.
type Ticket struct {
	version  int64
	spell    int64
	limitKey string // empty: it is not counted by a key
}

// Begin is called when a request of a limit key is about to be sent.
func (e *Entry) Begin(limitKey string) Ticket {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := Ticket{version: e.target.Version, spell: e.target.State.Breaker.Spell}
	if limitKey != "" && e.target.keyed() {
		t.limitKey = limitKey
	}
	return t
}

// Learn takes what an answer teaches. It costs nothing but memory; all nodes know within about a second, and this one at
// once what must not wait.
func (e *Entry) Learn(t Ticket, r Response) {
	if r.foreign || r.ErrorCode == codeTokenRenewed || r.ErrorCode == string(egress.FailureInterrupted) || r.ErrorCode == string(egress.FailureRequest) {
		return // nothing about the destination
	}
	now := e.d.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &e.pending
	p.Version = t.version
	urgent := e.target.State.Breaker.At(now).Position == BreakerHalfOpen
	urgent = e.count(t, r) || urgent
	urgent = e.heed(t, r, now) || urgent
	if r.Error != "" && r.Class != ClassDeadLetter {
		p.LastError = r.Error
	}
	if urgent {
		e.d.wake()
	}
}

// count takes what an answer says of whether the other side works, and tells whether that must not wait.
func (e *Entry) count(t Ticket, r Response) (urgent bool) {
	p := &e.pending
	tally := p.tally(t.spell)
	switch r.Class {
	case ClassSucceeded:
		tally.Successes++
	case ClassRetry, ClassUnknown:
		tally.Failures++
		urgent = e.target.State.Breaker.Position != BreakerClosed || e.likelyOpens(*tally)
	case ClassHold:
		p.Refused, p.Mark, e.refused, urgent = true, r.mark, true, true
	}
	if r.Sent == egress.SentYes && (r.Class == ClassHold || r.Class == ClassDeadLetter || r.Class == ClassRateLimited) {
		tally.Refusals++
	}
	return urgent
}

// heed takes what an answer says of our rate, and tells whether that must not wait.
func (e *Entry) heed(t Ticket, r Response, now time.Time) (urgent bool) {
	p := &e.pending
	wait, keyed := r.RetryAfter, t.limitKey != "" && r.ofKey()
	if r.Class == ClassRateLimited {
		p.Limited = p.Limited || r.Status != http.StatusServiceUnavailable && !keyed
	} else if r.Advice.Exhausted && r.Advice.Wait() > e.target.paced() {
		wait = max(wait, r.Advice.Wait()) // nothing is left: the next one would be turned away
	}
	if told := e.target.told(r.Advice.Quotas); told > 0 && t.limitKey == "" {
		p.Told = told
	}
	switch {
	case wait <= 0:
		return false
	case keyed:
		return e.holdKey(t.limitKey, now, wait)
	default:
		return e.holdAll(now, wait)
	}
}

// likelyOpens tells whether the breaker may open when the pending count is recorded: then it is recorded at once.
func (e *Entry) likelyOpens(t Tally) bool {
	b, cfg := e.target.State.Breaker, e.target.CircuitBreaker
	return !cfg.Disabled && b.Requests+t.Successes+t.Failures >= cfg.MinimumRequestCount &&
		float64(b.Failures+t.Failures) >= cfg.FailureThreshold*float64(b.Requests+t.Successes+t.Failures)
}

// tally finds the count of a spell. Of many spells the latest two are kept: no other can count.
func (d *Delta) tally(spell int64) *Tally {
	for i := range d.Tallies {
		if d.Tallies[i].Spell == spell {
			return &d.Tallies[i]
		}
	}
	if len(d.Tallies) >= 2 {
		d.Tallies = d.Tallies[1:]
	}
	d.Tallies = append(d.Tallies, Tally{Spell: spell})
	return &d.Tallies[len(d.Tallies)-1]
}

// empty tells whether there is nothing to record.
func (d *Delta) empty() bool {
	return len(d.Tallies) == 0 && !d.Limited && d.Told == 0 && d.PauseFor == 0 && len(d.Keys) == 0 && !d.Refused && !d.Renewed
}

// take gives what is to be recorded, and begins anew.
func (e *Entry) take() (Lesson, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone || e.pending.empty() {
		return Lesson{}, false
	}
	l := Lesson{OrgID: e.target.OrgID, DestinationID: e.target.ID, Delta: e.pending}
	e.pending = Delta{}
	return l, true
}

// putBack joins what could not be recorded with what came since.
func (e *Entry) putBack(l Lesson) {
	e.mu.Lock()
	defer e.mu.Unlock()
	later := e.pending
	e.pending = l.Delta
	for _, t := range later.Tallies {
		own := e.pending.tally(t.Spell)
		own.Successes, own.Failures, own.Refusals = own.Successes+t.Successes, own.Failures+t.Failures, own.Refusals+t.Refusals
	}
	p := &e.pending
	p.Limited, p.PauseFor = p.Limited || later.Limited, max(p.PauseFor, later.PauseFor)
	for key, pause := range later.Keys {
		if p.Keys == nil {
			p.Keys = map[string]time.Duration{}
		}
		p.Keys[key] = max(p.Keys[key], pause)
	}
	p.Renewed = p.Renewed || later.Renewed
	if later.Told > 0 {
		p.Told = later.Told
	}
	if later.Refused {
		p.Refused, p.Mark = true, later.Mark
	}
	if later.LastError != "" {
		p.LastError = later.LastError
	}
	p.Version = max(p.Version, later.Version)
}

// replace takes what the database says now. What this node knew ahead of it is in it, unless there is more to record.
func (e *Entry) replace(t *Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.target = t
}

// caughtUp forgets what was known ahead, once it has been recorded and read.
func (e *Entry) caughtUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending.empty() {
		e.limitedUntil, e.refused = time.Time{}, false
	}
}
