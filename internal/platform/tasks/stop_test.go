package tasks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestShutdownHandsBackWhatIsNotBegunAndWaitsForTheRest(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Workers: 1, Drain: time.Hour})
	began, goOn := make(chan Task, 5), make(chan struct{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		began <- task
		<-goOn
		return Succeeded()
	})
	stop := b.run(node)
	list := b.queue(node, b.specs(5)...)
	receive(b, began, "the first begins")
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	b.until("the others are handed back", func() bool {
		return b.count(`select count(*) from task_live where lease_token is null and attempt = 0 and excused = 0 and not interrupted and due_at <= now()`) == 4
	})
	late := b.queue(node, b.spec(0))[0]
	if !late.Lease.IsZero() {
		t.Fatal("a node that stops took a task")
	}
	close(goOn)
	if err := receive(b, ended, "the node stops"); err != nil {
		t.Fatal(err)
	}
	if _, is := b.live(list[0]); is {
		t.Fatal("the running task was not waited for")
	}
	if n := b.count(`select count(*) from task_attempt`); n != 1 || len(began) != 0 {
		t.Fatalf("%d attempts", n)
	}
}

func TestShutdownInterruptsWhatTakesTooLong(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Drain: time.Millisecond})
	began := make(chan Task, 1)
	node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
		began <- task
		<-ctx.Done()
		return Retry("ended", context.Cause(ctx))
	})
	stop := b.run(node)
	task := b.queue(node, b.spec(0))[0]
	receive(b, began, "it begins")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	l, _ := b.live(task)
	if l.Lease != nil || l.DueIn > 0 || l.Attempt != 1 || l.Excused != 1 || !l.Interrupted {
		t.Fatalf("%+v", l)
	}
	if h := b.history(task); !slices.Equal(h, []past{{1, "a", "interrupted", "ended", false}}) {
		t.Fatal(h)
	}
	next := b.node("b", Config{})
	got := make(chan Task, 1)
	next.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { got <- task; return Succeeded() })
	b.run(next)
	if again := receive(b, got, "another node goes on"); !again.Interrupted || again.Attempt != 2 || again.counted() != 1 {
		t.Fatalf("%+v", again)
	}
	b.untilFinished(task)
}

// busy runs the node with one task begun, which succeeds when goOn is closed.
func (b *bench) busy(node *Tasks) (task Task, goOn chan struct{}, stop func() error) {
	b.Helper()
	began, goOn := make(chan Task, 1), make(chan struct{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		began <- task
		<-goOn
		return Succeeded()
	})
	stop = b.run(node)
	task = b.queue(node, b.spec(0))[0]
	receive(b, began, "it begins")
	return task, goOn, stop
}

func TestAHandlerThatDoesNotEndKeepsItsLease(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Drain: time.Millisecond})
	task, goOn, stop := b.busy(node)
	if err := stop(); err == nil {
		t.Fatal("nobody was told")
	}
	if l, _ := b.live(task); l.Lease == nil || l.DueIn < 10*time.Second {
		t.Fatalf("%+v", l)
	}
	close(goOn)
}

// lock keeps everybody else from changing a task until the function it returns is called.
func (b *bench) lock(task Task) (release func()) {
	b.Helper()
	tx, err := b.db.Pool().Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.Context())) })
	if _, err := tx.Exec(b.Context(), `select from task_live where org_id = $1 and task_id = $2 for update`, task.OrgID, task.ID); err != nil {
		b.Fatal(err)
	}
	return func() {
		b.Helper()
		if err := tx.Rollback(b.Context()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			b.Fatal(err)
		}
	}
}

// untilOneWaits waits until a statement waits for a row.
func (b *bench) untilOneWaits() {
	b.Helper()
	b.until("a statement waits for the row", func() bool {
		return b.count(`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) == 1
	})
}

func (t *Tasks) isStopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.phase == phaseStopped
}

// The database may be slow just when a node stops: what has ended is recorded all the same, and nobody is told that it was not.
func TestAStopThatIsLateRecordsWhatHasEnded(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Drain: time.Millisecond})
	task, goOn, stop := b.busy(node)
	release := b.lock(task)
	close(goOn)
	b.untilOneWaits()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	b.until("the time for a stop is up", node.isStopped)
	release()
	if err := receive(b, ended, "the node stops"); err != nil {
		t.Fatal(err)
	}
	if h := b.history(task); !slices.Equal(h, []past{{1, "a", "succeeded", "", true}}) {
		t.Fatal(h)
	}
}

func TestAStopTellsOfAnEndThatItCouldNotRecord(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Drain: time.Millisecond})
	task, goOn, stop := b.busy(node)
	b.exec(`alter table task_attempt add constraint task_attempt_never check (false) not valid`)
	close(goOn)
	if err := stop(); err == nil || !strings.Contains(err.Error(), "recorded") {
		t.Fatalf("%v", err)
	}
	if l, _ := b.live(task); l.Lease == nil {
		t.Fatalf("%+v", l)
	}
}

func TestLeasesAreHandedBackThoughTheNodeStopsMeanwhile(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
	stop := b.run(node)
	task := b.queueOnly(node, b.spec(0))[0]
	if task.Lease.IsZero() {
		t.Fatal("it was not leased")
	}
	stopped, end := context.WithCancel(t.Context())
	end()
	node.handBack(stopped, []giveBack{{task: task}})
	if l, _ := b.live(task); l.Lease != nil || l.Attempt != 0 {
		t.Fatalf("%+v", l)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
