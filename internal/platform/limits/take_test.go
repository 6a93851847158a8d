package limits

import (
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// lone is a node without a database that holds all of its keys for long, by a clock of the test's.
func lone(t testing.TB, now *instant, windows map[string][]Window) *Limits {
	b := &bench{TB: t, source: ids.NewSource(clock.System)}
	node := b.node("a", Config{})
	node.now = func() instant { return *now }
	for name, list := range windows {
		node.Define(b.key(name), 1, list)
		k := node.keys[b.key(name)]
		k.leasedUntil = now.plus(time.Hour)
		for _, w := range k.windows {
			w.held = w.limit
		}
	}
	return node
}

func keysOf(names ...string) []Key {
	var out []Key
	for _, name := range names {
		out = append(out, Key{Name: name})
	}
	return out
}

func TestAllWindowsOfAllKeysMustHaveRoom(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	node := lone(t, &now, map[string][]Window{"queue": {{Limit: 10}}, "api": {{4, time.Second}, {6, time.Minute}}})
	both := keysOf("queue", "api")
	grants, blocker, retry := node.Take(both, 1, 7)
	if len(grants) != 4 || blocker != both[1] || retry <= 0 {
		t.Fatal(len(grants), blocker, retry)
	}
	for _, g := range grants {
		if !g.Sent() {
			t.Fatal("it may not be sent")
		}
		g.Done()
	}
	if node.keys[both[0]].windows[0].taken != 0 {
		t.Fatal("the queue's slots are not free")
	}
	now = now.plus(900 * time.Millisecond)
	// The answers came at once, so the slots rest for little more than the period.
	if _, _, retry = node.Take(both, 1, 1); retry < 100*time.Millisecond || retry > 110*time.Millisecond {
		t.Fatal(retry)
	}
	now = now.plus(110 * time.Millisecond)
	grants, blocker, _ = node.Take(both, 1, 7)
	if len(grants) != 2 || blocker != both[1] {
		t.Fatal(len(grants), blocker)
	}
	grants[0].Unused()
	if again, _, _ := node.Take(both, 1, 1); len(again) != 1 {
		t.Fatal("what was not used is not free")
	}
}

func TestUnitsWeigh(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	node := lone(t, &now, map[string][]Window{"api": {{10, time.Second}}})
	if grants, _, _ := node.Take(keysOf("api"), 4, 3); len(grants) != 2 {
		t.Fatal(len(grants))
	}
	if grants, _, _ := node.Take(keysOf("api"), 2, 1); len(grants) != 1 {
		t.Fatal(len(grants))
	}
	if grants, _, retry := node.Take(keysOf("api"), 11, 1); len(grants) != 0 || retry != node.cfg.Refresh {
		t.Fatal("more than the limit was granted, or is waited for")
	}
}

func TestWhatIsNotDefinedOrHasNoLimitLeft(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	node := lone(t, &now, map[string][]Window{"free": nil, "shut": {{Limit: 0}}, "api": {{10, time.Second}}})
	if grants, blocker, _ := node.Take(keysOf("api", "unheard"), 1, 1); len(grants) != 0 || blocker.Name != "unheard" {
		t.Fatal("a key that is not defined was granted")
	}
	if grants, blocker, retry := node.Take(keysOf("free", "shut"), 1, 1); len(grants) != 0 || blocker.Name != "shut" || retry == 0 {
		t.Fatal("a limit of 0 was granted")
	}
	grants, _, _ := node.Take(keysOf("free"), 1, 3)
	if len(grants) != 3 || !grants[0].Sent() {
		t.Fatal("a key without windows limits")
	}
	if grants, _, _ := node.Take(keysOf("api", "api"), 1, 10); len(grants) != 10 {
		t.Fatal("a key that is named twice counts twice")
	}
}

func TestAnAnswerAfterTheGuardBringsNothingForward(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	node := lone(t, &now, map[string][]Window{"api": {{1, 10 * time.Second}}})
	grants, _, _ := node.Take(keysOf("api"), 1, 1)
	grants[0].Sent()
	now = now.plus(9 * time.Second)
	grants[0].Done()
	now = now.plus(3499 * time.Millisecond)
	if more, _, _ := node.Take(keysOf("api"), 1, 1); len(more) != 0 {
		t.Fatal("a slot was used again within period and guard")
	}
	now = now.plus(50 * time.Millisecond)
	if more, _, _ := node.Take(keysOf("api"), 1, 1); len(more) != 1 {
		t.Fatal("a slot is not free after period and guard")
	}
}

func TestAnAnswerWithinTheGuardIsNotWaitedForInVain(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	const period = 100 * time.Millisecond
	node := lone(t, &now, map[string][]Window{"api": {{1, period}}})
	grants, _, _ := node.Take(keysOf("api"), 1, 1)
	grants[0].Sent()
	_, _, retry := node.Take(keysOf("api"), 1, 1)
	if retry < period || retry > period+time.Millisecond {
		t.Fatalf("to come back after %v, as if there were no answer before", retry)
	}
	now = now.plus(20 * time.Millisecond)
	grants[0].Done()
	now = now.plus(retry - 20*time.Millisecond)
	if more, _, retry := node.Take(keysOf("api"), 1, 1); len(more) != 0 || retry < 19*time.Millisecond || retry > 21*time.Millisecond {
		t.Fatal(len(more), retry)
	}
}

func TestANodeThatStoodStillStops(t *testing.T) {
	t.Parallel()
	for name, skip := range map[string]instant{"both clocks": {mono: moment(time.Hour), wall: moment(time.Hour)}, "asleep": {mono: 1, wall: moment(time.Hour)}} {
		now := instant{1, 1}
		node := lone(t, &now, map[string][]Window{"api": {{10, time.Second}}})
		grants, _, _ := node.Take(keysOf("api"), 1, 1)
		now = instant{now.mono + skip.mono, now.wall + skip.wall}
		if grants[0].Sent() {
			t.Errorf("%s: sent after the lease", name)
		}
		if more, _, _ := node.Take(keysOf("api"), 1, 1); len(more) != 0 {
			t.Errorf("%s: granted after the lease", name)
		}
		// A new lease is not for what was granted under the old one.
		k := node.keys[Key{Name: "api"}]
		late := grantsOf(Grant{limits: node, windows: k.windows, units: 1, at: 1}, 1)
		k.settle(answer{version: 1, leasedUntil: now.plus(time.Second), verdicts: []verdict{{period: time.Second, held: 10, cap: uncapped}}}, now, node.cfg)
		if late[0].Sent() {
			t.Errorf("%s: a grant outlived its lease", name)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	for name, windows := range map[string][]Window{
		"one window":    {{100_000_000, time.Second}},
		"three windows": {{100_000_000, time.Second}, {1_000_000_000, time.Minute}, {Limit: 100_000}},
	} {
		b.Run(name, func(b *testing.B) {
			now := instant{1, 1}
			node := lone(b, &now, map[string][]Window{"api": windows})
			keys := keysOf("api")
			b.ReportAllocs()
			for b.Loop() {
				now = now.plus(20 * time.Microsecond)
				grants, _, _ := node.Take(keys, 1, 1)
				if len(grants) != 1 || !grants[0].Sent() {
					b.Fatal("not granted")
				}
				grants[0].Done()
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		now := instant{1, 1}
		node := lone(b, &now, map[string][]Window{"api": {{10, time.Second}}})
		keys := keysOf("api")
		node.Take(keys, 1, 10)
		b.ReportAllocs()
		for b.Loop() {
			if grants, _, _ := node.Take(keys, 1, 1); len(grants) != 0 {
				b.Fatal("granted")
			}
		}
	})
}
