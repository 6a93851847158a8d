package tasks

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// dead makes tasks that have failed for good, at once.
func (b *bench) deadLetters(node *Tasks, n int, change func(i int, s *Spec)) []Task {
	b.Helper()
	specs := b.specs(n)
	for i := range specs {
		change(i, &specs[i])
	}
	list := b.queue(node, specs...)
	b.untilFinished(list...)
	return list
}

// failing is a node whose tasks fail until healed is set; they fail by what they are given.
func (b *bench) failing(healed *atomic.Bool) *Tasks {
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		if healed.Load() {
			return Succeeded()
		}
		return Failed(task.SubjectType, errors.New("no such "+task.SubjectType))
	})
	b.run(node)
	return node
}

func TestDeadLettersAreListedGroupedAndResolved(t *testing.T) {
	b := setup(t)
	var healed atomic.Bool
	node := b.failing(&healed)
	list := b.deadLetters(node, 6, func(i int, s *Spec) {
		s.SubjectType = []string{"payment", "order"}[i%2]
		s.Tags, s.IdempotencyKey = []string{"x"}, "own-key"
	})
	letters, next, err := node.DeadLetters(t.Context(), b.db.Pool(), b.org, LetterFilter{SubjectType: "order"}, paging.Cursor{}, 2)
	if err != nil || len(letters) != 2 || letters[0].ErrorCode != "order" || letters[0].Error != "no such order" || next.IsZero() {
		t.Fatalf("%+v %v", letters, err)
	}
	rest, last, err := node.DeadLetters(t.Context(), b.db.Pool(), b.org, LetterFilter{Fingerprint: letters[0].Fingerprint}, next, 2)
	if err != nil || len(rest) != 1 || !last.IsZero() {
		t.Fatalf("%+v %v", rest, err)
	}
	groups, _, err := node.DeadLetterGroups(t.Context(), b.db.Pool(), b.org, paging.Cursor{}, 10)
	if err != nil || len(groups) != 2 || groups[0].Count != 3 || groups[1].Count != 3 || groups[0].First.DeadAt.After(groups[0].Latest.DeadAt) {
		t.Fatalf("%+v %v", groups, err)
	}
	discarded := do(b, func(ctx context.Context, tx postgres.Tx) (DeadLetter, error) {
		return node.DiscardDeadLetter(ctx, tx, b.org, list[0].ID, "key_1", "known")
	})
	if discarded.Resolution != LetterDiscarded || discarded.Note != "known" || discarded.ResolvedBy != "key_1" {
		t.Fatalf("%+v", discarded)
	}
	replay := func(id ids.ID, newKey bool) Enqueued {
		again := do(b, func(ctx context.Context, tx postgres.Tx) (Enqueued, error) {
			return node.ReplayDeadLetter(ctx, tx, b.org, id, Again{NewKey: newKey}, "key_1")
		})
		node.DispatchEnqueued([]Enqueued{again})
		b.untilFinished(again.Task)
		return again
	}
	healed.Store(true)
	again := replay(list[1].ID, false)
	s := b.shown(node, again.ID)
	if s.State != StateCompleted || s.ReplayOf != list[1].ID || s.IdempotencyKey != "own-key" || !slices.Equal(s.Tags, []string{"x"}) || s.SubjectID != list[1].SubjectID {
		t.Fatalf("%+v", s)
	}
	if s := b.shown(node, replay(list[2].ID, true).ID); s.IdempotencyKey != ids.Format(Prefix, s.ID) {
		t.Fatalf("%+v", s)
	}
	for id, want := range map[ids.ID]error{list[0].ID: ErrLetterResolved, list[1].ID: ErrLetterResolved, again.ID: ErrLetterNotFound} {
		b.refused(want, func(ctx context.Context, tx postgres.Tx) error {
			_, err := node.ReplayDeadLetter(ctx, tx, b.org, id, Again{}, "")
			return err
		})
	}
	replayed, _, err := node.DeadLetters(t.Context(), b.db.Pool(), b.org, LetterFilter{Resolution: LetterReplayed}, paging.Cursor{}, 10)
	if err != nil || len(replayed) != 2 || replayed[1].ReplayedAs != again.ID {
		t.Fatalf("%+v %v", replayed, err)
	}
}

