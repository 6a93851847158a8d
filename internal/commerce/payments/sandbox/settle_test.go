package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// TestSlowEffectOutlivesItsClient: the client left before the effect, and it is made all the same.
func TestSlowEffectOutlivesItsClient(t *testing.T) {
	t.Parallel()
	// The effect comes after three quarters of the bound; the clock stands still, so that a busy machine is not too late.
	b := open(t, sandbox.ServerConfig{Clock: newHandClock().now, Faults: sandbox.Faults{Slow: 1, SlowFor: time.Hour}})
	ctx, leave := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, "POST", b.url+"/v1/charges", bytes.NewReader([]byte(chargeBody("r", "tok_approved", true))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer key")
	if _, err := http.DefaultTransport.RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("answered: %v", err)
	}
	if sum := b.server.Summary(); sum.Charges != 0 {
		t.Fatalf("already: %+v", sum)
	}
	eventually(t, "the effect", func() bool { return b.server.Summary().Charges == 1 })
}

// TestNothingHappensAfterTheBound: a request that was held up has no effect any more, and says so.
func TestNothingHappensAfterTheBound(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	start := clock.System()
	heldUp := func() time.Time { return start.Add(time.Duration(reads.Add(1)) * 3 * time.Second) }
	s := sandbox.NewServer(sandbox.ServerConfig{Clock: heldUp})
	a := serve(s, "POST", "/v1/charges", chargeBody("r", "tok_approved", true))
	if a.status != http.StatusServiceUnavailable || a.code(t) != "too_late" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if sum := s.Summary(); sum.Charges != 0 || sum.FaultsInjected["too_late"] != 1 {
		t.Errorf("%+v", sum)
	}
}

func TestClientTightensTheBound(t *testing.T) {
	t.Parallel()
	now := newHandClock()
	b := open(t, sandbox.ServerConfig{Clock: now.now})
	for after, status := range map[time.Duration]int{-time.Millisecond: 503, time.Millisecond: 201, time.Hour: 201} {
		reference := after.String()
		a := b.do("POST", "/v1/charges", chargeBody(reference, "tok_approved", true),
			"Request-Deadline", strconv.FormatInt(now.now().Add(after).UnixMilli(), 10))
		if a.status != status || (len(b.lookUp(reference).Operations) == 1) != (status == 201) {
			t.Errorf("%v: %d %s", after, a.status, a.body)
		}
	}
	if a := b.do("POST", "/v1/charges", chargeBody("r", "tok_approved", true), "Request-Deadline", "soon"); a.status != 400 {
		t.Errorf("malformed: %d", a.status)
	}
}

// TestEffectsKeepTheBoundUnderFaults: whatever befalls the requests, every charge was made within the bound of its send.
func TestEffectsKeepTheBoundUnderFaults(t *testing.T) {
	t.Parallel()
	f, err := sandbox.ParseFaults("heavy,slow=0.3,slow_for=10s,settle_within=300ms,seed=11")
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, sandbox.ServerConfig{Faults: f})
	const n = 300
	var sending sync.WaitGroup
	sent := make([]time.Time, n)
	for i := range n {
		sending.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "POST", b.url+"/v1/charges",
				bytes.NewReader([]byte(chargeBody(fmt.Sprint("r", i), "tok_approved", true))))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer key")
			sent[i] = clock.System()
			r.Header.Set("Request-Deadline", strconv.FormatInt(sent[i].Add(300*time.Millisecond).UnixMilli(), 10))
			if w, err := http.DefaultTransport.RoundTrip(r); err == nil {
				_ = w.Body.Close()
			}
		})
	}
	sending.Wait()
	made := 0
	eventually(t, "the end of the bound", func() bool { return clock.System().After(sent[n-1].Add(time.Second)) })
	b.do("PUT", "/witness/faults", "none")
	for i := range n {
		if found := b.lookUp(fmt.Sprint("r", i)); len(found.Operations) > 0 {
			made++
			if after := found.Charge.CreatedAt.Sub(sent[i]); after > 300*time.Millisecond {
				t.Errorf("r%d was charged %v after its send", i, after)
			}
		}
	}
	if made == 0 || made == n {
		t.Errorf("%d of %d charged: the faults prove nothing", made, n)
	}
}
