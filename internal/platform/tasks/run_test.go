package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func TestANodeWorksAtOnceOnWhatItQueues(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{PollMin: time.Hour, PollMax: time.Hour})
	got := make(chan Task, 1)
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { got <- task; return Succeeded() })
	b.run(node)
	spec := b.spec(0)
	spec.Args = []byte(`{"x":1}`)
	queued := b.queue(node, spec)[0]
	task := receive(b, got, "the handler is called")
	if task.ID != queued.ID || task.Attempt != 1 || task.Interrupted || task.Lease.IsZero() || string(task.Args) != `{"x":1}` ||
		task.SubjectID != spec.SubjectID || task.Queue != "default" {
		t.Fatalf("%+v", task)
	}
	b.untilFinished(queued)
	if h := b.history(queued); !slices.Equal(h, []past{{1, "a", "succeeded", "", true}}) {
		t.Fatal(h)
	}
	b.until("it is counted", func() bool {
		return counted(b, node.metrics.attempts.WithLabelValues("test", "succeeded")) == 1
	})
}

func TestANodeThatDoesNotRunLeavesItsTasksToOthers(t *testing.T) {
	b := setup(t)
	queued := b.queue(b.node("api", Config{}), b.spec(0))[0]
	if !queued.Lease.IsZero() {
		t.Fatal("a node that does not work took a lease")
	}
	worker := b.node("worker", Config{})
	got := make(chan Task, 1)
	worker.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { got <- task; return Succeeded() })
	b.run(worker)
	if task := receive(b, got, "the handler is called"); task.ID != queued.ID || task.Attempt != 1 || task.Interrupted || task.Kind != "test" || string(task.Args) != "{}" {
		t.Fatalf("%+v", task)
	}
	b.untilFinished(queued)
}

func TestTwoNodesNeverWorkOnATaskAtTheSameTime(t *testing.T) {
	b := setup(t)
	const tasks, attempts = 300, 3
	var mu sync.Mutex
	at, made, by := map[ids.ID]int{}, map[ids.ID]int{}, map[string]int{}
	var clashes atomic.Int32
	both := make(chan struct{})
	handle := func(name string) Handler {
		return func(_ context.Context, task Task) Verdict {
			mu.Lock()
			at[task.ID]++
			if at[task.ID] > 1 || task.Interrupted {
				clashes.Add(1)
			}
			made[task.ID]++
			by[name]++
			if len(by) == 2 && by[name] == 1 {
				close(both)
			}
			mu.Unlock()
			<-both // so that each node has its share
			mu.Lock()
			defer mu.Unlock()
			at[task.ID]--
			if task.Attempt < attempts {
				return Retry("again", errors.New("not yet"))
			}
			return Succeeded()
		}
	}
	policy := Policy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
	queued := b.queueOnly(b.node("api", Config{}), b.specs(tasks)...)
	for _, name := range []string{"a", "b"} {
		node := b.node(name, Config{Workers: 16})
		node.Handle("test", policy, handle(name))
		b.run(node)
	}
	b.until("all tasks are finished", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	if clashes.Load() != 0 {
		t.Fatalf("%d times, two handlers had the same task", clashes.Load())
	}
	mu.Lock()
	defer mu.Unlock()
	for _, task := range queued {
		if made[task.ID] != attempts {
			t.Fatalf("%d attempts, want %d", made[task.ID], attempts)
		}
	}
	if n := b.count(`select count(*) from task_attempt`); n != tasks*attempts {
		t.Fatalf("%d rows of history, want %d", n, tasks*attempts)
	}
}

func TestFiveThousandTasksDrain(t *testing.T) {
	b := setup(t)
	const tasks = 5000
	waiting := b.queueOnly(b.node("api", Config{}), b.specs(tasks/2)...)
	var mu sync.Mutex
	made := map[ids.ID]int{}
	node := b.node("a", Config{Workers: 64})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		mu.Lock()
		defer mu.Unlock()
		made[task.ID]++
		return Succeeded()
	})
	b.run(node)
	own := b.queue(node, b.specs(tasks/2)...) // more than the node may hold: the rest goes back and is claimed
	b.until("all tasks are finished", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for _, task := range slices.Concat(waiting, own) {
		if made[task.ID] != 1 {
			t.Fatalf("a task was worked on %d times", made[task.ID])
		}
	}
	if n := b.count(`select count(*) from task_attempt where outcome = 'succeeded' and number = 1`); n != tasks {
		t.Fatalf("%d rows of history, want %d", n, tasks)
	}
}