func (b *bench) beginReplay(node *Tasks, r Replay) Replay {
	b.Helper()
	r.OrgID = b.org
	var work []Task
	begun := do(b, func(ctx context.Context, tx postgres.Tx) (Replay, error) {
		made, list, err := node.BeginReplay(ctx, tx, r)
		work = list
		return made, err
	})
	node.Dispatch(work)
	return begun
}

func (b *bench) untilReplayed(node *Tasks, r Replay) Replay {
	b.Helper()
	b.until("the replay has ended", func() bool {
		var err error
		if r, err = node.Replay(b.Context(), b.db.Pool(), b.org, r.ID); err != nil {
			b.Fatal(err)
		}
		return r.State != ReplayRunning
	})
	return r
}

func TestAReplayTakesWhatItsFilterNames(t *testing.T) {
	b := setup(t)
	var healed atomic.Bool
	node := b.failing(&healed)
	b.deadLetters(node, 40, func(i int, s *Spec) { s.SubjectType = []string{"payment", "order"}[i%2] })
	filter := LetterFilter{SubjectType: "order"}
	p, err := node.PreviewReplay(t.Context(), b.db.Pool(), b.org, filter)
	if err != nil || p.Count != 20 || p.More || len(p.Sample) != sampleSize || p.Sample[0].SubjectType != "order" {
		t.Fatalf("%d %v", p.Count, err)
	}
	healed.Store(true)
	r := b.untilReplayed(node, b.beginReplay(node, Replay{Filter: filter, MaxDispatchesPerSecond: 1000, Canary: 3, StopAtFailurePercent: 10, RequestedBy: "key_1"}))
	if r.State != ReplayCompleted || r.Replayed != 20 || r.Succeeded != 20 || r.Failed != 0 {
		t.Fatalf("%+v", r)
	}
	if n := b.count(`select count(*) from task_dead_letter where resolution = 'open' and subject_type = 'payment'`); n != 20 {
		t.Fatalf("%d are left", n)
	}
}

// The queue of a dead letter is deleted, or drains: its task does not come back without the queue's limits.
func TestWhatHasNoQueueAnyMoreIsNotReplayed(t *testing.T) {
	b := setup(t)
	var healed atomic.Bool
	node := b.failing(&healed)
	for _, name := range []string{"gone", "drains", "there"} {
		do(b, func(ctx context.Context, tx postgres.Tx) (Queue, error) {
			return node.CreateQueue(ctx, tx, b.org, name, QueueSettings{})
		})
	}
	list := b.deadLetters(node, 6, func(i int, s *Spec) { s.Queue = []string{"gone", "drains", "there"}[i%3] })
	healed.Store(true)
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		if err := node.DeleteQueue(ctx, tx, b.org, "gone", nobody); err != nil {
			return err
		}
		_, err := node.DrainQueue(ctx, tx, b.org, "drains")
		return err
	})
	for i, want := range []error{ErrQueueDeleted, ErrQueueDraining} {
		b.refused(want, func(ctx context.Context, tx postgres.Tx) error {
			_, err := node.ReplayDeadLetter(ctx, tx, b.org, list[i].ID, Again{}, "")
			return err
		})
	}
	r := b.untilReplayed(node, b.beginReplay(node, Replay{MaxDispatchesPerSecond: 1000, StopAtFailurePercent: 10}))
	if r.State != ReplayCompleted || r.Replayed != 2 || r.Succeeded != 2 || r.Refused != 4 || r.Refusal == "" {
		t.Fatalf("%+v", r)
	}
	if n := b.count(`select count(*) from task_dead_letter where resolution = 'open' and queue in ('gone', 'drains')`); n != 4 {
		t.Fatalf("%d are left", n)
	}
}

