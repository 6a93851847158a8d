package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

func TestParseFaults(t *testing.T) {
	t.Parallel()
	f, err := sandbox.ParseFaults("light, seed=7, hang_after=0.1, slow_for=1s, webhook_shuffle=true, ignore_idempotency_keys=true")
	if err != nil {
		t.Fatal(err)
	}
	light, err := sandbox.ParseFaults("light")
	if err != nil {
		t.Fatal(err)
	}
	light.Seed, light.HangAfter, light.SlowFor = 7, 0.1, time.Second
	light.WebhookShuffle, light.IgnoreIdempotencyKeys = true, true
	if f != light {
		t.Errorf("%+v", f)
	}
	for _, text := range []string{"", "none", "light", "heavy", "heavy,seed=-3,settle_within=1.5s", "slow=0.1"} {
		f, err := sandbox.ParseFaults(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if again, err := sandbox.ParseFaults(f.String()); err != nil || again != f {
			t.Errorf("%q shows as %q: %v", text, f.String(), err)
		}
		shown, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var again sandbox.Faults
		if err := json.Unmarshal(shown, &again); err != nil || again != f {
			t.Errorf("%q as JSON is %s: %v", text, shown, err)
		}
	}
	for _, text := range []string{
		"mild", "light,", "light,slow", "light,slow=x", "light,slow=1.5", "light,slow=-1", "light,slow=NaN",
		"light,slou=1", "none,latency_min=2s", "none,hang_for=-1s", "none,error_after=0.6,error_before=0.6",
	} {
		if _, err := sandbox.ParseFaults(text); !errors.Is(err, sandbox.ErrFaults) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := sandbox.ParseFaults("mild,slow=2,slou=1"); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all problems are told: %v", err)
	}
}

// TestSeedReproducesARun: two providers with one seed treat the same requests alike, another seed does not.
func TestSeedReproducesARun(t *testing.T) {
	t.Parallel()
	run := func(seed int) (outcomes string, injected map[string]int64) {
		f, err := sandbox.ParseFaults(fmt.Sprint("heavy,latency_min=0s,latency_max=0s,slow=0.05,slow_for=1ms,hang_before=0,hang_after=0,seed=", seed))
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, sandbox.ServerConfig{Faults: f})
		var told strings.Builder
		for i := range 300 {
			reference := fmt.Sprint("r", i/2) // every reference is sent twice
			a, err := b.try("POST", "/v1/charges", chargeBody(reference, "tok_approved", true), "Idempotency-Key", reference)
			fmt.Fprint(&told, " ", a.status, err != nil)
		}
		return told.String(), b.server.Summary().FaultsInjected
	}
	first, injected := run(1)
	again, injectedAgain := run(1)
	if first != again || !reflect.DeepEqual(injected, injectedAgain) {
		t.Errorf("one seed, two runs:\n%s\n%s\n%v\n%v", first, again, injected, injectedAgain)
	}
	if other, _ := run(2); other == first {
		t.Error("two seeds, one run")
	}
	for _, kind := range []string{"slow", "rate_limited", "error_before", "error_after", "reset_before", "reset_after"} {
		if injected[kind] == 0 {
			t.Errorf("no %s among %v", kind, injected)
		}
	}
}

// FuzzParseFaults: what is taken can be shown and read back, and keeps its bounds.
func FuzzParseFaults(f *testing.F) {
	for _, text := range []string{"", "heavy", "light,seed=7,slow_for=1s", "none,slow=1e-3,webhook_shuffle=1", "x,=,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := sandbox.ParseFaults(text)
		if err != nil {
			return
		}
		if again, err := sandbox.ParseFaults(read.String()); err != nil || again != read {
			t.Errorf("%q shows as %q, which reads as %+v: %v", text, read.String(), again, err)
		}
	})
}
