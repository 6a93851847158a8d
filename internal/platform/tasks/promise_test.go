package tasks

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// queueIn queues a task in a transaction of the test's, and does not dispatch it.
func (b *bench) queueIn(node *Tasks, tx postgres.Tx) Task {
	b.Helper()
	batch := &pgx.Batch{}
	list := node.EnqueueIn(batch, []Spec{b.spec(0)})
	if err := tx.SendBatch(b.Context(), batch).Close(); err != nil {
		b.Fatal(err)
	}
	return list[0]
}

// A commit whose answer is lost leaves tasks that are leased and that nobody was told of.
func TestATaskThatNobodyWasToldOfIsHandedBack(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	began := make(chan Task, 2)
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict { began <- task; return Succeeded() })
	b.run(node)
	var lost Task
	b.inTx(func(_ context.Context, tx postgres.Tx) error {
		lost = b.queueIn(node, tx)
		return nil
	})
	if lost.Lease.IsZero() {
		t.Fatal("it was not leased as it was queued")
	}
	select {
	case task := <-began:
		if task.ID != lost.ID || task.Lease == lost.Lease || task.Attempt != 1 || task.Interrupted {
			t.Errorf("%+v", task)
		}
	case <-time.After(15 * time.Second): // half a lease
		t.Fatal("nobody works on it")
	}
	node.Dispatch([]Task{lost}) // too late: it was handed back
	b.untilFinished(lost)
	if n := len(b.history(lost)); n != 1 {
		t.Errorf("%d attempts", n)
	}
	select {
	case task := <-began:
		t.Errorf("begun again: %+v", task)
	default:
	}
}

// Of a transaction that takes longer than a promise is kept, its tasks are worked on once, and after it.
func TestALongTransactionsTaskIsWorkedOnOnce(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	began := make(chan Task, 2)
	var committed atomic.Bool
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		if !committed.Load() {
			b.Error("begun before its transaction has ended")
		}
		began <- task
		return Succeeded()
	})
	b.run(node)
	var task Task
	b.inTx(func(_ context.Context, tx postgres.Tx) error {
		task = b.queueIn(node, tx)
		b.until("the promise is over", func() bool {
			node.mu.Lock()
			defer node.mu.Unlock()
			p := node.promises[task.Lease]
			return p != nil && p.over
		})
		committed.Store(true)
		return nil
	})
	node.Dispatch([]Task{task})
	b.untilFinished(task)
	if n := len(b.history(task)); n != 1 || len(began) != 1 {
		t.Errorf("%d attempts, begun %d times", n, len(began))
	}
}
