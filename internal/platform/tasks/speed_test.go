package tasks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// BenchmarkQueueAndFinish queues a slice of tasks in one transaction and finishes it in another.
func BenchmarkQueueAndFinish(b *testing.B) {
	for _, size := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprintf("slice=%d", size), func(b *testing.B) {
			k := setup(b)
			node := k.node("a", Config{Workers: 512})
			node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
			node.phase = phaseRunning
			k.acquaint(node)
			rounds := 0
			for b.Loop() {
				rounds++
				k.acquaint(node)
				list := k.queueOnly(node, k.specs(size)...)
				done := make([]Completion, size)
				for i, task := range list {
					done[i] = Completion{Task: task, Outcome: OutcomeSucceeded, Done: true}
				}
				for _, held := range k.finish(node, done...) {
					if !held {
						b.Fatal("a lease was lost")
					}
				}
			}
			b.ReportMetric(float64(rounds*size)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// BenchmarkDispatch is the whole life of a task on the node that queues it, by slices of 100 as a lane would commit them,
// with as many tasks under way as there are workers.
func BenchmarkDispatch(b *testing.B) {
	const size, workers = 100, 256
	k := setup(b)
	node := k.node("a", Config{Workers: workers, PollMin: time.Second, PollMax: time.Second})
	under := make(chan struct{}, workers)
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { <-under; return Succeeded() })
	k.run(node)
	rounds := 0
	for b.Loop() {
		rounds++
		for range size {
			under <- struct{}{}
		}
		var list []Task
		err := k.db.InTx(b.Context(), func(ctx context.Context, tx postgres.Tx) error {
			var batch pgx.Batch
			list = node.EnqueueIn(&batch, k.specs(size))
			return tx.SendBatch(ctx, &batch).Close()
		})
		if err != nil {
			b.Fatal(err)
		}
		node.Dispatch(list)
	}
	k.until("all are finished", func() bool { return k.count(`select count(*) from task_live`) == 0 })
	b.ReportMetric(float64(rounds*size)/b.Elapsed().Seconds(), "tasks/s")
}
