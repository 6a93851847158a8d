package schedules

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// bench is a database with any number of nodes on it. What was made must hold up to verify when the test ends.
type bench struct {
	*testing.T
	db     *postgres.DB
	source *ids.Source
	org    ids.ID
	others *destinations.Destinations
	queue  *tasks.Tasks
	*Schedules
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	b := &bench{T: t, db: db, source: source, org: source.New()}
	b.Schedules = b.node(Config{})
	b.furnish("reports")
	b.furnish("stripe")
	t.Cleanup(func() {
		if !t.Failed() {
			b.verify()
		}
	})
	return b
}

// node makes a node whose own clock is wrong by an hour: only the database's counts.
func (b *bench) node(cfg Config) *Schedules {
	log, registry := slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry()
	wrong := func() time.Time { return clock.System().Add(time.Hour) }
	slots := limits.New(b.db, limits.Config{Node: "a"}, b.source, registry, log)
	told := events.New(b.db, b.source)
	b.others = destinations.New(destinations.Config{DB: b.db, IDs: b.source, Clock: wrong, Events: told, Registry: registry, Log: log})
	b.queue = tasks.New(tasks.Deps{
		DB: b.db, Limits: slots, Destinations: b.others, Events: told, IDs: b.source, Registry: registry, Lanes: lane.NewMetrics(registry), Logger: log,
	}, tasks.Config{Node: "a"})
	return New(b.db, cfg, b.queue, told, b.source, registry, log)
}

// furnish makes a queue and a destination of that name.
func (b *bench) furnish(name string) {
	b.Helper()
	err := b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		if _, err := b.queue.CreateQueue(ctx, tx, b.org, name, tasks.QueueSettings{}); err != nil {
			return err
		}
		_, err := b.others.Create(ctx, tx, destinations.Create{OrgID: b.org, Name: name, Settings: destinations.Settings{BaseURL: "https://api.example"}})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) verify() {
	b.Helper()
	report, err := proof.Run(context.WithoutCancel(b.Context()), b.db, clock.System, []proof.Part{Proof(), events.Proof()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range report.Failed() {
		b.Errorf("%s: %d, such as %s %s", f.Name, f.Violations, f.First[0].ID, f.First[0].Detail)
	}
}

func (b *bench) inTx(body func(ctx context.Context, tx postgres.Tx) error) error {
	b.Helper()
	return b.db.InTx(b.Context(), body)
}

// do carries out a use case in a transaction of its own; it must succeed.
func do[T any](b *bench, body func(ctx context.Context, tx postgres.Tx) (T, error)) T {
	b.Helper()
	var out T
	err := b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		var err error
		out, err = body(ctx, tx)
		return err
	})
	if err != nil {
		b.Fatalf("%v: %+v", err, fault.From(err).Params)
	}
	return out
}

func input(name, cron string) Input {
	return Input{Name: name, Cron: cron, Task: Template{Kind: "test", Args: []byte(`{"at":"{{tick_at}}"}`)}}
}

func (b *bench) create(in Input) Schedule {
	b.Helper()
	return do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) { return b.Create(ctx, tx, b.org, in) })
}

func (b *bench) get(id ids.ID) Schedule {
	b.Helper()
	return do(b, func(ctx context.Context, tx postgres.Tx) (Schedule, error) { return b.Get(ctx, tx, b.org, id) })
}

// neglect is as if no node had run since then: the schedule's ticks after that are not accounted for.
func (b *bench) neglect(c Schedule, since time.Duration) Schedule {
	b.Helper()
	now := do(b, postgres.Now)
	c.anchor = now.Add(-since).Truncate(time.Second)
	c.ticksAfter = now.Add(-since)
	rule, err := ParseRule(c.Cron, c.TimeZone, c.anchor)
	if err != nil {
		b.Fatal(err)
	}
	b.exec(`update schedule set anchor_at = $3, ticks_after = $4, last_tick_at = null, next_tick_at = $5 where org_id = $1 and id = $2`,
		c.OrgID, c.ID, c.anchor, c.ticksAfter, rule.Next(c.ticksAfter))
	return b.get(c.ID)
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.db.Pool().Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) count(sql string, args ...any) int {
	b.Helper()
	var n int
	if err := b.db.Pool().QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// made are a schedule's ticks, in their order.
func (b *bench) made(id ids.ID) []time.Time {
	b.Helper()
	rows, err := b.db.Pool().Query(b.Context(), `select tick_at from schedule_tick where org_id = $1 and schedule_id = $2 order by tick_at`, b.org, id)
	if err != nil {
		b.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		b.Fatal(err)
	}
	return list
}

// told are the types of the events about a schedule.
func (b *bench) told(id ids.ID) []string {
	b.Helper()
	rows, err := b.db.Pool().Query(b.Context(), `select type from event where aggregateid = $1 order by xid, id`, id)
	if err != nil {
		b.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.Fatal(err)
	}
	return list
}

// fireAll makes all that is due.
func (b *bench) fireAll() {
	b.Helper()
	for {
		n, err := b.fireDue(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

func (b *bench) until(what string, holds func() bool) {
	b.Helper()
	deadline := time.After(30 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-deadline:
			b.Fatalf("in vain: %s", what)
		case <-ticker.C:
		}
	}
}

// run starts a node, which stops when the test ends, and before that when the function is called.
func (b *bench) run(node *Schedules) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(ctx) // never fails
	}()
	stop = func() {
		cancel()
		<-ended
	}
	b.Cleanup(stop)
	return stop
}

func refused(b *bench, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("got %v, want %v", err, want)
	}
}
