package e2e

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// program is somebody's own program on the same database: it queues tasks and works on none, unless it runs them.
type program struct {
	db     *postgres.DB
	org    ids.ID
	tasks  *tasks.Tasks
	limits *limits.Limits
	others *destinations.Destinations
}

func newProgram(ctx context.Context, databaseURL string, now clock.Clock, log *slog.Logger, cfg tasks.Config) (*program, error) {
	db, err := postgres.Open(ctx, databaseURL, postgres.Options{ConnectionsMax: 4})
	if err != nil {
		return nil, err
	}
	source, registry := ids.NewSource(now), prometheus.NewRegistry()
	p := &program{db: db, limits: limits.New(db, limits.Config{Node: cfg.Node}, source, registry, log)}
	if err := db.Pool().QueryRow(ctx, `select id from organisation`).Scan(&p.org); err != nil {
		db.Close()
		return nil, err
	}
	told := events.New(db, source)
	p.others = destinations.New(destinations.Config{
		DB: db, IDs: source, Clock: now, Events: told, Registry: registry, Log: log,
	})
	p.tasks = tasks.New(tasks.Deps{
		DB: db, Limits: p.limits, Destinations: p.others, Events: told, IDs: source, Registry: registry,
		Lanes: lane.NewMetrics(registry), Logger: log,
	}, cfg)
	return p, nil
}

func (h *house) program() *program {
	h.Helper()
	p, err := newProgram(h.Context(), h.cfg.DatabaseURL, clock.System, slog.New(slog.DiscardHandler), tasks.Config{Node: "program"})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(p.db.Close)
	return p
}

// run has the program work on tasks until ctx ends.
func (p *program) run(ctx context.Context) {
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{p.limits.Run, p.others.Run, p.tasks.Run} {
		parts.Go(func() { _ = part(ctx) })
	}
	parts.Wait()
}

// destination makes a destination of an API.
func (h *house) destination(p *program, name string, s destinations.Settings) {
	h.Helper()
	s.AllowPrivateNetworks = true
	err := p.db.InTx(h.Context(), func(ctx context.Context, tx postgres.Tx) error {
		_, err := p.others.Create(ctx, tx, destinations.Create{OrgID: p.org, Name: name, Settings: s})
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

// calls queues n requests, in one transaction.
func (h *house) calls(p *program, n int) {
	h.Helper()
	specs := make([]tasks.Spec, n)
	for i := range specs {
		specs[i] = h.call(p, nil)
	}
	h.enqueue(p, specs)
}

// call is a request, and what asks whether it was carried out.
func (h *house) call(p *program, verify *tasks.HTTPRequest) tasks.Spec {
	h.Helper()
	args, err := json.Marshal(tasks.HTTPArgs{Verify: verify, Request: tasks.HTTPRequest{
		Method: http.MethodPost, URL: "/records", Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{"a":1}`),
	}})
	if err != nil {
		h.Fatal(err)
	}
	return tasks.Spec{
		OrgID: p.org, Kind: tasks.KindHTTP, Destination: api, Args: args, Retry: []byte(`{"min_backoff_seconds":0.5}`),
	}
}

// enqueue queues tasks in one transaction.
func (h *house) enqueue(p *program, specs []tasks.Spec) {
	h.Helper()
	err := p.db.InTx(h.Context(), func(ctx context.Context, tx postgres.Tx) error {
		_, err := p.tasks.EnqueueTx(ctx, tx, specs)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

// left counts the tasks that are not finished.
func (h *house) left(p *program) int {
	h.Helper()
	var n int
	if err := p.db.Pool().QueryRow(h.Context(), `select count(*) from task_live`).Scan(&n); err != nil {
		h.Fatal(err)
	}
	return n
}

// Two nodes, one API that turns away what is over its limit: nothing is turned away, nearly all of the limit is used, and every
// request arrives once.
func TestTwoNodesKeepToTheLimitOfAnAPI(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	const rate, calls = 200, 1000
	mock, err := mockapi.Start(t.Context(), mockapi.Config{Limits: mockapi.Limits{Limits: []mockapi.Limit{{Count: rate, Period: time.Second}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mock.Close)
	p := h.program()
	h.destination(p, api, destinations.Settings{
		BaseURL:    mock.URL(),
		RateLimits: []destinations.RateLimit{{Name: "second", Limit: rate, PeriodSeconds: 1}},
	})
	h.calls(p, calls)
	h.start("a")
	h.start("b")
	h.eventually("all calls are made", func() bool { return h.left(p) == 0 })
	s := mock.Summary()
	if s.Arrivals != calls+s.Refused || s.Effects != calls || s.DuplicateEffects != 0 {
		t.Fatalf("%+v", s)
	}
	t.Logf("%+v", s.Limits[0])
	if late := h.late(p, mock, time.Second/4); s.Refused > late {
		t.Errorf("%d requests were turned away, and %d were on their way for longer than the guard: %+v", s.Refused, late, s.Limits[0])
	}
	if used := float64(busiest(mock, 2*time.Second)) / (2 * rate); used < 0.9 {
		t.Errorf("%.3f of the limit is used in the busiest two seconds", used)
	}
}

const startsSQL = `select task_id, number, started_at from task_attempt`

// late counts the requests that arrived longer than a guard after their attempts began, as on a machine that stands still just
// there. The limit rests on it that there are none; each can push another one over the other side's limit, and no more.
func (h *house) late(p *program, mock *mockapi.Server, guard time.Duration) (late int64) {
	h.Helper()
	rows, err := p.db.Pool().Query(h.Context(), startsSQL)
	if err != nil {
		h.Fatal(err)
	}
	starts := map[string]time.Time{}
	var id ids.ID
	var number int
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &number, &at}, func() error {
		starts[ids.Format(tasks.Prefix, id)+strconv.Itoa(number-1)] = at
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	for _, arrival := range mock.Record(0, 10_000, mockapi.Filter{}).Arrivals {
		began, known := starts[arrival.Task+arrival.RetryCount]
		if !known {
			h.Fatalf("nothing is known of the attempt that sent %+v", arrival)
		}
		if arrival.At.Sub(began) > guard {
			late++
		}
	}
	return late
}

// busiest is the most that arrived within such a time.
func busiest(mock *mockapi.Server, within time.Duration) (most int) {
	all := mock.Record(0, 10_000, mockapi.Filter{Verdict: mockapi.Accepted}).Arrivals
	first := 0
	for i := range all {
		for all[i].AtNanoseconds-all[first].AtNanoseconds >= within.Nanoseconds() {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