func TestSnoozesDoNotCountButAreNumbered(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MaxAttempts: 2, MinBackoff: time.Millisecond}, func(_ context.Context, task Task) Verdict {
		if task.Attempt%2 == 1 {
			return Snooze(time.Millisecond, "waits")
		}
		return Retry("broken", errors.New("no luck"))
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	b.untilFinished(task)
	want := []past{{1, "a", "snoozed", "waits", false}, {2, "a", "failed", "broken", false}, {3, "a", "snoozed", "waits", false}, {4, "a", "failed", "broken", true}}
	if h := b.history(task); !slices.Equal(h, want) {
		t.Fatal(h)
	}
	b.until("the end is counted", func() bool { return counted(b, node.metrics.dead.WithLabelValues("test", DeadMaxAttempts)) == 1 })
}

func TestAPanicIsAFailedAttemptAndUnclear(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	seen := make(chan bool, 3)
	node.Handle("test", Policy{MinBackoff: time.Millisecond}, func(_ context.Context, task Task) Verdict {
		seen <- task.Interrupted
		switch task.Attempt {
		case 1:
			panic("oh")
		case 2:
			return Retry("reported", nil)
		}
		return Succeeded()
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	b.untilFinished(task)
	if got := []bool{<-seen, <-seen, <-seen}; !slices.Equal(got, []bool{false, true, false}) {
		t.Fatalf("interrupted: %v", got)
	}
	if h := b.history(task); !slices.Equal(h, []past{{1, "a", "failed", "panic", false}, {2, "a", "failed", "reported", false}, {3, "a", "succeeded", "", true}}) {
		t.Fatal(h)
	}
}

func TestAnAttemptEndsWhenItsTimeIsUp(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MaxAttempts: 1, Timeout: time.Millisecond}, func(ctx context.Context, _ Task) Verdict {
		<-ctx.Done()
		return Retry("slow", context.Cause(ctx))
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	b.untilFinished(task)
	if h := b.history(task); !slices.Equal(h, []past{{1, "a", "timed_out", "slow", true}}) {
		t.Fatal(h)
	}
}

func TestAHandlerFinishesWithItsEffect(t *testing.T) {
	b := setup(t)
	b.exec(`create table effect (id uuid primary key)`)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
		err := b.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			held, err := node.Finish(ctx, tx, []Completion{{Task: task, Outcome: OutcomeSucceeded, Done: true, Detail: []byte(`{"a":1}`)}})
			if err != nil || !held[0] {
				return fmt.Errorf("held %v: %w", held, err)
			}
			_, err = tx.Exec(ctx, `insert into effect values ($1)`, task.ID)
			return err
		})
		if err != nil {
			return Retry("finish", err)
		}
		return Finished()
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	b.untilFinished(task)
	if n := b.count(`select count(*) from effect where id = $1`, task.ID); n != 1 {
		t.Fatal("the effect is missing")
	}
	b.until("it is counted", func() bool {
		return counted(b, node.metrics.attempts.WithLabelValues("test", "succeeded")) == 1
	})
}

func TestAKindThatIsNotKnownHereIsLeftToOthers(t *testing.T) {
	b := setup(t)
	old := b.node("old", Config{})
	b.run(old)
	task := b.queue(old, b.spec(0))[0]
	b.until("it is handed back", func() bool { l, _ := b.live(task); return l.Lease == nil && l.DueIn > 5*time.Second })
	if l, _ := b.live(task); l.Attempt != 0 || len(b.history(task)) != 0 {
		t.Fatalf("%+v", l)
	}
}

