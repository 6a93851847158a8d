package sandbox

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// TestSharesAreKept: over many references each kind comes as often as its share says, on first and on second sends.
func TestSharesAreKept(t *testing.T) {
	t.Parallel()
	f, _ := profile("heavy")
	f = f.withDefaults()
	const n = 100_000
	for nth := uint32(1); nth <= 2; nth++ {
		seen := map[faultKind]int{}
		for i := range n {
			p := f.plan(verbCharge, fmt.Sprint("ref_", i), nth, "tok_approved")
			seen[p.fault]++
			if p.slow {
				seen[slow]++
			}
			if p.delay < time.Millisecond || p.delay > 320*time.Millisecond {
				t.Fatalf("delay %v", p.delay)
			}
		}
		for kind, share := range map[faultKind]float64{
			slow: 0.02, rateLimited: 0.02, errorBefore: 0.02, errorAfter: 0.02,
			resetBefore: 0.02, resetAfter: 0.02, hangBefore: 0.005, hangAfter: 0.005, noFault: 0.89,
		} {
			got := float64(seen[kind])
			if spread := 5 * math.Sqrt(n*share*(1-share)); math.Abs(got-n*share) > spread {
				t.Errorf("send %d: %q came %v times, want %v", nth, kind, got, n*share)
			}
		}
	}
}

// TestDelaysKeepTheBound: what is slower than the bound has its effect within it, and answers later.
func TestDelaysKeepTheBound(t *testing.T) {
	t.Parallel()
	for _, f := range []Faults{{}, {Slow: 1, SlowFor: time.Hour}, {LatencyMin: time.Minute, LatencyMax: time.Hour}} {
		f = f.withDefaults()
		p := f.plan(verbCharge, "r", 1, "tok_slow")
		if p.delay >= f.SettleWithin || p.delay+p.tail < 3*time.Second {
			t.Errorf("%v: %v before the effect and %v after", f, p.delay, p.tail)
		}
	}
}

// TestLookUpsNeverHang: they suffer the rest.
func TestLookUpsNeverHang(t *testing.T) {
	t.Parallel()
	f := Faults{HangBefore: 0.5, HangAfter: 0.5}
	for i := range 100 {
		if p := f.plan(verbLookUp, fmt.Sprint(i), 1, ""); p.fault != noFault {
			t.Fatal(p.fault)
		}
	}
}

// TestFullQueueDropsTheFirst: entering the queue never waits, whoever does not listen.
func TestFullQueueDropsTheFirst(t *testing.T) {
	t.Parallel()
	s := NewServer(ServerConfig{WebhookURL: "http://127.0.0.1:1/", WebhookSecret: "whsec_c2VjcmV0"})
	for range webhooksQueuedMax + 5 {
		s.webhooks.enqueue(Event{Type: EventCaptured})
	}
	if c := s.Summary().Webhooks; c.Dropped != 5 || c.Waiting != webhooksQueuedMax {
		t.Errorf("%+v", c)
	}
}
