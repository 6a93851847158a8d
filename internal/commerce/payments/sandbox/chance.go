package sandbox

import (
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// faultKind names what befalls a request or a webhook; the names are those of the witness's counters.
type faultKind string

const (
	noFault         faultKind = ""
	rateLimited     faultKind = "rate_limited"
	errorBefore     faultKind = "error_before"
	errorAfter      faultKind = "error_after"
	resetBefore     faultKind = "reset_before"
	resetAfter      faultKind = "reset_after"
	hangBefore      faultKind = "hang_before"
	hangAfter       faultKind = "hang_after"
	slow            faultKind = "slow"
	tooLate         faultKind = "too_late" // not injected: the bound of the guarantee was reached
	keyIgnored      faultKind = "key_ignored"
	webhookTwice    faultKind = "webhook_twice"
	webhookLate     faultKind = "webhook_late"
	webhookShuffled faultKind = "webhook_shuffled"
)

// verb is what a request does to a reference; sends are counted apart for each.
type verb uint8

const (
	verbCharge verb = iota
	verbCapture
	verbRefund
	verbVoid
	verbLookUp
	verbWebhook
	verbCount
)

// draw makes the chance of one send: the seed, what is done, for which reference, and for the how many-eth time.
func draw(seed int64, v verb, ref string, nth uint32) badserver.Chance {
	return badserver.Draw(seed, ref, uint64(nth)<<8|uint64(v))
}

// plan is what a request will suffer.
type plan struct {
	delay time.Duration // before the effect
	tail  time.Duration // after the effect, before the answer
	slow  bool
	fault faultKind
}

// plan decides for one request. nth counts the sends of the reference from 1; token is empty but for a charge.
func (f *Faults) plan(v verb, ref string, nth uint32, token string) plan {
	c := draw(f.Seed, v, ref, nth)
	p := plan{fault: f.pick(c.Share())}
	delay := f.LatencyMin + c.UpTo(f.LatencyMax-f.LatencyMin)
	if c.Share() < f.Slow {
		p.slow = true
		delay += f.SlowFor
	}
	if v == verbLookUp {
		p.delay, p.fault = delay, p.fault.ofLookUp()
		return p
	}
	if token != "" {
		b := tokenBehaviour(token)
		if nth == 1 && b.firstFault != noFault {
			p.fault = b.firstFault
		}
		delay += b.slow
	}
	// What would take longer than the bound happens within it; the rest of the delay is the answer's.
	p.delay = min(delay, f.SettleWithin*3/4)
	p.tail = delay - p.delay
	return p
}

// pick gives each kind its share of the line from 0 to 1.
func (f *Faults) pick(at float64) faultKind {
	for _, kind := range [...]struct {
		share float64
		fault faultKind
	}{
		{f.RateLimited, rateLimited},
		{f.ErrorBefore, errorBefore},
		{f.ErrorAfter, errorAfter},
		{f.ResetBefore, resetBefore},
		{f.ResetAfter, resetAfter},
		{f.HangBefore, hangBefore},
		{f.HangAfter, hangAfter},
	} {
		if at < kind.share {
			return kind.fault
		}
		at -= kind.share
	}
	return noFault
}

// ofLookUp spares look-ups the hanging: they are turned away, fail or break.
func (k faultKind) ofLookUp() faultKind {
	if k == hangBefore || k == hangAfter {
		return noFault
	}
	return k
}

// tally counts what was injected, by kind. The zero value is ready; safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[faultKind]int64
}

func (t *tally) add(kind faultKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[faultKind]int64{}
	}
	t.counts[kind]++
}

func (t *tally) read() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]int64, len(t.counts))
	for kind, n := range t.counts {
		out[string(kind)] = n
	}
	return out
}
