package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/platform/limits"
)

func TestTheWindowsOfARate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate    float64
		burst   int
		windows string
	}{
		{50, 10, "50/1s 10/200ms"},
		{50, 50, "50/1s"},
		{50, 1000, "50/1s"},
		{3, 1, "3/1s 1/333.334ms"},
		{0.5, 1, "1/2s"},
		{0.5, 100, "1/2s"},
		{0.1, 1, "1/10s"},
		{0.3, 5, "3/10s 1/3.333334s"},
		{2.5, 1, "5/2s 1/400ms"},
		{2.5, 100, "5/2s 3/1.2s"},
		{0.001, 1, "1/16m40s"},
		{333.333, 67, "333333/16m40s 67/201.001ms"},
		{100_000, 100_000, "100000/1s"},
	} {
		var got string
		for i, w := range RateOf(c.rate).windows(c.burst) {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("%d/%s", w.Limit, w.Period)
		}
		if got != c.windows {
			t.Errorf("%v a second, %d at once: %s, want %s", c.rate, c.burst, got, c.windows)
		}
	}
}

// Whoever uses every slot as soon as a window allows it never comes above the rate, to the last microsecond: what has begun by any
// time is at most the burst, and the rate times what has passed since.
func TestNoScheduleThatTheWindowsAllowIsAboveTheRate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate(rapid.Int64Range(1, int64(dispatchesPerSecondMost)).Draw(t, "rate"))
		burst := rapid.IntRange(1, burstMost).Draw(t, "burst")
		perSecond := big.NewRat(int64(rate), int64(onePerSecond))
		for i, w := range rate.windows(burst) {
			allowed := new(big.Rat).Mul(perSecond, big.NewRat(w.Period.Microseconds(), 1_000_000))
			over := new(big.Rat).Sub(allowed, big.NewRat(w.Limit, 1))
			switch step := new(big.Rat).Mul(perSecond, big.NewRat(1, 1_000_000)); {
			case over.Sign() < 0:
				t.Errorf("%s a second: %+v allows more", rate, w)
			case i == 0 && over.Sign() != 0, over.Cmp(step) >= 0:
				t.Errorf("%s a second: %+v allows less", rate, w)
			}
			if w.Limit < 1 || w.Period <= 0 || i == 1 && w.Limit > int64(burst) {
				t.Errorf("%s a second, %d at once: %+v", rate, burst, w)
			}
		}
		if n := rate.part(1); big.NewRat(int64(n), 1).Cmp(perSecond) < 0 || big.NewRat(int64(n-1), 1).Cmp(perSecond) >= 0 {
			t.Errorf("%d come in a second at %s", n, rate)
		}
	})
}

func TestARateIsTheNumberThatWasWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rate{"0.001": 1, "0.1": 100, "0.5": 500, "1": 1000, "2.05": 2050, "33333.333": 33_333_333, "100000": 100_000_000} {
		if n, err := strconv.ParseFloat(text, 64); err != nil || RateOf(n) != want || want.String() != text {
			t.Errorf("%s became %d, which is %s", text, RateOf(n), want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate(rapid.Int64Range(1, int64(dispatchesPerSecondMost)).Draw(t, "rate"))
		raw, err := json.Marshal(rate)
		if err != nil {
			t.Fatal(err)
		}
		var n float64
		if err := json.Unmarshal(raw, &n); err != nil || RateOf(n) != rate {
			t.Fatalf("%d became %s, and %d again: %v", rate, raw, RateOf(n), err)
		}
	})
}

func TestHowLongAQueueTakes(t *testing.T) {
	t.Parallel()
	q := Queue{State: QueueRunning, MaxDispatchesPerSecond: RateOf(0.5)}
	c := Counts{ByState: map[string]int{StateAvailable: 3, StateBlocked: 1, StateRetryable: 1, StateScheduled: 7, StateRunning: 2}}
	if took, known := c.Drain(&q); !known || took != 10*time.Second {
		t.Error(took, known)
	}
	c.More = true
	if took, known := c.Drain(&q); known {
		t.Error("more than are counted:", took)
	}
	c.More, q.State = false, QueuePaused
	if took, known := c.Drain(&q); known {
		t.Error("it is paused:", took)
	}
}

// Twenty tasks wait, twenty may begin at once by what is set, and there are workers for all: still no stretch of time has more than the rate allows.
func TestAQueueOfTwoAndAHalfASecondKeepsToIt(t *testing.T) {
	b := setup(t)
	began := make(chan time.Time, 20)
	for _, name := range []string{"a", "b"} {
		node := b.node(name, Config{Workers: 16})
		node.Handle("test", Policy{}, func(context.Context, Task) Verdict {
			began <- monotonic()
			return Succeeded()
		})
		if name == "a" {
			if q := b.makeQueue(node, "slow", QueueSettings{MaxDispatchesPerSecond: at(RateOf(2.5)), MaxBurstSize: at(20)}); q.MaxDispatchesPerSecond != 2500 {
				t.Fatalf("%+v", q)
			}
			specs := make([]Spec, 20)
			for i := range specs {
				specs[i] = b.named(fmt.Sprint(i), func(s *Spec) { s.Queue = "slow" })
			}
			b.queueOnly(node, specs...)
		}
		b.run(node)
	}
	windows := RateOf(2.5).windows(20)
	var times []time.Time
	for len(times) < 7 { // the sixth is beyond what two seconds may have
		times = append(times, <-began)
	}
	slices.SortFunc(times, time.Time.Compare)
	for _, w := range windows {
		if most := mostWithin(times, w); most > int(w.Limit) {
			t.Errorf("%d began within %s, and %d may", most, w.Period, w.Limit)
		}
	}
}

// mostWithin is the most that began in any stretch of a window's period.
func mostWithin(times []time.Time, w limits.Window) int {
	most := 0
	for i, from := range times {
		n := 0
		for _, at := range times[i:] {
			if at.Sub(from) < w.Period {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
