package tasks

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// dead is a node that took leases and was killed: it neither works nor prolongs.
func (b *bench) dead() *Tasks {
	node := b.node("dead", Config{Workers: 64})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { b.Error("a dead node works"); return Succeeded() })
	node.phase = phaseRunning
	b.acquaint(node)
	return node
}

// expire makes every lease run out.
func (b *bench) expire() {
	b.Helper()
	b.exec(`update task_live set due_at = now() where lease_token is not null`)
}

func (b *bench) finish(node *Tasks, list ...Completion) []bool {
	b.Helper()
	var held []bool
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		var err error
		held, err = node.Finish(ctx, tx, list)
		return err
	})
	return held
}

func TestAKilledNodesTasksAreTakenOver(t *testing.T) {
	b := setup(t)
	dead := b.dead()
	lost := b.queueOnly(dead, b.specs(20)...)
	node := b.node("heir", Config{})
	var mu sync.Mutex
	var got []Task
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, task)
		return Succeeded()
	})
	b.run(node)
	b.expire()
	b.untilFinished(lost...)
	mu.Lock()
	defer mu.Unlock()
	if len(got) != len(lost) {
		t.Fatalf("%d attempts for %d tasks", len(got), len(lost))
	}
	for _, task := range got {
		if !task.Interrupted || task.Attempt != 2 {
			t.Fatalf("%+v", task)
		}
	}
	want := []past{{1, "dead", "lease_lost", "", false}, {2, "heir", "succeeded", "", true}}
	for _, task := range lost {
		if h := b.history(task); !slices.Equal(h, want) {
			t.Fatal(h)
		}
	}
	if n := counted(b, node.metrics.leasesLost); n != float64(len(lost)) {
		t.Fatalf("%v counted", n)
	}
	// The dead node comes back to life and wants to finish what it had.
	for i, held := range b.finish(dead, Completion{Task: lost[0], Outcome: OutcomeSucceeded, Done: true}, Completion{Task: lost[1], Outcome: OutcomeFailed}) {
		if held || !slices.Equal(b.history(lost[i]), want) {
			t.Fatal("a node finished a task whose lease it had lost")
		}
	}
}

func TestAStaleNodeCanNeitherFinishNorProlongWhatAnotherHolds(t *testing.T) {
	b := setup(t)
	stale := b.dead()
	task := b.queueOnly(stale, b.spec(0))[0]
	b.expire()
	other := b.node("other", Config{})
	began, goOn := make(chan Task), make(chan struct{})
	other.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		began <- task
		<-goOn
		return Succeeded()
	})
	b.run(other)
	taken := receive(b, began, "the task is taken over")
	before, _ := b.live(task)
	if held := b.finish(stale, Completion{Task: task, Outcome: OutcomeSucceeded, Done: true}); held[0] {
		t.Fatal("finished")
	}
	stale.mu.Lock()
	stale.held[keyOf(task)] = &held{task: task, confirmed: time.Now().Add(-time.Hour)}
	stale.mu.Unlock()
	if err := stale.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	stale.mu.Lock()
	lost := stale.held[keyOf(task)].lost
	stale.giveBack(task, 0)
	stale.mu.Unlock()
	stale.giveReturned(t.Context())
	after, _ := b.live(task)
	if !lost || after.Lease == nil || *after.Lease != taken.Lease || after.DueIn > before.DueIn {
		t.Fatalf("lost %v; %+v became %+v", lost, before, after)
	}
	close(goOn)
	b.untilFinished(task)
}

func TestALeaseIsKeptForAsLongAsTheHandlerTakes(t *testing.T) {
	b := setup(t)
	const lease = 600 * time.Millisecond
	node := b.node("slow", Config{Lease: lease, Workers: 1})
	began, goOn := make(chan struct{}), make(chan struct{})
	node.Handle("test", Policy{}, func(ctx context.Context, _ Task) Verdict {
		began <- struct{}{}
		select {
		case <-goOn:
			return Succeeded()
		case <-ctx.Done():
			return Retry("lost", context.Cause(ctx))
		}
	})
	b.run(node)
	list := b.queue(node, b.specs(2)...) // one runs, one waits for the worker: both are kept
	receive(b, began, "the first begins")
	thief := b.node("thief", Config{})
	var stolen atomic.Int32
	thief.Handle("test", Policy{}, func(context.Context, Task) Verdict { stolen.Add(1); return Succeeded() })
	b.run(thief)
	b.until("three leases' time is over", func() bool {
		return b.count(`select count(*) from task_live where due_at > leased_at + $1::bigint * interval '1 microsecond'`, (3*lease).Microseconds()) == 2
	})
	if n := b.count(`select count(*) from task_live where leased_by = 'slow' and attempt = 1`); n != 2 {
		t.Fatalf("%d leases left", n)
	}
	close(goOn)
	receive(b, began, "the second begins")
	b.untilFinished(list...)
	if stolen.Load() != 0 {
		t.Fatal("a kept lease was taken")
	}
}

