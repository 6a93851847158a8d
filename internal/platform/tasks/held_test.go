package tasks

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// BenchmarkHeldTransaction has b.N tasks flow, 500 a second, while somebody holds a snapshot that keeps every dead row in place. It
// tells how fast a backlog drains before and after, and how long tasks wait at the beginning and at the end of the flow. Ten minutes are
// -bench HeldTransaction -benchtime 300000x.
func BenchmarkHeldTransaction(b *testing.B) {
	k := setup(b)
	node, api := k.node("a", Config{Workers: 64, PollMin: 5 * time.Millisecond, PollMax: time.Second}), k.node("api", Config{})
	var mu sync.Mutex
	queuedAt, waits := map[ids.ID]time.Time{}, []time.Duration{}
	begun := make(chan struct{}, 4096)
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		mu.Lock()
		defer mu.Unlock()
		if at, is := queuedAt[task.ID]; is {
			waits = append(waits, time.Since(at))
			delete(queuedAt, task.ID)
		} else {
			begun <- struct{}{}
		}
		return Succeeded()
	})
	k.run(node)
	fresh := k.drains(api, begun)

	holder, err := k.db.Pool().BeginTx(b.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.WithoutCancel(b.Context())) }()
	hold := func() { // and keep it from being ended for its idleness
		if _, err := holder.Exec(b.Context(), `select count(*) from task_queue`); err != nil {
			b.Fatal(err)
		}
	}
	hold()
	const every, each = 20 * time.Millisecond, 10
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	b.ResetTimer()
	for made := 0; made < b.N; made += each {
		<-ticker.C
		specs := k.specs(each)
		mu.Lock()
		for i := range specs {
			specs[i].ID = k.source.New()
			queuedAt[specs[i].ID] = time.Now()
		}
		mu.Unlock()
		k.queueOnly(api, specs...)
		if made%1000 == 0 {
			hold()
		}
	}
	b.StopTimer()
	k.until("all are done", func() bool { return k.count(`select count(*) from task_live`) == 0 })
	hold()
	held := k.drains(api, begun)
	tenth := max(1, len(waits)/10)
	for name, part := range map[string][]time.Duration{"first": waits[:tenth], "last": waits[len(waits)-tenth:]} {
		slices.Sort(part)
		b.ReportMetric(part[len(part)/2].Seconds()*1000, name+"-p50-ms")
		b.ReportMetric(part[len(part)*99/100].Seconds()*1000, name+"-p99-ms")
	}
	b.ReportMetric(fresh, "fresh-tasks/s")
	b.ReportMetric(held, "held-tasks/s")
}

// drains tells how fast a backlog is worked off: the best of some.
func (b *bench) drains(api *Tasks, begun <-chan struct{}) float64 {
	b.Helper()
	const backlog, times = 2000, 5
	best := 0.0
	for range times {
		b.queueOnly(api, b.specs(backlog)...)
		began := time.Now()
		for range backlog {
			receive(b, begun, "a task is begun")
		}
		best = max(best, backlog/time.Since(began).Seconds())
	}
	return best
}
