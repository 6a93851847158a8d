package tasks

import (
	"testing"
	"time"
)

// A task that nobody tells this node of waits for a small part of the time in which none came, and a node that has had nothing to do
// for long asks little.
func TestLooksBecomeRareByAndBy(t *testing.T) {
	t.Parallel()
	node := &Tasks{cfg: Config{Node: "a"}.withDefaults(), foundAt: monotonic()}
	pauseAfter := func(idle time.Duration) time.Duration {
		node.roundAt = node.foundAt.Add(idle)
		return node.lookPause()
	}
	for _, c := range []struct{ idle, pause time.Duration }{
		{0, 10 * time.Millisecond},
		{time.Second, 10 * time.Millisecond},
		{2 * time.Second, 20 * time.Millisecond},
		{9 * time.Second, 90 * time.Millisecond},
		{10 * time.Second, 100 * time.Millisecond},
		{time.Hour, 100 * time.Millisecond},
	} {
		if pause := pauseAfter(c.idle); pause != c.pause {
			t.Errorf("after %v without tasks, looks are %v apart; want %v", c.idle, pause, c.pause)
		}
	}
	looks := 0
	for idle := time.Second; idle < 10*time.Second; idle += pauseAfter(idle) {
		looks++
	}
	if looks > 300 {
		t.Errorf("%d looks until they are rare; want at most 300", looks)
	}
	if node.behind = true; pauseAfter(0) != 100*time.Millisecond {
		t.Errorf("while tasks wait in known lines, looks are %v apart; want 100 ms", pauseAfter(0))
	}
}
