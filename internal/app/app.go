// Package app puts Kontor together: the configuration, every module in floor order, the stages in which a node starts and
// stops, and the verbs of the command line. It owns no tables.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
	_ "time/tzdata" // schedules name time zones, and a machine may have no database of them

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/edge/api"
	"github.com/kontorhq/kontor/internal/edge/hooks"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/schedules"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// App is one node. Make it with New, then Run it once, or Close it.
type App struct {
	cfg      Config
	tel      *telemetry.Telemetry
	log      *slog.Logger
	db       *postgres.DB
	access   *access.Access
	payments *payments.Payments
	tasks    *tasks.Tasks
	api      *listener // nil without the role api
	admin    *listener
	life     lifecycle
	now      clock.Clock
	draining atomic.Bool
	closed   atomic.Bool
}

// New makes a node: it opens the database, wires every module in floor order and takes its ports, but answers nothing
// and works on nothing before Run. When it fails, what it had opened is closed again.
func New(ctx context.Context, cfg Config) (app *App, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, now: clock.System}
	defer func() {
		if err != nil {
			a.Close(ctx)
		}
	}()

	// kit
	if a.tel, err = telemetry.New(ctx, telemetryConfig(cfg)); err != nil {
		return nil, err
	}
	a.log = a.tel.Logger
	registry, source, lanes := a.tel.Registry, ids.NewSource(a.now), lane.NewMetrics(a.tel.Registry).Traced(a.tracers())
	if a.db, err = postgres.Open(ctx, cfg.DatabaseURL, postgres.Options{
		ConnectionsMax: int32(cfg.DatabaseConnectionsMax), //nolint:gosec // Check bounds it
		Name:           cfg.sessionName(), Traced: a.tel.Tracing(), Pooler: cfg.DatabasePooler,
	}); err != nil {
		return nil, err
	}
	a.db.Register(registry)
	schema, err := checkSchema(ctx, cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}

	// platform
	a.access = access.New(a.db, a.now, source)
	log := events.New(a.db, source)
	log.Register(registry)
	slots := limits.New(a.db, limits.Config{Node: cfg.Node}, source, registry, a.log)
	others := destinations.New(destinations.Config{
		DB: a.db, IDs: source, Clock: a.now, Events: log, Registry: registry, Log: a.log, Tracers: a.tel.Tracers,
		Secrets: destinations.SecretSources{Lookup: os.LookupEnv}, UserAgent: "Kontor/" + readBuild().Version, Requests: cfg.TaskWorkers,
	})
	a.tasks = tasks.New(tasks.Deps{
		DB: a.db, Limits: slots, Destinations: others, Events: log, IDs: source, Registry: registry, Lanes: lanes, Logger: a.log, Tracers: a.tracers(),
	}, a.tasksConfig())
	queue := a.tasks
	timetable := schedules.New(a.db, schedules.Config{}, queue, log, source, registry, a.log)

	// commerce
	books := ledger.New(a.db, log, source)
	queue.Every("ledger.expire", expireEvery, books.Sweep)
	a.payments = payments.New(payments.Deps{
		DB: a.db, Ledger: books, Events: log, Tasks: queue, IDs: source, Providers: a.providers(),
		Lanes: lanes, Registry: registry, Logger: a.log,
	}, payments.Config{ProviderTimeout: seconds(cfg.ProviderTimeoutSeconds)})

	// edge
	server, err := api.New(api.Deps{
		DB: a.db, Access: a.access, Ledger: books, Payments: a.payments, Events: log, Tasks: queue, Destinations: others, Schedules: timetable,
		Clock: a.now, IDs: source, Lanes: lanes, Registry: registry, Logger: a.log,
		RequestTimeout: seconds(cfg.RequestTimeoutSeconds), PaymentWait: seconds(cfg.PaymentWaitSeconds),
	})
	if err != nil {
		return nil, err
	}
	webhooks := hooks.New(a.payments, source, registry, a.log)
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	ready := &readiness{db: a.db, schema: schema, draining: a.draining.Load, stopped: a.life.stopped}
	a.life.stopping = a.announceStop
	a.life.stages = a.stages(server, webhooks, slots, others, queue, timetable, log, newAdminHandler(ready, registry))
	return a, nil
}

// adminTimeout leaves time for a profile of a minute.
const adminTimeout = 75 * time.Second

func telemetryConfig(cfg Config) telemetry.Config {
	return telemetry.Config{
		Service: "kontor", Version: readBuild().Version, Node: cfg.Node, LogLevel: cfg.LogLevel, LogFormat: cfg.LogFormat,
		OTLPEndpoint: cfg.OTLPEndpoint, Output: cfg.LogOutput,
	}
}

// checkSchema refuses a database that lacks steps this binary knows, and returns the newest of those.
func checkSchema(ctx context.Context, url string) (int64, error) {
	steps, err := readSteps(ctx, url)
	if err != nil {
		return 0, err
	}
	if behind := pending(steps); len(behind) > 0 {
		return 0, fmt.Errorf("the database's schema lacks %d steps, the first is %s: run kontor migrate up", len(behind), behind[0].Name)
	}
	return steps[len(steps)-1].Version, nil
}

// providers are the payment providers that are configured.
func (a *App) providers() []payments.Provider {
	if a.cfg.SandboxURL == "" {
		return nil
	}
	return []payments.Provider{sandbox.NewProvider(sandbox.ProviderConfig{
		BaseURL: a.cfg.SandboxURL, APIKey: a.cfg.SandboxKey, WebhookSecret: a.cfg.SandboxWebhookSecret,
		Timeout: seconds(a.cfg.ProviderTimeoutSeconds), Clock: a.now,
	})}
}

// URL is the base URL of the API, as reached from this machine; empty without the role api.
func (a *App) URL() string {
	if a.api == nil {
		return ""
	}
	return a.api.URL()
}

// AdminURL is the base URL of health, metrics and profiles.
func (a *App) AdminURL() string { return a.admin.URL() }

// Close gives back what New has opened, for an App that will not Run. A second Close does nothing.
func (a *App) Close(ctx context.Context) {
	if a.closed.Swap(true) {
		return
	}
	for _, l := range []*listener{a.api, a.admin} {
		if l != nil {
			l.close()
		}
	}
	if a.db != nil {
		a.db.Close()
	}
	if a.tel != nil {
		_ = a.tel.Shutdown(ctx) // nobody is left to tell
	}
}
