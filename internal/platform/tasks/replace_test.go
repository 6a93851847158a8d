package tasks

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// keyedSpec is a task with a name, and what to do where another has it.
func (b *bench) keyedSpec(name, onConflict string, after time.Duration) Spec {
	s := b.spec(after)
	s.Name, s.OnConflict = name, onConflict
	return s
}

func (b *bench) create(node *Tasks, specs ...Spec) []Created {
	b.Helper()
	return do(b, func(ctx context.Context, tx postgres.Tx) ([]Created, error) { return node.Create(ctx, tx, specs) })
}

func TestATaskThatWaitsIsReplaced(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
	first := b.create(node, b.keyedSpec("sync-7", "", time.Hour))[0]
	second := b.create(node, b.keyedSpec("sync-7", OnConflictReplace, time.Hour))[0]
	if second.Err != nil || second.Deduplicated || second.ID == first.ID {
		t.Fatalf("%+v", second)
	}
	if h := b.history(first.Task); !slices.Equal(h, []past{{1, "a", "cancelled", "replaced", true}}) {
		t.Fatal(h)
	}
	third := b.keyedSpec("sync-7", OnConflictReplace, 0)
	third.UniqueFor = 0
	replaced := b.create(node, third)[0]
	b.run(node)
	node.DispatchCreated([]Created{replaced})
	b.untilFinished(replaced.Task)
	if h := b.history(second.Task); h[0].Outcome != OutcomeCancelled {
		t.Fatal(h)
	}
	// It has ended, and its name is kept: there is nothing to replace.
	late := b.create(node, b.keyedSpec("sync-7", OnConflictReplace, 0))[0]
	if late.Err != nil || !late.Deduplicated || late.ID != replaced.ID {
		t.Fatalf("%+v", late)
	}
	b.exec(`update task_key set expires_at = now() - interval '1 second'`)
	if free := b.create(node, b.keyedSpec("sync-7", OnConflictReplace, time.Hour))[0]; free.Err != nil || free.Deduplicated {
		t.Fatalf("%+v", free)
	}
}

func TestATaskThatHasBegunIsNotReplaced(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	began, goOn := make(chan Task), make(chan struct{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		began <- task
		<-goOn
		return Retry("not_yet", errors.New("not yet"))
	})
	b.run(node)
	first := b.create(node, b.keyedSpec("sync-7", "", 0))
	node.DispatchCreated(first)
	receive(b, began, "it is at work")
	busy := func() {
		t.Helper()
		if refused := b.create(node, b.keyedSpec("sync-7", OnConflictReplace, 0))[0]; !errors.Is(refused.Err, ErrKeyBusy) || refused.ID != first[0].ID {
			t.Fatalf("%+v", refused)
		}
	}
	busy()
	close(goOn)
	b.until("it waits for another attempt", func() bool { live, is := b.live(first[0].Task); return is && live.Lease == nil })
	b.exec(`update task_live set interrupted = true`)
	busy() // nobody knows what it has done
	b.exec(`update task_live set interrupted = false`)
	if replaced := b.create(node, b.keyedSpec("sync-7", OnConflictReplace, time.Hour))[0]; replaced.Err != nil || replaced.Deduplicated {
		t.Fatalf("%+v", replaced)
	}
	if n := b.count(`select count(*) from task_live`); n != 1 {
		t.Fatal(n)
	}
}

func TestWhoWantsNoSecondTaskIsRefused(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	made := b.create(node,
		b.keyedSpec("a", OnConflictError, time.Hour), b.keyedSpec("a", OnConflictError, time.Hour), // in one list
		b.keyedSpec("b", OnConflictReplace, time.Hour), b.keyedSpec("b", "", time.Hour), b.keyedSpec("b", OnConflictReplace, time.Hour),
		b.keyedSpec("c", "sometimes", time.Hour))
	again := b.create(node, b.keyedSpec("a", OnConflictError, time.Hour), b.keyedSpec("b", OnConflictReturn, time.Hour))
	for i, c := range []struct {
		made         Created
		err          error
		deduplicated bool
		same         Created
	}{
		{made[0], nil, false, made[0]},
		{made[1], ErrKeyTaken, true, made[0]},
		{made[2], nil, true, made[4]}, // the last one has replaced it before it was queued
		{made[3], nil, true, made[4]},
		{made[4], nil, false, made[4]},
		{made[5], ErrInvalid, false, made[5]},
		{again[0], ErrKeyTaken, true, made[0]},
		{again[1], nil, true, made[4]},
	} {
		if !errors.Is(c.made.Err, c.err) || (c.err == nil) != (c.made.Err == nil) || c.made.Deduplicated != c.deduplicated || c.made.ID != c.same.ID {
			t.Errorf("%d: %+v, and it should be %v, %v", i, c.made, c.err, c.deduplicated)
		}
	}
	if n := b.count(`select count(*) from task`); n != 2 {
		t.Error(n)
	}
}

