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
			w.joinAny()
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
		if len(w.arrivals) == 0 && w.lossy == 0 && trouble == 0 {
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
		w.joinAny()
	case 1:
		if !p.dead {
			w.leave(p)
			w.joinAny()
		}
	case 2:
		p.frozen = w.now + int64(w.upTo(20*time.Second))
	case 3:
		p.wanted = w.IntN(60)
	case 4:
		w.joinAny()
	}
}

// joinAny starts a node with any demand, whose requests weigh up to three units where the limits allow that.
func (w *world) joinAny() {
	heaviest := int64(3)
	for _, one := range w.windows {
		heaviest = min(heaviest, one.Limit)
	}
	w.join(1+w.IntN(60), 1+w.Int64N(max(heaviest, 1)))
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

// At saturation at least 95 of 100 allowed requests are made, by one node or by several, where answers come soon. What comes late costs
// as much of the rate as it takes of the period, and no more than the guard.
func TestTheRateIsUsed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		period := rapid.SampledFrom([]time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second, 12 * time.Second, time.Minute}).Draw(t, "period")
		limit := rapid.Int64Range(20, 40).Draw(t, "limit")
		w := newWorld(rapid.Uint64().Draw(t, "seed"), []Window{{limit, period}})
		w.there, w.back = period/100, period/rapid.SampledFrom([]time.Duration{50, 10, 4, 1}).Draw(t, "back")
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
		least := 0.95
		if w.back > period/50 {
			least *= float64(period) / float64(period+min(w.there+w.back, guardOf(period)))
		}
		if share := float64(used) / float64(20*limit); share < least {
			t.Errorf("%.3f of the rate was used, and not %.3f", share, least)
		}
	})
}

// define has all nodes learn of other windows, one after the other within a tenth of a second.
func (w *world) define(windows []Window) {
	w.version++
	w.windows = windows
	for _, p := range w.nodes {
		version := w.version
		w.does(p, w.upTo(100*time.Millisecond), func() { p.l.Define(w.key, version, windows) })
	}
}

// A lowered limit holds from a second and a half after all nodes know of it, also for the requests of before; a raised one is
// used as soon.
func TestChangedLimitsTakeEffect(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		period := rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Second, 20 * time.Second}).Draw(t, "period")
		high := rapid.Int64Range(20, 100).Draw(t, "high")
		low := rapid.Int64Range(0, high/2).Draw(t, "low")
		w := newWorld(rapid.Uint64().Draw(t, "seed"), []Window{{high, period}})
		w.there, w.back, w.steady = guardOf(period)/2, guardOf(period), false
		for range rapid.IntRange(1, 3).Draw(t, "nodes") {
			w.join(int(4*high), 1)
		}
		w.run(3 * period)
		w.define([]Window{{low, period}})
		w.run(1500*time.Millisecond + guardOf(period))
		lowered := w.now
		w.run(6 * period)
		if most := w.most(period, lowered); most > low {
			t.Errorf("%d units within %v, allowed are %d since long", most, period, low)
		}
		w.there, w.back = period/100, period/50
		w.define([]Window{{high, period}})
		w.run(1500*time.Millisecond + 2*period)
		raised, used := w.now, int64(0)
		w.run(6 * period)
		for _, units := range w.units(raised) {
			used += units
		}
		if share := float64(used) / float64(6*high); share < 0.8 { // uses come in bursts, of which six periods have five or six
			t.Errorf("%.3f of the raised limit was used", share)
		}
		w.windows = []Window{{high, period}}
		w.judge(t)
	})
}

// Nodes that want all get equal parts, one that only looks whether there is something to do gets a slot to look with, and one
// that is alone in wanting gets all the others.
func TestSlotsAreDividedByDemand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		window := Window{rapid.Int64Range(12, 30).Draw(t, "limit"), rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Second}).Draw(t, "period")}
		w := newWorld(rapid.Uint64().Draw(t, "seed"), []Window{window})
		w.there, w.back = time.Millisecond, 100*time.Millisecond
		busy := []*player{w.join(int(8*window.Limit), 1), w.join(int(8*window.Limit), 1)}
		w.join(16, 1).looks = true
		w.run(10 * time.Second)
		from := w.now
		w.run(4 * max(window.Period, 2*time.Second))
		w.judge(t)
		a, b := w.units(from)[0], w.units(from)[1]
		least := 0.7
		if window.Period > longerThan {
			least = 0.9 // what a node has used within the period counts, so that nothing adds up
		}
		if float64(min(a, b)) < least*float64(max(a, b)) {
			t.Errorf("two equal nodes made %d and %d requests", a, b)
		}
		busy[0].wanted = 0
		w.run(5*time.Second + window.Period)
		from = w.now
		w.run(4 * max(window.Period, 2*time.Second))
		alone := w.units(from)[1]
		if window.Period > 0 && float64(alone) < 0.7*float64(window.Limit-1)*float64(4*max(window.Period, 2*time.Second))/float64(window.Period) {
			t.Errorf("alone, a node made %d requests", alone)
		}
	})
}

// A limit of one serves two nodes, neither of them for ever.
func TestASingleSlotGoesAround(t *testing.T) {
	t.Parallel()
	for _, window := range []Window{{1, 0}, {1, time.Second}, {1, time.Minute}} {
		w := newWorld(7, []Window{window})
		w.there, w.back = time.Millisecond, 50*time.Millisecond
		w.join(10, 1)
		w.join(10, 1)
		length := max(20*window.Period, 2*time.Minute)
		w.run(length)
		by := w.units(0)
		all := by[0] + by[1]
		if min(by[0], by[1])*4 < all {
			t.Errorf("%v: %v", window, by)
		}
		if window.Period > 0 && float64(all) < 0.9*float64(length/window.Period) {
			t.Errorf("%v: %d requests within %v", window, all, length)
		}
		if most := w.most(max(window.Period, 1), 0); window.Period > 0 && most > 1 {
			t.Errorf("%v: %d at once", window, most)
		}
	}
}

// A use that takes more than an equal part of the slots has its turn, beside others like it and beside small ones.
func TestHeavyUsesHaveTheirTurn(t *testing.T) {
	t.Parallel()
	for _, window := range []Window{{10, 0}, {10, time.Second}, {10, time.Minute}} {
		for _, other := range []int64{1, 8} {
			w := newWorld(7, []Window{window})
			w.there, w.back = time.Millisecond, 50*time.Millisecond
			w.join(1, 8)
			w.join(10, other)
			w.run(max(20*window.Period, 2*time.Minute))
			by := w.units(0)
			if 5*min(by[0], by[1]) < by[0]+by[1] {
				t.Errorf("%v, beside uses of %d: %v", window, other, by)
			}
			if most := w.most(max(window.Period, 1), 0); window.Period > 0 && most > 10 {
				t.Errorf("%v: %d at once", window, most)
			}
		}
	}
}
