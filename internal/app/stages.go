package app

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/edge/api"
	"github.com/kontorhq/kontor/internal/edge/hooks"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/schedules"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// The shares of Config.ShutdownTimeoutSeconds that each stage of a stop may use.
const (
	shareEdge     = 0.58 // requests under way
	shareCommands = 0.05 // what the requests had handed in
	shareWorkers  = 0.25 // tasks under way
	shareOutcomes = 0.05 // what the tasks had handed in
	shareAdmin    = 0.02
	sharePool     = 0.05
)

// workersBudgetLeast is what the workers need at the least: they have a second to return once they were told to.
const workersBudgetLeast = 1300 * time.Millisecond

func (a *App) budget(share float64) time.Duration {
	return time.Duration(share * float64(seconds(a.cfg.ShutdownTimeoutSeconds)))
}

func (a *App) workersBudget() time.Duration { return max(a.budget(shareWorkers), workersBudgetLeast) }

// tasksConfig sizes the workers so that they stop within their budget.
func (a *App) tasksConfig() tasks.Config {
	return tasks.Config{
		Node: a.cfg.Node, Workers: a.cfg.TaskWorkers, Lease: seconds(a.cfg.TaskLeaseSeconds),
		Drain: a.workersBudget() - 1200*time.Millisecond,
	}
}

// listen takes the ports of the node's roles.
func (a *App) listen(ctx context.Context) (err error) {
	if a.cfg.Has(RoleAPI) {
		if a.api, err = listen(ctx, "API", a.cfg.Listen, seconds(a.cfg.RequestTimeoutSeconds), a.log); err != nil {
			return err
		}
	}
	a.admin, err = listen(ctx, "admin listener", a.cfg.AdminListen, adminTimeout, a.log)
	return err
}

// stages are the node's parts in the order in which they stop: what takes work in stops before what carries it out, and
// the admin listener last, so that the stop can be watched.
func (a *App) stages(server *api.Server, webhooks *hooks.Hooks, slots *limits.Limits, others *destinations.Destinations,
	queue *tasks.Tasks, timetable *schedules.Schedules, log *events.Events, admin http.Handler,
) []stage {
	edge := stage{budget: a.budget(shareEdge) + time.Second} // the listener itself counts the requests it cuts off
	commands := stage{budget: a.budget(shareCommands), parts: []part{{"task enqueues", queue.RunEnqueue}}}
	workers := stage{budget: a.workersBudget()}
	outcomes := stage{budget: a.budget(shareOutcomes)} // nodes of either role have some: webhooks, or answers
	outcomes.parts = append(outcomes.parts, part{"payment outcomes", a.payments.Run}, part{"limits", slots.Run}, part{"destinations", others.Run})
	if a.cfg.Has(RoleAPI) {
		edge.parts = append(edge.parts, a.api.part(a.public(server, webhooks), a.budget(shareEdge)))
		commands.parts = append(commands.parts, part{"API commands", server.Run})
	}
	if a.cfg.Has(RoleWorker) {
		commands.parts = append(commands.parts, part{"schedules", timetable.Run})
		queue.Every("app.partitions", partitionsEvery, a.keepPartitions)
		queue.Every("app.measure", measureEvery, measuring(a.now, queue.Measure, log.Measure, a.payments.Measure))
		workers.parts = append(workers.parts, part{"workers", queue.Run})
	}
	return []stage{
		edge, commands, workers, outcomes,
		{budget: a.budget(shareAdmin) + time.Second, parts: []part{a.admin.part(admin, a.budget(shareAdmin))}},
	}
}

// hooksPath is where webhooks are taken in, each provider's below it.
const hooksPath = "/hooks/"

// public is everything that the API's port answers.
func (a *App) public(server *api.Server, webhooks *hooks.Hooks) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", server.Handler())
	mux.Handle(hooksPath, webhooks.Handler())
	return a.traced(mux)
}

// tracers make spans; nil, when they go nowhere.
func (a *App) tracers() trace.TracerProvider {
	if !a.tel.Tracing() {
		return nil
	}
	return a.tel.Tracers
}

// traced gives each request a span, when spans go anywhere.
func (a *App) traced(handler http.Handler) http.Handler {
	if !a.tel.Tracing() {
		return handler
	}
	return otelhttp.NewHandler(handler, "request",
		otelhttp.WithTracerProvider(a.tel.Tracers), otelhttp.WithPropagators(propagation.TraceContext{}))
}

const (
	partitionsEvery = 6 * time.Hour
	expireEvery     = time.Second
	idempotencyKept = 31 * 24 * time.Hour // 30 days are promised
	ticksKept       = 62 * 24 * time.Hour // more than anything is made up for
)

// keepPartitions makes the partitions of the coming months and drops the months of idempotency records that nobody may
// repeat any more, of ticks long gone, and of old tasks. Every node with workers does it; the others then find nothing to do.
func (a *App) keepPartitions(ctx context.Context) error {
	if err := postgres.EnsurePartitions(ctx, a.db.Pool()); err != nil {
		return err
	}
	for table, kept := range map[string]time.Duration{"idempotency_record": idempotencyKept, "schedule_tick": ticksKept} {
		dropped, err := postgres.RetirePartitions(ctx, a.db.Pool(), table, a.now().Add(-kept))
		if len(dropped) > 0 {
			a.log.InfoContext(ctx, "dropped what was kept long enough", "tables", dropped)
		}
		if err != nil {
			return err
		}
	}
	dropped, err := a.tasks.Retire(ctx, a.now().AddDate(0, 0, -a.cfg.TaskHistoryDays))
	if len(dropped) > 0 {
		a.log.InfoContext(ctx, "dropped what was kept long enough", "tables", dropped)
	}
	return err
}