// A turn that the replaced task had passes on.
func TestTheTurnOfAReplacedTaskPassesOn(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	got := make(chan Task, 2)
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { got <- task; return Succeeded() })
	first, next := b.keyedSpec("sync-7", "", time.Hour), b.spec(0)
	first.OrderingKey, next.OrderingKey = "order-1", "order-1"
	b.run(node)
	list := b.create(node, first, next)
	node.DispatchCreated(list)
	b.until("the first has its turn", func() bool { return b.shown(node, list[0].ID).State == StateScheduled })
	b.create(node, b.keyedSpec("sync-7", OnConflictReplace, time.Hour))
	if task := receive(b, got, "the next has its turn"); task.ID != list[1].ID {
		t.Fatal(task)
	}
}

// Many replace each other's task while a node works on them: one at a time has the key, and each is either done or replaced.
func TestThoseThatReplaceEachOtherLoseNothing(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
	b.run(node)
	var writers sync.WaitGroup
	for range 6 {
		writers.Go(func() {
			for range 30 {
				s := b.spec(0)
				s.UniqueKey, s.OnConflict = "record-7", OnConflictReplace
				var made []Created
				err := b.db.InTx(b.Context(), func(ctx context.Context, tx postgres.Tx) (err error) {
					made, err = node.Create(ctx, tx, []Spec{s})
					return err
				})
				if err != nil || made[0].Err != nil && !errors.Is(made[0].Err, ErrKeyBusy) || made[0].Err == nil && made[0].Deduplicated {
					b.Errorf("%v %+v", err, made)
					return
				}
				node.DispatchCreated(made)
			}
		})
	}
	writers.Wait()
	b.until("all have ended", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	tasks, ends := b.count(`select count(*) from task`), b.count(`select count(*) from task_attempt where outcome in ('succeeded', 'cancelled')`)
	if tasks != ends || tasks == 0 || b.count(`select count(*) from task_attempt where outcome not in ('succeeded', 'cancelled')`) != 0 {
		t.Fatalf("%d tasks, %d ends", tasks, ends)
	}
}

// Somebody cancels a task that is at work, and its node dies before it hears of it. Nobody begins it again.
func TestACancelledTaskWhoseNodeDiesIsNotBegunAgain(t *testing.T) {
	b := setup(t)
	dead := b.dead()
	spec := b.spec(0)
	spec.Name = "nightly"
	task := b.create(dead, spec)[0].Task
	handedBack := b.queueOnly(dead, b.spec(0))[0]
	for _, one := range []Task{task, handedBack} {
		if s := do(b, func(ctx context.Context, tx postgres.Tx) (Shown, error) {
			return dead.CancelOne(ctx, tx, b.org, one.ID)
		}); s.State != StateRunning {
			t.Fatalf("%+v", s)
		}
	}
	dead.letGo(handedBack, 0)
	dead.giveReturned(t.Context())
	heir := b.node("heir", Config{})
	heir.Handle("test", Policy{}, func(context.Context, Task) Verdict { t.Error("it is begun again"); return Succeeded() })
	b.run(heir)
	b.expire()
	b.untilFinished(task, handedBack)
	if h := b.history(task); len(h) != 2 || h[0].Outcome != OutcomeLeaseLost || h[1].Outcome != OutcomeCancelled {
		t.Errorf("%+v", h)
	}
	if h := b.history(handedBack); len(h) != 1 || h[0].Outcome != OutcomeCancelled {
		t.Errorf("%+v", h)
	}
	for _, one := range []Task{task, handedBack} {
		if s := b.shown(heir, one.ID); s.State != StateCancelled {
			t.Errorf("%+v", s)
		}
	}
	if n := b.count(`select count(*) from task_key where expires_at is not null`); n != 1 {
		t.Error("its name is not released")
	}
}
