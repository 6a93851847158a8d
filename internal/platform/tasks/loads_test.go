package tasks

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

func lineNamed(n int) ids.ID { return ids.ID{14: byte(n >> 8), 15: byte(n)} }

// A line that is alone has all workers. From when another has begun something, it leaves as many as that held at once, and gets them
// back when nothing more has come of that for a while.
func TestALineLeavesWorkersToOthers(t *testing.T) {
	o := loads{workers: 8, period: time.Second, lines: map[ids.ID]*load{}}
	noisy, quiet := lineNamed(1), lineNamed(2)
	now := monotonic()
	for free := 8; free > 0; free-- {
		if room := o.room(noisy, 1, 0, free); room != free {
			t.Fatalf("alone it may have %d of %d", room, free)
		}
		o.take(noisy, 1, now)
	}
	first := o.take(quiet, 1, now) // one of its tasks waits for a worker
	o.release(o.lines[noisy])
	now = now.Add(2 * time.Second)
	o.turn(now) // what the noisy one held before is forgotten
	o.take(noisy, 1, now)
	o.turn(now.Add(time.Second))
	o.release(first)
	o.turn(now.Add(2 * time.Second))
	for range 2 {
		o.release(o.lines[noisy])
	}
	if room := o.room(noisy, 1, 0, 2); room != 1 {
		t.Fatalf("beside the quiet one it may have %d of 2", room)
	}
	if room := o.room(quiet, 1, 0, 2); room != 2 {
		t.Fatalf("the quiet one may have %d of 2", room)
	}
	o.turn(now.Add(3 * time.Second))
	o.turn(now.Add(4 * time.Second))
	o.turn(now.Add(5 * time.Second))
	if room := o.room(noisy, 1, 0, 2); room != 2 {
		t.Fatalf("alone again it may have %d of 2", room)
	}
}

// No more than a quarter of the workers is kept free, whatever was needed before, and none of a single one.
func TestTheReserveIsBounded(t *testing.T) {
	for workers, most := range map[int]int{1: 0, 2: 0, 4: 1, 8: 2, 256: 64} {
		o := loads{workers: workers, period: time.Second, lines: map[ids.ID]*load{}}
		now := monotonic()
		var all []*load
		for n := range workers {
			all = append(all, o.take(lineNamed(n), 1, now))
		}
		for _, l := range all {
			o.release(l)
		}
		if got := o.reserve(); got != most {
			t.Errorf("of %d workers %d are kept free", workers, got)
		}
	}
}

// Whatever happens, what is counted is what the lines hold.
func TestLoadsAddUp(t *testing.T) {
	o := loads{workers: 8, period: time.Second, lines: map[ids.ID]*load{}}
	now := monotonic()
	var held []*load
	for step := range 5000 {
		now = now.Add(time.Duration(step%7) * 40 * time.Millisecond)
		if n := step * 7919 % 13; n < 7 && len(held) < o.workers {
			held = append(held, o.take(lineNamed(n*n%5), float64(1+n%2), now))
		} else if len(held) > 0 {
			at := step % len(held)
			o.release(held[at])
			held = slices.Delete(held, at, at+1)
		}
		within, weights := 0, 0.0
		for _, l := range o.lines {
			weights += l.weight
			if l.over.IsZero() {
				within += l.held
			}
		}
		if within != o.within || weights != o.weights || o.reserve() < 0 {
			t.Fatalf("step %d: %+v", step, o)
		}
	}
}

// dividing is a line of a table: "name weight held" of those in which tasks wait.
func dividing(lines ...string) []*claimant {
	var out []*claimant
	for i, text := range lines {
		c := &claimant{behind: i}
		c.q = &queueing{hungry: true}
		var over int
		if _, err := fmt.Sscan(text, &c.q.weight, &c.held, &c.most, &over); err != nil {
			panic(err)
		}
		c.over = over == 1
		out = append(out, c)
	}
	return out
}

func TestFreeWorkersGoToWhoHasLeast(t *testing.T) {
	for name, c := range map[string]struct {
		lines         []string // weight, held, share, over
		free, reserve int
		want          []int
		kept          bool
	}{
		"one has all":                         {[]string{"1 0 8 0"}, 8, 0, []int{8}, false},
		"two have half each":                  {[]string{"1 0 4 0", "1 0 4 0"}, 8, 0, []int{4, 4}, false},
		"by weight":                           {[]string{"1 0 2 0", "3 0 6 0"}, 8, 0, []int{2, 6}, false},
		"what it has counts":                  {[]string{"1 6 4 1", "1 0 4 0"}, 2, 0, []int{0, 2}, false},
		"the only free one goes to the other": {[]string{"1 7 4 1", "1 0 4 0"}, 1, 0, []int{0, 1}, false},
		"of equals the first":                 {[]string{"1 0 1 0", "1 0 1 0", "1 0 1 0"}, 2, 0, []int{1, 1, 0}, false},
		"the reserve is not for those over":   {[]string{"1 5 4 1"}, 3, 2, []int{1}, true},
		"but for those within":                {[]string{"1 5 4 1", "1 0 4 0"}, 3, 2, []int{0, 3}, false},
		"over, and still below its share":     {[]string{"1 0 4 1"}, 8, 2, []int{6}, true},
		"all of it reserved":                  {[]string{"1 6 4 1"}, 2, 2, []int{0}, true},
	} {
		lines := dividing(c.lines...)
		d := division{budget: 1000, free: c.free, reserve: c.reserve}
		d.among(lines)
		for i, l := range lines {
			if l.n != c.want[i] || d.kept != c.kept {
				t.Errorf("%s: line %d gets %d, kept %v", name, i, l.n, d.kept)
			}
		}
	}
}

// The quiet tenant's task is begun although the noisy one has a backlog of tasks none of which ends.
func TestANoisyTenantLeavesAWorkerFree(t *testing.T) {
	b := setup(t)
	const workers = 8
	node := b.node("a", Config{Workers: workers})
	node.loads.period = time.Hour
	begun, goOn := make(chan string, 100), make(chan struct{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		begun <- task.FairnessKey
		if task.FairnessKey == "noisy" {
			<-goOn
		}
		return Succeeded()
	})
	defer close(goOn)
	b.run(node)
	of := func(key string, n int) (specs []Spec) {
		for range n {
			specs = append(specs, b.named(key, func(s *Spec) { s.FairnessKey = key }))
		}
		return specs
	}
	b.untilFinished(b.queue(node, of("quiet", 1)...)...)
	b.queue(node, of("noisy", 3*workers)...)
	for range workers { // the quiet one's first, and seven
		receive(b, begun, "it begins")
	}
	b.until("the noisy one is kept from the last worker", func() bool {
		node.mu.Lock()
		defer node.mu.Unlock()
		return node.crowded && node.keeping
	})
	for range 3 {
		list := b.queue(node, of("quiet", 1)...)
		if key := receive(b, begun, "the quiet one's task begins"); key != "quiet" {
			t.Fatal(key)
		}
		b.untilFinished(list...)
	}
	select {
	case key := <-begun:
		t.Fatalf("one more of the %s one's has begun", key)
	default:
	}
}

// A tenant that is alone has all workers, and tasks that come in a list are not kept from any.
func TestATenantAloneHasAllWorkers(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Workers: 8})
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict {
		begun <- struct{}{}
		<-goOn
		return Succeeded()
	})
	defer close(goOn)
	b.run(node)
	b.queueOnly(b.node("api", Config{}), b.specs(30)...)
	for range 8 {
		receive(b, begun, "it begins")
	}
}
