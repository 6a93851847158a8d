package limits

import (
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

func TestALoneNodeGetsAllOfALimitAndNoMore(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.run(node)
	key := b.key("queue/emails")
	node.Define(key, 1, []Window{{Limit: 5}})
	grants := b.take(node, 5, key)
	if more, blocker, retry := node.Take([]Key{key}, 1, 1); len(more) != 0 || blocker != key || retry <= 0 {
		t.Fatal(more, blocker, retry)
	}
	for _, g := range grants {
		if !g.Sent() {
			t.Fatal("a grant may not be sent")
		}
		g.Done()
	}
	b.take(node, 5, key)
}

func TestAStopGivesBackWhatIsFreeAtOnceAndLetsTheUsedCool(t *testing.T) {
	b := setup(t)
	key := b.key("destination/stripe")
	first := b.node("a", Config{})
	stop := b.run(first)
	windows := []Window{{Limit: 10, Period: time.Hour}, {Limit: 10, Period: time.Second}}
	first.Define(key, 1, windows)
	grants := b.take(first, 4, key)
	for _, g := range grants[:3] {
		if !g.Sent() {
			t.Fatal("a grant may not be sent")
		}
		g.Done()
	}
	stop()
	if grants[3].Sent() {
		t.Fatal("a node that has stopped may still send")
	}
	if n := b.count(`select coalesce(sum(held), 0) from limit_lease`); n != 0 {
		t.Fatalf("%d slots are still held", n)
	}
	if n := b.count(`select coalesce(sum(units), 0) from limit_cooling where period > 10e6`); n != 3 {
		t.Fatalf("%d units cool, want 3", n)
	}
	second := b.node("b", Config{})
	b.run(second)
	second.Define(key, 1, windows)
	b.take(second, 7, key)
	if more, _, _ := second.Take([]Key{key}, 1, 1); len(more) != 0 {
		t.Fatal("an 11th use within the hour")
	}
}

// The transaction of a refresh that gives slots back was committed, and its answer was lost: run again, it gives nothing back a second
// time. What it would give is busy by then, and another node would use it as well.
func TestARefreshThatRunsAgainGivesNothingBackTwice(t *testing.T) {
	t.Parallel()
	me, other := ids.ID{1}, ids.ID{2}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	const limit, busy, spare, turn = 10, 6, 4, 7
	at := func(mine lease) standing {
		mine.holder, mine.endsAt = me, now.Add(time.Second)
		return standing{limit: limit, at: now, leases: []lease{mine, {holder: other, want: limit, unit: 1, endsAt: now.Add(time.Second), turn: 1}}}
	}
	for name, w := range map[string]wish{
		"it is idle":           {busy: busy, want: busy, unit: 1, aside: spare, idle: true},
		"it has what it owes":  {busy: busy, want: limit, unit: 1, aside: spare},
		"its limit is a rate":  {period: time.Second, busy: busy, want: busy, unit: 1, aside: spare, idle: true},
		"its slots cool there": {period: time.Minute, busy: busy, want: busy, unit: 1, aside: spare, idle: true},
	} {
		first := decide(me, turn, w, at(lease{held: limit, usable: limit, busy: busy, want: limit, unit: 1, turn: turn - 1}))
		again := decide(me, turn, w, at(lease{held: first.held, usable: min(first.held, first.cap), busy: w.busy, want: w.want, unit: 1, turn: turn}))
		if first.held >= limit || again.held < busy || again.held != first.held {
			t.Errorf("%s: of %d held and %d busy %d are left, and then %d", name, limit, busy, first.held, again.held)
		}
		// The next one, with nothing aside that was not offered anew, may.
		w.aside = 1
		if next := decide(me, turn+1, w, at(lease{held: limit, usable: limit, busy: busy, want: limit, unit: 1, turn: turn})); next.held >= limit {
			t.Errorf("%s: the next refresh gives nothing back", name)
		}
	}
}

// Slots of a long window come free in waves. Who got a slot of one, and found its task gone, still wants what it lacked; who never uses
// any only looks.
func TestWhoGivesOneUseBackWantsMoreAllTheSame(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	const limit, wanted, few, many = 20, 30, 3, 12
	node := lone(t, &now, map[string][]Window{"api": {{limit, time.Minute}}})
	k := node.keys[Key{Name: "api"}]
	w := k.windows[0]
	w.held = 1
	wish := func() int64 { return k.ask(now.mono, false, node.cfg).wishes[0].want }
	for n := range many {
		if n > 0 && n <= few && wish() != limit-1 {
			t.Fatalf("%d uses came to nothing, and it wants %d", n, wish())
		}
		grants, _, _ := node.Take(keysOf("api"), 1, wanted)
		grants[0].Unused()
		now = now.plus(100 * time.Millisecond)
	}
	if wish() != 1 {
		t.Errorf("%d uses came to nothing, and it wants %d", many, wish())
	}
	grants, _, _ := node.Take(keysOf("api"), 1, wanted)
	grants[0].Sent()
	if wish() != limit {
		t.Errorf("it used one, and wants %d", wish())
	}
}

// What a use needs is all of it, also where a part of it is there.
func TestWhoLacksAPartWantsTheWhole(t *testing.T) {
	t.Parallel()
	now := instant{1, 1}
	node := lone(t, &now, map[string][]Window{"api": {{Limit: 10}}})
	k := node.keys[Key{Name: "api"}]
	k.windows[0].held = 2
	if grants, _, _ := node.Take(keysOf("api"), 8, 1); len(grants) != 0 {
		t.Fatal("granted")
	}
	if want := k.ask(now.mono, false, node.cfg).wishes[0].want; want != 8 {
		t.Errorf("a use of 8 lacks 6 slots, and the node wants %d", want)
	}
}

// Of a long window all counts that a node has used within it. Else who asks first after some came free would have half of the rest again
// and again.
func TestWhatANodeHasSpentIsAPartOfItsShare(t *testing.T) {
	t.Parallel()
	me, other := ids.ID{1}, ids.ID{2}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name               string
		cooling            int64
		mine, its, itsWant int64
		held               int64
	}{
		{"both have spent as much", 8, 4, 4, 20, 6},
		{"this one has spent more", 12, 9, 3, 20, 1},
		{"this one has spent its share", 12, 10, 2, 20, 0},
		{"this one has spent less", 12, 3, 9, 20, 7},
		{"the other one has spent all, and some is free again since it said so", 10, 5, 20, 20, 5},
		{"the other one wants little", 12, 12, 0, 3, 5},
		{"what cools is nobody's", 8, 0, 0, 20, 6},
	} {
		w := wish{period: time.Minute, want: 20, unit: 1, spent: c.mine}
		s := standing{limit: 20, cooling: c.cooling, at: now, leases: []lease{{holder: other, want: c.itsWant, unit: 1, spent: c.its, endsAt: now.Add(time.Second)}}}
		if v := decide(me, 1, w, s); v.held != c.held {
			t.Errorf("%s: of %d free slots it got %d, not %d", c.name, s.limit-s.cooling, v.held, c.held)
		}
	}
}
