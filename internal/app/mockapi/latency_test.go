package mockapi

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// TestLatencyIsSpreadAsItSays measures many draws.
func TestLatencyIsSpreadAsItSays(t *testing.T) {
	t.Parallel()
	const draws = 20_000
	for _, text := range []string{"20ms", "5ms..50ms", "20ms~200ms"} {
		l, err := parseLatency(text)
		if err != nil || l.String() != text {
			t.Fatalf("%q reads as %q: %v", text, l, err)
		}
		var all []time.Duration
		for i := range draws {
			c := badserver.Draw(1, "x", uint64(i))
			all = append(all, l.of(&c))
		}
		slices.Sort(all)
		near := func(what string, got, want time.Duration) {
			if math.Abs(float64(got-want)) > 0.1*float64(want) {
				t.Errorf("%s: the %s is %v, not %v", text, what, got, want)
			}
		}
		switch {
		case l.Skewed:
			near("median", all[draws/2], l.Low)
			near("99th of 100", all[draws*99/100], l.High)
			if all[draws-1] > tailMax*l.High {
				t.Errorf("%s: the longest is %v", text, all[draws-1])
			}
		default:
			near("median", all[draws/2], (l.Low+l.High)/2)
			if all[0] < l.Low || all[draws-1] > l.High {
				t.Errorf("%s: from %v to %v", text, all[0], all[draws-1])
			}
		}
	}
}

// TestSharesAreThoseAskedFor measures many draws.
func TestSharesAreThoseAskedFor(t *testing.T) {
	t.Parallel()
	f, err := ParseFaults("error_500=10%,drop_after=20%,hang_before=5%")
	if err != nil {
		t.Fatal(err)
	}
	const draws = 20_000
	got := map[string]int{}
	for i := range draws {
		p := f.plan("x", i)
		got[p.fault]++
	}
	for fault, share := range map[string]float64{"error_500": 0.1, "drop_after": 0.2, "hang_before": 0.05, "": 0.65} {
		if have := float64(got[fault]) / draws; math.Abs(have-share) > 0.01 {
			t.Errorf("%q befell %.3f of the requests, not %.3f", fault, have, share)
		}
	}
}