func TestAReplayStopsAtItsCanary(t *testing.T) {
	b := setup(t)
	var healed atomic.Bool
	node := b.failing(&healed)
	b.deadLetters(node, 30, func(int, *Spec) {})
	r := b.untilReplayed(node, b.beginReplay(node, Replay{MaxDispatchesPerSecond: 1000, Canary: 4, StopAtFailurePercent: 50}))
	if r.State != ReplayStopped || r.Replayed != 4 || r.Failed != 4 {
		t.Fatalf("%+v", r)
	}
	// The canaries have died once more.
	if n := b.count(`select count(*) from task_dead_letter where resolution = 'open'`); n != 30 {
		t.Fatalf("%d are open", n)
	}
	b.refused(ErrReplayEnded, func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.CancelReplay(ctx, tx, b.org, r.ID)
		return err
	})
}

func TestACancelledReplayTakesBackWhatWasNotBegun(t *testing.T) {
	b := setup(t)
	var healed atomic.Bool
	node := b.failing(&healed)
	b.deadLetters(node, 10, func(int, *Spec) {})
	healed.Store(true)
	r := b.beginReplay(node, Replay{MaxDispatchesPerSecond: 1, StopAtFailurePercent: 100})
	b.until("the first are queued", func() bool { return b.count(`select count(*) from task_replay_item`) == 5 })
	r = do(b, func(ctx context.Context, tx postgres.Tx) (Replay, error) {
		return node.CancelReplay(ctx, tx, b.org, r.ID)
	})
	if r.State != ReplayCancelled || r.TakenBack < 3 || r.EndedAt.IsZero() {
		t.Fatalf("%+v", r)
	}
	if n := b.count(`select count(*) from task_dead_letter where resolution = 'open'`); n != 5+r.TakenBack {
		t.Fatalf("%d are open, and %d were taken back", n, r.TakenBack)
	}
	b.until("its own task ends", func() bool { return b.count(`select count(*) from task_live`) == 0 })
}

func TestTheRuleOfAReplay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name  string
		r     Replay
		s     standing
		n     int
		state string
	}{
		{"it begins", Replay{MaxDispatchesPerSecond: 10, StopAtFailurePercent: 20}, standing{}, 50, ""},
		{"the canary goes first", Replay{MaxDispatchesPerSecond: 10, Canary: 3, StopAtFailurePercent: 20}, standing{}, 3, ""},
		{"what becomes of it is waited for", Replay{MaxDispatchesPerSecond: 10, Canary: 3, Replayed: 3, Succeeded: 2, StopAtFailurePercent: 20}, standing{open: 1}, 0, ""},
		{"it is well", Replay{MaxDispatchesPerSecond: 10, Canary: 3, Replayed: 3, Succeeded: 3, StopAtFailurePercent: 20}, standing{}, 50, ""},
		{"it fails", Replay{MaxDispatchesPerSecond: 10, Canary: 3, Replayed: 3, Succeeded: 2, StopAtFailurePercent: 20}, standing{open: 1, failing: 1}, 0, ReplayStopped},
		{"few results tell nothing", Replay{MaxDispatchesPerSecond: 10, Replayed: 30, Failed: 5, StopAtFailurePercent: 20}, standing{open: 25}, 50, ""},
		{"many do", Replay{MaxDispatchesPerSecond: 10, Replayed: 30, Failed: 5, Succeeded: 15, StopAtFailurePercent: 20}, standing{open: 10}, 0, ReplayStopped},
		{"or not, when it was said so", Replay{MaxDispatchesPerSecond: 10, Replayed: 30, Failed: 30, StopAtFailurePercent: 100}, standing{}, 50, ""},
		{"it is far enough ahead", Replay{MaxDispatchesPerSecond: 10, nextAt: now.Add(replayAhead), StopAtFailurePercent: 20}, standing{}, 0, ""},
		{"the last are waited for", Replay{exhausted: true, Replayed: 3, Succeeded: 2, StopAtFailurePercent: 20}, standing{open: 1}, 0, ""},
		{"all is done", Replay{exhausted: true, Replayed: 3, Succeeded: 3, StopAtFailurePercent: 20}, standing{}, 0, ReplayCompleted},
	} {
		c.s.now = now
		if n, state := c.r.next(c.s); n != c.n || state != c.state {
			t.Errorf("%s: %d %q, want %d %q", c.name, n, state, c.n, c.state)
		}
	}
}
