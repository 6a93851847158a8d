package limits

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawWindows makes one rate, sometimes a longer one and sometimes concurrency too.
func drawWindows(t *rapid.T) []Window {
	periods := []time.Duration{50 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 12 * time.Second, time.Minute}
	period := rapid.SampledFrom(periods).Draw(t, "period")
	out := []Window{{rapid.Int64Range(1, 40).Draw(t, "limit"), period}}
	if rapid.Bool().Draw(t, "long") {
		out = append(out, Window{out[0].Limit * rapid.Int64Range(1, 6).Draw(t, "times"), 7 * period})
	}
	if rapid.Bool().Draw(t, "concurrency") {
		out = append(out, Window{Period: 0, Limit: rapid.Int64Range(1, 40).Draw(t, "at once")})
	}
	return canonical(out)
}

// drawWorld makes a world in which requests arrive within the guard of the shortest period.
func drawWorld(t *rapid.T, windows []Window) *world {
	w := newWorld(rapid.Uint64().Draw(t, "seed"), windows)
	guard := time.Hour
	for _, one := range windows {
		if one.Period > 0 {
			guard = min(guard, guardOf(one.Period))
		}
	}
	w.there = guard - 1
	w.back = rapid.SampledFrom([]time.Duration{0, time.Millisecond, guard, time.Second}).Draw(t, "back")
	w.slow = rapid.SampledFrom([]float64{0, 0.2}).Draw(t, "slow")
	w.handling = rapid.SampledFrom([]time.Duration{0, 5 * time.Millisecond, 2 * time.Second}).Draw(t, "handling")
	return w
}

func (w *world) judge(t *rapid.T) {
	for _, what := range w.broken {
		t.Error(what)
	}
	for _, one := range w.windows {
		if one.Period == 0 {
			if w.atOnce > int(one.Limit) {
				t.Errorf("%d at once, allowed are %d", w.atOnce, one.Limit)
			}
			continue
		}
		if most := w.most(one.Period, 0); most > one.Limit {
			t.Errorf("%d units within %v, allowed are %d", most, one.Period, one.Limit)
		}
	}
}

// Whatever nodes come, die, stand still or lose answers: no window sees more than its limit.
func TestNoWindowEverSeesMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, drawWindows(t))
		w.lossy = rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(t, "lossy")
		length := min(max(12*w.longest(), 5*time.Second), 2*time.Minute)
		trouble := rapid.IntRange(0, 6).Draw(t, "trouble")
		for range rapid.IntRange(1, 4).Draw(t, "nodes") {
			w.join(1+w.IntN(60), 1)
		}
		for range trouble {
			w.after(w.upTo(length), func() { w.disturb() })
		}
		w.run(length)
		// Requests of a node that stood still or died are still at the other side when their lease is over.
		if trouble > 0 || w.lossy > 0 {
			w.atOnce = 0
		}
		w.judge(t)
		if len(w.arrivals) == 0 && w.lossy == 0 {
			t.Error("nothing was sent at all")
		}
	})
}

// disturb kills a node and starts another, stops one properly, has one stand still, or changes what callers want.
func (w *world) disturb() {
	p := w.nodes[w.IntN(len(w.nodes))]
	switch w.IntN(5) {
	case 0:
		p.dead = true
		w.join(1+w.IntN(60), 1)
	case 1:
		if !p.dead {
			w.leave(p)
			w.join(1+w.IntN(60), 1)
		}
	case 2:
		p.frozen = w.now + int64(w.upTo(20*time.Second))
	case 3:
		p.wanted = w.IntN(60)
	case 4:
		w.join(1+w.IntN(60), 1)
	}
}

// leave is a proper stop: everything is given back in one refresh.
func (w *world) leave(p *player) {
	p.l.mu.Lock()
	p.l.stopped = true
	list := []*key{p.l.keys[w.key]}
	p.l.mu.Unlock()
	questions := p.l.ask(list, p.l.now().mono)
	_, c, err := p.l.judge(questions, w.read(questions), p.l.now())
	if err != nil {
		panic(err)
	}
	w.write(c, p.l.holder)
	p.dead = true
}

// At saturation at least 95 of 100 allowed requests are made, by one node or by several.
func TestTheRateIsUsed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		period := rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, 12 * time.Second, time.Minute}).Draw(t, "period")
		limit := rapid.Int64Range(20, 200).Draw(t, "limit")
		w := newWorld(rapid.Uint64().Draw(t, "seed"), []Window{{limit, period}})
		w.there, w.back, w.slow = guardOf(period)/2, guardOf(period), 0.2
		for range rapid.IntRange(1, 3).Draw(t, "nodes") {
			w.join(int(8*limit), 1)
		}
		w.run(5*time.Second + 2*period)
		from := w.now
		w.run(20 * period)
		w.judge(t)
		used := int64(0)
		for _, units := range w.units(from) {
			used += units
		}
		if share := float64(used) / float64(20*limit); share < 0.95 {
			t.Errorf("%.3f of the rate was used", share)
		}
	})
}
