package limits

import (
	"testing"
	"time"
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
