package tx_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/client/tx"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// bench is Kontor's database with an application's connection beside Kontor's own.
type bench struct {
	*testing.T
	url string
	db  *postgres.DB
	app *pgx.Conn
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{T: t, url: postgrestest.DB(t).URL}
	var err error
	if b.db, err = postgres.Open(t.Context(), b.url, postgres.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.db.Close)
	if _, _, err := access.New(b.db, clock.System, ids.NewSource(clock.System)).CreateKey(t.Context(), "default", "test", false, time.Time{}); err != nil {
		t.Fatal(err)
	}
	b.app = b.connect("")
	b.exec(`create table orders (id text primary key)`)
	b.exec(`insert into task_queue (org_id, name, max_dispatches_per_second, max_burst_size, max_concurrent_dispatches, retry_config, task_ttl_seconds,
			tombstone_ttl_seconds, version, created_at, updated_at)
		select id, 'emails', 500, 500, 1000, '{}', 86400, 3600, 1, now(), now() from organisation`)
	return b
}

// destination makes one.
func (b *bench) destination(name, url string) {
	b.Helper()
	source := ids.NewSource(clock.System)
	targets := b.targets(prometheus.NewRegistry(), source)
	err := b.db.InTx(b.Context(), func(ctx context.Context, db postgres.Tx) error {
		org, err := access.FindOrganisation(ctx, db, "default")
		if err != nil {
			return err
		}
		_, err = targets.Create(ctx, db, destinations.Create{OrgID: org, Name: name, Settings: destinations.Settings{BaseURL: url, AllowPrivateNetworks: true}})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) targets(registry prometheus.Registerer, source *ids.Source) *destinations.Destinations {
	return destinations.New(destinations.Config{
		DB: b.db, IDs: source, Clock: clock.System, Events: events.New(b.db, source), Registry: registry, Log: slog.New(slog.DiscardHandler),
	})
}

// appURL is how an application reaches the database in one of pgx's modes of sending statements; if none is named, in pgx's own, or
// in exec behind a pooler, which may give its next transaction another backend.
func (b *bench) appURL(mode string) string {
	b.Helper()
	u, err := url.Parse(b.url)
	if err != nil {
		b.Fatal(err)
	}
	query := u.Query()
	if mode == "" && query.Has("pooler") {
		mode = "exec"
	}
	query.Del("pooler") // only Kontor's own connections understand it
	if mode != "" {
		query.Set("default_query_exec_mode", mode)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// connect opens a connection as an application has it.
func (b *bench) connect(mode string) *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), b.appURL(mode))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
	return conn
}

func (b *bench) exec(statement string) {
	b.Helper()
	if _, err := b.db.Pool().Exec(b.Context(), statement); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) text(statement string, args ...any) (text string) {
	b.Helper()
	if err := b.db.Pool().QueryRow(b.Context(), statement, args...).Scan(&text); err != nil {
		b.Fatal(err)
	}
	return text
}

// commit writes an order and queues tasks in one transaction of the application's.
func (b *bench) commit(kontor *tx.Kontor, conn *pgx.Conn, order string, list ...tx.Task) []tx.Enqueued {
	b.Helper()
	var queued []tx.Enqueued
	err := pgx.BeginFunc(b.Context(), conn, func(db pgx.Tx) (err error) {
		if _, err := db.Exec(b.Context(), `insert into orders (id) values ($1)`, order); err != nil {
			return err
		}
		queued, err = kontor.Enqueue(b.Context(), db, list)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if len(queued) != len(list) {
		b.Fatalf("%d results for %d tasks", len(queued), len(list))
	}
	return queued
}

func TestWhatIsRolledBackIsNotQueued(t *testing.T) {
	b := setup(t)
	kontor := tx.New("default")
	db, err := b.app.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kontor.Enqueue(t.Context(), db, []tx.Task{{Kind: "test"}, {Kind: "test", Name: "once"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.text(`select (select count(*) from task) + (select count(*) from task_live) + (select count(*) from task_key) || ''`); n != "0" {
		t.Fatalf("%s rows are left", n)
	}
	b.commit(kontor, b.app, "o1", tx.Task{Kind: "test", Name: "once"})
	if n := b.text(`select (select count(*) from task) || '/' || (select count(*) from orders)`); n != "1/1" {
		t.Fatal(n)
	}
}

// Every field arrives, in whichever way the application's connection sends statements.
func TestEveryModeOfSendingCarriesEverything(t *testing.T) {
	b := setup(t)
	at := time.Date(2036, 5, 4, 3, 2, 1, 0, time.UTC)
	for _, name := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		kontor, conn := tx.New("default"), b.connect(name)
		whole := tx.Task{
			Queue: "emails", Kind: "test", Args: map[string]any{"text": `"ü\'☃`, "n": 1}, ScheduleTime: at, Priority: 3, Name: "name of " + name,
			OrderingKey: "o", FairnessKey: "f", FairnessWeight: 2.5, LimitKey: "l", Units: 7, DispatchDeadline: time.Minute, ExpiresAt: at.Add(time.Hour),
			RetryConfig: json.RawMessage(`{"max_attempts": 3}`), IdempotencyKey: "i", TraceParent: "00-x", SubjectType: "order", SubjectID: `o'1\`, Tags: []string{"a", "b c"},
		}
		queued := b.commit(kontor, conn, name, tx.Task{Kind: "test"}, whole, tx.Task{Kind: "test", After: time.Hour, UniqueKey: name, UniquePeriod: time.Hour}, whole)
		if !queued[3].Deduplicated || queued[3].ID != queued[1].ID || queued[0].Deduplicated || queued[1].Deduplicated || queued[2].Deduplicated {
			t.Errorf("%s: %+v", name, queued)
		}
		got := b.text(`
			select concat_ws('|', k.queue, k.kind, k.args::jsonb->>'text', k.args::jsonb->>'n', k.scheduled_at, l.priority, k.name, k.ordering_key, k.fairness_key,
				k.fairness_weight, k.limit_key, k.units, k.timeout_seconds, k.expires_at, k.retry_config::jsonb->>'max_attempts', k.idempotency_key, k.traceparent, k.subject_type,
				k.subject_id, k.tags, l.state, l.key)
			from task k join task_live l on l.org_id = k.org_id and l.task_id = k.id where k.id = $1`, parse(t, queued[1].ID))
		want := `emails|test|"ü\'☃|1|2036-05-04 03:02:01+00|3|name of ` + name + `|o|f|2.5|l|7|60|2036-05-04 04:02:01+00|3|i|00-x|order|o'1\|{a,"b c"}|blocked|name/name of ` + name
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", name, got, want)
		}
		rest := b.text(`select string_agg(l.state || ' ' || (l.due_at > now() + interval '59 minutes') || ' ' || coalesce(l.key, '-'), ', ' order by l.task_id)
			from task_live l where l.task_id = any($1)`, []ids.ID{parse(t, queued[0].ID), parse(t, queued[2].ID)})
		if want := "available false -, scheduled true unique/" + name; rest != want {
			t.Errorf("%s: %s, want %s", name, rest, want)
		}
	}
}

func parse(t *testing.T, shown string) ids.ID {
	t.Helper()
	id, err := ids.Parse(tasks.Prefix, shown)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAConflictLeavesTheTransactionAsItWas(t *testing.T) {
	b := setup(t)
	kontor, conn := tx.New("default"), b.connect("")
	first := b.commit(kontor, conn, "first", tx.Task{Kind: "test", Name: "a", After: time.Hour}, tx.Task{Kind: "test", Name: "b", After: time.Hour})
	err := pgx.BeginFunc(t.Context(), conn, func(own pgx.Tx) error {
		_, err := kontor.Enqueue(t.Context(), own, []tx.Task{
			{Kind: "test", Name: "a", OnConflict: "replace"}, {Kind: "test"}, {Kind: "test", Name: "b", OnConflict: "error"},
		})
		if refused, is := errors.AsType[*tx.Refused](err); !is || refused.Code != "task_exists" || refused.Index != 2 {
			t.Errorf("%v", err)
		}
		_, err = kontor.Enqueue(t.Context(), own, []tx.Task{{Kind: "test", Name: "b", OnConflict: "replace", After: time.Hour}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	live := b.text(`select string_agg(l.key || ' ' || (l.task_id = any($1)), ', ' order by l.key) from task_live l`, []ids.ID{parse(t, first[0].ID), parse(t, first[1].ID)})
	if live != "name/a true, name/b false" {
		t.Error(live)
	}
}

func TestARefusalLeavesTheTransactionAsItWas(t *testing.T) {
	b := setup(t)
	kontor := tx.New("default")
	db, err := b.app.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = kontor.Enqueue(t.Context(), db, []tx.Task{{Kind: "test"}, {Destination: "nowhere", HTTPRequest: &tx.HTTPRequest{URL: "/x", Body: []byte("{}")}}})
	var refused *tx.Refused
	if !errors.As(err, &refused) || refused.Index != 1 || refused.Code != "destination_not_found" || refused.Param != "destination" {
		t.Fatal(err)
	}
	if _, err := kontor.Enqueue(t.Context(), db, []tx.Task{{Kind: "test"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.text(`select count(*)::text from task`); n != "1" {
		t.Fatalf("%s tasks", n)
	}
}

func TestWhatCannotBeQueuedIsRefused(t *testing.T) {
	b := setup(t)
	request := &tx.HTTPRequest{URL: "/x"}
	b.exec(`update task_queue set state = 'draining'`)
	for _, c := range []struct {
		task        tx.Task
		code, param string
	}{
		{tx.Task{}, "task_invalid", "http_request"},
		{tx.Task{Kind: "a", HTTPRequest: request}, "task_invalid", "kind"},
		{tx.Task{Kind: "a", Args: func() {}}, "task_invalid", "args"},
		{tx.Task{HTTPRequest: request}, "task_invalid", "destination"},
		{tx.Task{HTTPRequest: &tx.HTTPRequest{}, Destination: "d"}, "task_invalid", "http_request/url"},
		{tx.Task{HTTPRequest: request, Destination: "d", OnUnknown: "hope"}, "task_invalid", "on_unknown"},
		{tx.Task{HTTPRequest: request, Destination: "d", OnUnknown: "verify"}, "task_invalid", "verify"},
		{tx.Task{Kind: "a", Name: "n", UniqueKey: "u"}, "task_invalid", "unique_key"},
		{tx.Task{Kind: "a", Priority: 5}, "task_invalid", "priority"},
		{tx.Task{Kind: "a", Queue: "nowhere"}, "queue_not_found", "queue"},
		{tx.Task{Kind: "a", Queue: "emails"}, "queue_draining", "queue"},
	} {
		err := pgx.BeginFunc(t.Context(), b.app, func(db pgx.Tx) error {
			_, err := tx.New("default").Enqueue(t.Context(), db, []tx.Task{c.task})
			return err
		})
		var refused *tx.Refused
		if !errors.As(err, &refused) || refused.Code != c.code || refused.Param != c.param || refused.Detail == "" {
			t.Errorf("%+v: %v, want %s at %s", c.task, err, c.code, c.param)
		}
	}
	for organisation, want := range map[string]string{"other": "kontor keys create", "Not A Name": "a-z"} {
		err := pgx.BeginFunc(t.Context(), b.app, func(db pgx.Tx) error {
			_, err := tx.New(organisation).Enqueue(t.Context(), db, []tx.Task{{Kind: "a"}})
			return err
		})
		if !errors.Is(err, tx.ErrOrganisation) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", organisation, err)
		}
	}
}

func TestDatabaseSQL(t *testing.T) {
	b := setup(t)
	pool, err := sql.Open("pgx", b.appURL(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	kontor := tx.New("default")
	if _, err := kontor.EnqueueSQL(t.Context(), conn, []tx.Task{{Kind: "test"}}); !errors.Is(err, tx.ErrNoTransaction) {
		t.Fatal(err)
	}
	for order, end := range map[string]func(*sql.Tx) error{"kept": (*sql.Tx).Commit, "dropped": (*sql.Tx).Rollback} {
		db, err := conn.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), `insert into orders (id) values ($1)`, order); err != nil {
			t.Fatal(err)
		}
		if _, err := kontor.EnqueueSQL(t.Context(), conn, []tx.Task{{Kind: "test", UniqueKey: order}}); err != nil {
			t.Fatal(err)
		}
		if err := end(db); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.text(`select (select string_agg(id, ',') from orders) || ' ' || (select string_agg(key, ',') from task_live)`); got != "kept unique/kept" {
		t.Fatal(got)
	}
}

// node runs a node that hands what it gets to a channel.
func (b *bench) node(got chan<- tasks.Task) {
	b.Helper()
	registry, log, source := prometheus.NewRegistry(), slog.New(slog.DiscardHandler), ids.NewSource(clock.System)
	slots := limits.New(b.db, limits.Config{Node: "a"}, source, registry, log)
	targets := b.targets(registry, source)
	node := tasks.New(tasks.Deps{
		DB: b.db, Limits: slots, Destinations: targets, Events: targets.Events, IDs: source, Registry: registry, Lanes: lane.NewMetrics(registry), Logger: log,
	}, tasks.Config{Node: "a"})
	node.Handle("test", tasks.Policy{}, func(_ context.Context, task tasks.Task) tasks.Verdict { got <- task; return tasks.Succeeded() })
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan struct{})
	go func() { _ = slots.Run(ctx) }()
	go func() { _ = targets.Run(ctx) }()
	go func() { defer close(ended); _ = node.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-ended })
}
