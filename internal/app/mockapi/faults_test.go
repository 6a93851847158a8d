package mockapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
)

func faults(t testing.TB, text string) mockapi.Faults {
	t.Helper()
	f, err := mockapi.ParseFaults(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	f := faults(t, "light, seed=7, error_503=5%, drop_after=0.25, latency=5ms..50ms, hang_for=1s")
	if f.Seed != 7 || f.Shares["error_503"] != 0.05 || f.Shares["drop_after"] != 0.25 || f.Latency.High != 50*time.Millisecond || f.HangFor != time.Second ||
		f.Shares["error_500"] == 0 {
		t.Errorf("%+v", f)
	}
	if light := faults(t, "light"); light.Shares["error_503"] == 0.05 {
		t.Error("the profile itself was changed")
	}
	for _, text := range []string{"", "none", "light", "heavy", "error_418=1,latency=20ms", "heavy,seed=-3,retry_after=3s,latency=20ms~200ms,late_for=1ms"} {
		f := faults(t, text)
		if again := faults(t, f.String()); !sameFaults(again, f) {
			t.Errorf("%q shows as %q", text, f.String())
		}
		shown, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var again mockapi.Faults
		if err := json.Unmarshal(shown, &again); err != nil || !sameFaults(again, f) {
			t.Errorf("%q as JSON is %s: %v", text, shown, err)
		}
	}
	for _, text := range []string{
		"mild", "light,", "light,drop_after", "drop_after=x", "drop_after=1.5", "drop_after=101%", "drop_after=-1", "drop_after=NaN", "drop_afte=1",
		"error_200=1%", "error_600=1%", "error_=1%", "latency=50ms..5ms", "latency=x", "latency=0s~1s", "hang_for=-1s", "drop_after=60%,error_503=60%", "seed=x",
	} {
		if f, err := mockapi.ParseFaults(text); !errors.Is(err, mockapi.ErrFaults) {
			t.Errorf("%q is taken as %v: %v", text, f, err)
		}
	}
	if _, err := mockapi.ParseFaults("mild,drop_after=2,foo=1"); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all problems are told: %v", err)
	}
}

func sameFaults(a, b mockapi.Faults) bool {
	if len(a.Shares) == 0 && len(b.Shares) == 0 {
		a.Shares, b.Shares = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func FuzzParseFaults(f *testing.F) {
	for _, text := range []string{"", "heavy", "light,seed=7,error_503=1%", "latency=1ms~2ms", "x,=,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := mockapi.ParseFaults(text)
		if err != nil {
			return
		}
		if again, err := mockapi.ParseFaults(read.String()); err != nil || !sameFaults(again, read) {
			t.Errorf("%q shows as %q, which reads as %+v: %v", text, read.String(), again, err)
		}
	})
}

// TestEachFault: what the client sees, what was done, and what the record says of it.
func TestEachFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault  string
		status int // 0: the connection breaks
		effect bool
	}{
		{"rate_limited", 429, false},
		{"error_500", 500, false},
		{"error_418", 418, false},
		{"error_503", 503, false},
		{"error_after", 500, true},
		{"drop_before", 0, false},
		{"drop_after", 0, true},
		{"hang_before", 0, false},
		{"hang_after", 0, true},
		{"late_effect", 200, true},
		{"duplicate_effect", 200, true},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			b := open(t, mockapi.Config{Faults: faults(t, c.fault+"=100%,hang_for=20ms,late_for=20ms,retry_after=7s")})
			if c.status == 0 {
				b.broken("POST", "/orders", "Idempotency-Key", "k")
			} else if g := b.post("k"); g.status != c.status || (g.header.Get("Retry-After") == "7") != (c.status == 429 || c.status == 503) {
				t.Errorf("%d %s %v", g.status, g.body, g.header)
			}
			a, s := b.last(), b.Summary()
			if a.Verdict != mockapi.Accepted || a.Fault != c.fault || (a.Effect == 1) != c.effect || a.Status != c.status || s.Faults[c.fault] != 1 {
				t.Errorf("%+v\n%+v", a, s)
			}
			known, _ := b.Key("k")
			if (len(known.Effects) == 1) != c.effect || known.Arrivals != 1 {
				t.Errorf("%+v", known)
			}
			if err := b.SetFaults(mockapi.Faults{}); err != nil {
				t.Fatal(err)
			}
			want := http.StatusNotFound
			if c.effect {
				want = http.StatusOK
			}
			if g := b.do("GET", "/records/k", ""); g.status != want {
				t.Errorf("the look-up: %d %s", g.status, g.body)
			}
		})
	}
}

func TestDuplicateEffectsAreMadeWhenTold(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]mockapi.Config{
		"fault":   {Faults: faults(t, "duplicate_effect=100%")},
		"ignored": {IgnoreIdempotencyKeys: true},
	} {
		b := open(t, cfg)
		first, second := b.post("k").effect(t), b.post("k").effect(t)
		known, _ := b.Key("k")
		if s := b.Summary(); first != 1 || second != 2 || s.DuplicateEffects != 1 || s.Effects != 2 || len(known.Effects) != 2 {
			t.Errorf("%s: %d, %d, %+v", name, first, second, s)
		}
		if page := b.Keys(0, 10, 2, 0); len(page.Keys) != 1 || page.Keys[0].IdempotencyKey != "k" {
			t.Errorf("%s: %+v", name, page)
		}
	}
}

// TestSeedReproducesARun: two servers with one seed treat the same requests alike, in whatever order; another seed does not.
func TestSeedReproducesARun(t *testing.T) {
	t.Parallel()
	run := func(seed int, backwards bool) map[string]int64 {
		b := open(t, mockapi.Config{Faults: faults(t, fmt.Sprint("error_500=20%,error_503=20%,error_418=20%,seed=", seed))})
		out := map[string]int64{}
		for i := range 100 {
			key := fmt.Sprint(i)
			if backwards {
				key = fmt.Sprint(99 - i)
			}
			out[key] = int64(b.post(key).status)*1000 + int64(b.post(key).status)
		}
		return out
	}
	first, again, other := run(1, false), run(1, true), run(2, false)
	if !reflect.DeepEqual(first, again) {
		t.Error("one seed, two runs")
	}
	if reflect.DeepEqual(first, other) {
		t.Error("two seeds, one run")
	}
}