func TestAHandlerIsToldThatItsLeaseIsLost(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Lease: 300 * time.Millisecond, Workers: 1})
	began, ended := make(chan Task, 2), make(chan error, 2)
	node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
		began <- task
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return Succeeded() // which nobody may believe
	})
	stop := b.run(node)
	list := b.queue(node, b.specs(2)...)
	receive(b, began, "the first begins")
	b.exec(`update task_live set lease_token = gen_random_uuid(), leased_by = 'thief', due_at = now() + interval '1 hour'`)
	if cause := receive(b, ended, "the handler is told"); !errors.Is(cause, errLeaseLost) {
		t.Fatal(cause)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(began) != 0 {
		t.Fatal("the one that waited was begun without a lease")
	}
	for _, task := range list {
		if l, is := b.live(task); !is || *l.By != "thief" || len(b.history(task)) != 0 {
			t.Fatalf("%+v", l)
		}
	}
}

func TestAHandlerEndsBeforeItsLeaseWhenTheDatabaseIsSilent(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Lease: time.Second})
	began, ended := make(chan Task, 1), make(chan time.Time, 1)
	node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
		began <- task
		<-ctx.Done()
		ended <- time.Now()
		return Retry("lost", context.Cause(ctx))
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	receive(b, began, "it begins")
	tx, err := b.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `lock table task_live in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	var seconds float64
	asked := time.Now()
	if err := tx.QueryRow(t.Context(), `select extract(epoch from due_at - clock_timestamp())::float8 from task_live where task_id = $1`, task.ID).Scan(&seconds); err != nil {
		t.Fatal(err)
	}
	leaseEnds := asked.Add(time.Duration(seconds * float64(time.Second)))
	if at := receive(b, ended, "the handler is told"); !at.Before(leaseEnds) {
		t.Fatalf("the handler ended %v after its lease", at.Sub(leaseEnds))
	}
}

func TestInterruptedStaysSetUntilAnAttemptReports(t *testing.T) {
	b := setup(t)
	dead := b.dead()
	task := b.queueOnly(dead, b.spec(0))[0]
	b.expire()
	// This node takes the task over, and stops before it begins: nobody has found out what the dead one did.
	middle := b.node("middle", Config{})
	middle.phase = phaseDraining
	if r, err := middle.round(t.Context()); err != nil || !r.found {
		t.Fatal(r, err)
	}
	middle.giveReturned(t.Context())
	if l, _ := b.live(task); !l.Interrupted || l.Lease != nil || l.Attempt != 1 {
		t.Fatalf("%+v", l)
	}
}

func TestATaskThatKillsItsNodesIsGivenUp(t *testing.T) {
	b := setup(t)
	dead := b.dead()
	task := b.queueOnly(dead, b.spec(0))[0]
	b.exec(`update task_live set attempt = 3, due_at = now()`)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MaxAttempts: 3}, func(context.Context, Task) Verdict { t.Error("begun a fourth time"); return Succeeded() })
	b.run(node)
	b.untilFinished(task)
	if h := b.history(task); !slices.Equal(h, []past{{3, "dead", "lease_lost", "", false}, {4, "a", "failed", "attempts_used_up", true}}) {
		t.Fatal(h)
	}
}

func TestHeartbeatsAndFinishesDoNotDisturbEachOther(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Workers: 32, Heartbeat: 2 * time.Millisecond})
	var lost atomic.Int32
	node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
		wasHeld, err := node.finish.Do(context.WithoutCancel(ctx), Completion{Task: task, Outcome: OutcomeSnoozed, Next: time.Hour})
		if err != nil || !wasHeld {
			lost.Add(1)
		}
		return Finished()
	})
	b.run(node)
	for range 20 {
		b.queue(node, b.specs(200)...)
	}
	b.until("all have snoozed", func() bool { return b.count(`select count(*) from task_attempt`) >= 4000 })
	if lost.Load() != 0 {
		t.Fatalf("%d leases were lost to heartbeats", lost.Load())
	}
	if n := b.count(`select count(*) from task_live where lease_token is null and attempt = 1 and due_at > now() + interval '50 minutes'`); n != 4000 {
		t.Fatalf("%d of 4000 wait", n)
	}
}