func TestANudgeMakesAWaitingTaskDue(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{PollMin: time.Millisecond, PollMax: 10 * time.Millisecond})
	began, goOn := make(chan int, 3), make(chan struct{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		began <- task.Attempt
		<-goOn
		if task.Attempt < 3 {
			return Snooze(time.Hour, "waits")
		}
		return Succeeded()
	})
	b.run(node)
	task := b.queue(node, b.spec(time.Hour))[0]
	nudge := func() {
		b.inTx(func(ctx context.Context, tx postgres.Tx) error {
			var batch pgx.Batch
			node.Nudge(&batch, nil, nil)
			node.Nudge(&batch, []ids.ID{b.org, b.org}, []ids.ID{task.ID, b.source.New()})
			return tx.SendBatch(ctx, &batch).Close()
		})
	}
	nudge()
	receive(b, began, "the nudged task begins")
	nudge() // while it runs: the snooze is cut short
	goOn <- struct{}{}
	receive(b, began, "it begins again")
	goOn <- struct{}{}
	b.until("it waits", func() bool { l, is := b.live(task); return is && l.Lease == nil })
	if l, _ := b.live(task); l.DueIn < 50*time.Minute || l.Nudged {
		t.Fatalf("one nudge, two attempts: %+v", l)
	}
	nudge()
	receive(b, began, "it begins once more")
	goOn <- struct{}{}
	b.untilFinished(task)
	nudge() // comes too late, and nobody minds
}

func TestSweepsRunAtOnceAndAgainWhateverHappens(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	runs := make(chan int, 10)
	n := 0
	node.Every("test", time.Millisecond, func(context.Context) error {
		n++
		if n <= 3 {
			runs <- n
		}
		switch n {
		case 1:
			return errors.New("failed")
		case 2:
			panic("oh")
		}
		return nil
	})
	stop := b.run(node)
	for range 3 {
		receive(b, runs, "the sweep runs")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counted(b, node.metrics.sweeps.WithLabelValues("test", "failed")); got != 2 {
		t.Fatalf("%v failures", got)
	}
}

func TestATaskThatComesOutOfALongTransactionIsFound(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	got := make(chan Task, 2)
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { got <- task; return Succeeded() })
	b.run(node)
	first := b.queue(node, b.spec(time.Millisecond))
	receive(b, got, "the poller looks")
	b.untilFinished(first...)
	var task Task
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		var batch pgx.Batch
		task = node.EnqueueIn(&batch, []Spec{b.spec(time.Hour)})[0]
		batch.Queue(`update task_live set due_at = now() - interval '1 hour'`)
		return tx.SendBatch(ctx, &batch).Close()
	})
	if found := receive(b, got, "it is found"); found.ID != task.ID {
		t.Fatalf("%+v", found)
	}
	b.untilFinished(task)
}

func TestTheDepthOfLooks(t *testing.T) {
	t.Parallel()
	at := time.Now()
	var l looks
	long := time.Millisecond
	step := func(after time.Duration, full bool) time.Duration {
		at = at.Add(after)
		back := l.back(at, time.Second)
		l.done(at, back, long, time.Second, full)
		return back
	}
	for i, s := range []struct {
		after time.Duration
		full  bool
		want  time.Duration
	}{
		// Until the backlog is gone.
		{0, true, allTheWay},
		{time.Second, true, allTheWay},
		{time.Second, false, allTheWay},
		{time.Second, true, 5 * time.Second},
		{time.Second, true, 5 * time.Second},
		// The database or the workers were busy.
		{3 * time.Second, false, allTheWay},
		{2 * time.Second, false, 5 * time.Second},
		{2 * time.Second, false, 5 * time.Second},
		{2 * time.Second, false, 5 * time.Second},
		{2 * time.Second, false, 5 * time.Second},
		// It is ten seconds again since the last that went all the way.
		{2 * time.Second, false, allTheWay},
	} {
		if got := step(s.after, s.full); got != s.want {
			t.Fatalf("step %d looks back %v, want %v", i, got, s.want)
		}
	}
	long = 2 * time.Second
	for i := range 25 {
		want := 5 * time.Second
		if i%10 == 4 { // the first was dear, so the next is put off, twice as long as usually
			want = allTheWay
		}
		if got := step(2*time.Second, false); got != want {
			t.Fatalf("dear step %d looks back %v, want %v", i, got, want)
		}
	}
}
