package tasks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// bench is a database with any number of nodes on it.
type bench struct {
	testing.TB
	db     *postgres.DB
	source *ids.Source
	org    ids.ID
	slots  map[string]*limits.Limits // by node
}

func setup(t testing.TB) *bench {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	return &bench{TB: t, db: db, source: source, org: source.New(), slots: map[string]*limits.Limits{}}
}

// node makes a node that looks often, so that tests need not wait; its leases are long unless the test says so.
func (b *bench) node(name string, cfg Config) *Tasks {
	cfg.Node = name
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	if cfg.PollMax == 0 {
		cfg.PollMin, cfg.PollMax = time.Millisecond, 5*time.Millisecond
	}
	registry := prometheus.NewRegistry()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	slots := limits.New(b.db, limits.Config{Node: name}, b.source, registry, log)
	b.slots[name] = slots
	return New(Deps{
		DB: b.db, Limits: slots, Destinations: b.destinations(registry, log), Events: events.New(b.db, b.source), IDs: b.source,
		Registry: registry, Lanes: lane.NewMetrics(registry), Logger: log,
	}, cfg)
}

func (b *bench) destinations(registry prometheus.Registerer, log *slog.Logger) *destinations.Destinations {
	return destinations.New(destinations.Config{
		DB: b.db, IDs: b.source, Clock: clock.System, Events: events.New(b.db, b.source), Registry: registry, Log: log,
	})
}

// nobody needs a queue that is to be deleted.
func nobody(context.Context, postgres.Tx) error { return nil }

// run starts a node and returns what stops it and waits for its end; the test's end does so too.
func (b *bench) run(node *Tasks) (stop func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { _ = node.limits.Run(ctx) }()
	go func() { _ = node.destinations.Run(ctx) }()
	go func() { ended <- node.Run(ctx) }()
	b.until("the node runs", func() bool { return node.leaseForNew() != nil })
	b.acquaint(node)
	stopped, result := false, error(nil)
	stop = func() error {
		cancel()
		if !stopped {
			stopped, result = true, <-ended
		}
		return result
	}
	b.Cleanup(func() { _ = stop() })
	return stop
}

// acquaint lets a node know its queue, so that it takes tasks as it queues them.
func (b *bench) acquaint(node *Tasks) {
	b.Helper()
	usual := map[ids.ID]*queueing{{}: {line: line{org: b.org, queue: DefaultQueue}}}
	if err := node.queues.refresh(b.Context(), monotonic(), usual); err != nil {
		b.Fatal(err)
	}
}

// queue commits tasks and has the node work on them.
func (b *bench) queue(node *Tasks, specs ...Spec) []Task {
	b.Helper()
	list := b.queueOnly(node, specs...)
	node.Dispatch(list)
	return list
}

// queueOnly is what a node does that dies between the commit and its work.
func (b *bench) queueOnly(node *Tasks, specs ...Spec) []Task {
	b.Helper()
	var list []Task
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		var batch pgx.Batch
		list = node.EnqueueIn(&batch, specs)
		return tx.SendBatch(ctx, &batch).Close()
	})
	return list
}

func (b *bench) inTx(body func(ctx context.Context, tx postgres.Tx) error) {
	b.Helper()
	if err := b.db.InTx(b.Context(), body); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.db.Pool().Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) spec(after time.Duration) Spec {
	return Spec{OrgID: b.org, Kind: "test", SubjectType: "payment", SubjectID: ids.Format("pay", b.source.New()), After: after}
}

// specs are n tasks wanted at once.
func (b *bench) specs(n int) []Spec {
	list := make([]Spec, n)
	for i := range list {
		list[i] = b.spec(0)
	}
	return list
}

// until waits for something that the database or another goroutine brings about.
func (b *bench) until(what string, holds func() bool) {
	b.Helper()
	deadline := time.After(30 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-deadline:
			b.Fatalf("in vain: %s", what)
		case <-ticker.C:
		}
	}
}

// receive takes from a channel, or fails.
func receive[T any](b *bench, from <-chan T, what string) T {
	b.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(30 * time.Second):
		b.Fatalf("in vain: %s", what)
		panic("unreachable")
	}
}

// live is a task's row, if it is not finished.
type live struct {
	DueIn       time.Duration
	Attempt     int
	Excused     int
	Interrupted bool
	Nudged      bool
	Lease       *ids.ID
	By          *string
}

func (b *bench) live(task Task) (live, bool) {
	b.Helper()
	var l live
	var seconds float64
	err := b.db.Pool().QueryRow(b.Context(), `
		select extract(epoch from due_at - statement_timestamp())::float8, attempt, excused, interrupted, nudged, lease_token, leased_by
		from task_live where org_id = $1 and task_id = $2`, task.OrgID, task.ID).
		Scan(&seconds, &l.Attempt, &l.Excused, &l.Interrupted, &l.Nudged, &l.Lease, &l.By)
	if errors.Is(err, pgx.ErrNoRows) {
		return live{}, false
	}
	if err != nil {
		b.Fatal(err)
	}
	l.DueIn = time.Duration(seconds * float64(time.Second))
	return l, true
}

func (b *bench) untilFinished(tasks ...Task) {
	b.Helper()
	for _, task := range tasks {
		b.until("the task is finished", func() bool { _, is := b.live(task); return !is })
	}
}

// past is one row of a task's history.
type past struct {
	Number  int
	Node    string
	Outcome string
	Code    string
	Last    bool
}

func (b *bench) history(task Task) []past {
	b.Helper()
	rows, err := b.db.Pool().Query(b.Context(), `
		select number, node, outcome, coalesce(error_code, ''), next_due_at is null
		from task_attempt where org_id = $1 and task_id = $2 and started_at <= finished_at order by number`, task.OrgID, task.ID)
	if err != nil {
		b.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[past])
	if err != nil {
		b.Fatal(err)
	}
	return list
}

func (b *bench) count(sql string, args ...any) int {
	b.Helper()
	var n int
	if err := b.db.Pool().QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// counted reads a counter.
func counted(b *bench, c prometheus.Counter) float64 {
	b.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		b.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
