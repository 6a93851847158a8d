package tasks

import (
	"context"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func TestClaimsGoOnWhereTheyEnded(t *testing.T) {
	var r reach
	now, place := monotonic(), time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	steps := []struct {
		name  string
		after time.Duration // since the step before
		full  bool
		long  time.Duration
		back  time.Duration // how far the claim goes; -1: all the way
	}{
		{"the first goes all the way", 0, false, time.Millisecond, -1},
		{"behind a full one, on", time.Millisecond, true, time.Millisecond, 0},
		{"else a little back", time.Millisecond, false, time.Millisecond, nearBy},
		{"now and then back", backEvery, true, 50 * time.Millisecond, backBy},
		{"which was dear, so not again soon", backEvery, true, time.Millisecond, 0},
		{"but later", 10 * 50 * time.Millisecond, true, time.Millisecond, backBy},
		{"seldom all the way", deepEvery, true, 5 * time.Second, -1},
		{"the more seldom the dearer", deepEvery, true, time.Millisecond, backBy},
		{"but some time", 5 * deepEvery, true, time.Millisecond, -1},
	}
	for _, step := range steps {
		now = now.Add(step.after)
		s := r.next(now)
		from := r.from(s, 0, step.full)
		switch {
		case from == nil && step.back != -1, from != nil && (step.back < 0 || !from.Equal(place.Add(-step.back))):
			t.Fatalf("%s: from %v", step.name, from)
		}
		r.took(s, now, step.long, [4]time.Time{place}, false)
	}
}

// Where a claim has gone back and found as many as it asked for, many may have been committed late: all are done one after the other,
// not as many as one claim takes every time that one goes back.
func TestClaimsStayWhereOneHasFoundManyThatWereLate(t *testing.T) {
	now, place := monotonic(), time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	late := place.Add(-time.Minute)
	r := reach{after: [4]time.Time{place, place}}
	r.took(r.next(now), now, time.Millisecond, [4]time.Time{late}, true)
	if from := r.from(r.next(now), 0, true); from == nil || !from.Equal(late) || !r.after[1].Equal(place) {
		t.Fatal(from, r.after)
	}
	r.took(r.next(now), now, time.Millisecond, [4]time.Time{place.Add(time.Second)}, true)
	r.took(r.next(now), now, time.Millisecond, [4]time.Time{late}, false)
	if from := r.from(r.next(now), 0, true); from == nil || !from.Equal(place.Add(time.Second)) {
		t.Fatal(from)
	}
}

// A task whose transaction took long lies behind those that were claimed meanwhile, and is found all the same.
func TestATaskThatIsCommittedLateIsFound(t *testing.T) {
	b := setup(t)
	node, api := b.node("a", Config{}), b.node("api", Config{})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	b.run(node)
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		if _, err := api.EnqueueTx(ctx, tx, []Spec{b.named("late", func(*Spec) {})}); err != nil {
			return err
		}
		b.queueOnly(api, b.specs(20)...)
		b.until("the others are done", func() bool { return len(r.seen()) == 20 })
		return nil
	})
	b.until("it is done as well", func() bool { return len(r.seen()) == 21 })
}

// A task that is wanted since long is one that came now: where it is looked for.
func TestATaskWantedInThePastIsNew(t *testing.T) {
	b := setup(t)
	api := b.node("api", Config{})
	task := b.queueOnly(api, b.named("old", func(s *Spec) { s.At = time.Now().Add(-time.Hour) }))[0]
	if l, _ := b.live(task); l.DueIn < -time.Minute {
		t.Fatal(l.DueIn)
	}
}
