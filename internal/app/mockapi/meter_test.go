package mockapi

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle counts by brute force, from all that was counted so far.
type oracle interface {
	allows(counted []time.Duration, now time.Duration) bool
}

type slidingOracle struct{ limit Limit }

func (o slidingOracle) allows(counted []time.Duration, now time.Duration) bool {
	n := 0
	for _, at := range counted {
		if at > now-o.limit.Period {
			n++
		}
	}
	return n < o.limit.Count
}

type fixedOracle struct{ limit Limit }

func (o fixedOracle) allows(counted []time.Duration, now time.Duration) bool {
	n := 0
	for _, at := range counted {
		if at/o.limit.Period == now/o.limit.Period {
			n++
		}
	}
	return n < o.limit.Count
}

type bucketOracle struct{ limit Limit }

// allows replays the bucket in exact fractions.
func (o bucketOracle) allows(counted []time.Duration, now time.Duration) bool {
	capacity := big.NewRat(int64(o.limit.Count), 1)
	level, last := new(big.Rat).Set(capacity), time.Duration(0)
	refill := func(to time.Duration) {
		level.Add(level, big.NewRat(int64(to-last)*int64(o.limit.Count), int64(o.limit.Period)))
		if level.Cmp(capacity) > 0 {
			level.Set(capacity)
		}
		last = to
	}
	for _, at := range counted {
		refill(at)
		if level.Sub(level, big.NewRat(1, 1)); level.Sign() < 0 {
			level.SetInt64(0) // only refused requests that count as well come here
		}
	}
	refill(now)
	return level.Cmp(big.NewRat(1, 1)) >= 0
}

// TestMetersAgreeWithAnOracle: each algorithm, at every arrival of a random history, says what brute force says; and what
// it says of waiting is the truth to the nanosecond.
func TestMetersAgreeWithAnOracle(t *testing.T) {
	t.Parallel()
	for name, make := range map[Algorithm]func(Limit) oracle{
		SlidingWindow: func(l Limit) oracle { return slidingOracle{l} },
		FixedWindow:   func(l Limit) oracle { return fixedOracle{l} },
		TokenBucket:   func(l Limit) oracle { return bucketOracle{l} },
	} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				limit := Limit{Count: rapid.IntRange(1, 7).Draw(t, "count"), Period: time.Duration(rapid.IntRange(1, 40).Draw(t, "period"))}
				countRefused := rapid.Bool().Draw(t, "count refused")
				m, o := newMeter(name, limit), make(limit)
				var counted []time.Duration
				now := time.Duration(0)
				for range rapid.IntRange(1, 80).Draw(t, "arrivals") {
					now += time.Duration(rapid.IntRange(0, 25).Draw(t, "gap"))
					room, want := m.room(now), o.allows(counted, now)
					if got := room.wait == 0; got != want || got != (room.left > 0) {
						t.Fatalf("%v at %d: %+v, but the oracle says %v, after %v", limit, now, room, want, counted)
					}
					if !want && (o.allows(counted, now+room.wait-1) || !o.allows(counted, now+room.wait)) {
						t.Fatalf("%v at %d: to wait %d is not exact, after %v", limit, now, room.wait, counted)
					}
					if want || countRefused {
						m.count(now)
						counted = append(counted, now)
					}
				}
			})
		})
	}
}

// TestPeakAgreesWithAnOracle: the most in any window, wherever it begins.
func TestPeakAgreesWithAnOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := peak{length: time.Duration(rapid.IntRange(1, 50).Draw(t, "length"))}
		var times []time.Duration
		now, most := time.Duration(0), 0
		for range rapid.IntRange(1, 100).Draw(t, "arrivals") {
			now += time.Duration(rapid.IntRange(0, 20).Draw(t, "gap"))
			times = append(times, now)
			p.add(now, 1000)
		}
		for i := range times {
			n := 0
			for _, at := range times[:i+1] {
				if at > times[i]-p.length {
					n++
				}
			}
			most = max(most, n)
		}
		if p.most != most || p.short {
			t.Fatalf("%d in %v, but the oracle says %d", p.most, times, most)
		}
	})
	p := peak{length: time.Hour}
	for i := range 100 {
		p.add(time.Duration(i), 10)
	}
	if p.most != 10 || !p.short || len(p.times) > 20 {
		t.Errorf("a peak that may remember 10: %+v", p)
	}
}

func TestWhatTheRecordForgets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 100).Draw(t, "most")
		n := rapid.IntRange(0, 300).Draw(t, "arrivals")
		r := newRecord(most, 5)
		c := newCallers(most)
		for i := range n {
			r.add(Arrival{Number: int64(5 + i)})
			c.arrived(identity(string(rune('a'+i)), "", "", ""), time.Duration(i))
		}
		if r.kept > most || r.kept+int(r.dropped) != n || n >= most && r.kept < most-max(most/16, 1) {
			t.Fatalf("%d of %d are kept of %d, and %d dropped", r.kept, n, most, r.dropped)
		}
		if len(c.known) != min(n, most) || int(c.dropped) != n-len(c.known) || len(c.order)-c.first != len(c.known) {
			t.Fatalf("%d of %d keys are known of %d, and %d dropped", len(c.known), n, most, c.dropped)
		}
		for number := int64(0); number < int64(10+n); number++ {
			a := r.at(number)
			if kept := number >= r.first && number < int64(5+n); kept != (a != nil) || kept && a.Number != number {
				t.Fatalf("number %d: %+v", number, a)
			}
		}
	})
}

func TestTokensAreGoodForTheirTime(t *testing.T) {
	t.Parallel()
	c := newCredentials(Auth{Kind: AuthOAuth2})
	first := c.tokens.issue(10)
	if !c.tokens.good(first, 9) || c.tokens.good(first, 10) {
		t.Error("a token is not good until its end, and no longer")
	}
	for range tokensMax {
		c.tokens.issue(100)
	}
	if len(c.tokens.until) != tokensMax || c.tokens.good(first, 0) || c.tokens.count() != tokensMax+1 {
		t.Errorf("%d tokens are remembered", len(c.tokens.until))
	}
}
