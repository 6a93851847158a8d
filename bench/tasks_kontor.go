package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// kontorConnections is the size of Kontor's pool when nobody sets it.
const kontorConnections = 16

// kontorPipeline is Kontor's, with its history of attempts.
type kontorPipeline struct {
	db       *postgres.DB
	source   *ids.Source
	org      ids.ID
	tasks    *tasks.Tasks // that works, while there is one; else one that only enqueues
	enqueues *tasks.Tasks
	registry *prometheus.Registry // of the one that works
	lanes    context.Context      // of what nodes enqueue
	stop     func()
}

func openKontor(ctx context.Context, url string, isNew bool) (pipeline, error) {
	if isNew {
		if err := postgres.Migrate(ctx, url); err != nil {
			return nil, err
		}
	}
	db, err := postgres.Open(ctx, url, postgres.Options{Name: "kontor bench"})
	if err != nil {
		return nil, err
	}
	source := ids.NewSource(clock.System)
	k := &kontorPipeline{db: db, source: source, org: source.New()}
	k.lanes, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	k.enqueues, _, _ = k.node(tasks.Config{})
	k.tasks = k.enqueues
	return k, nil
}

func (k *kontorPipeline) close() {
	k.stop()
	k.db.Close()
}

func (k *kontorPipeline) node(config tasks.Config) (*tasks.Tasks, *limits.Limits, *prometheus.Registry) {
	config.Node = "bench-" + ids.Format("node", k.source.New())
	registry := prometheus.NewRegistry()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	slots := limits.New(k.db, limits.Config{Node: config.Node}, k.source, registry, log)
	node := tasks.New(tasks.Deps{
		DB: k.db, Limits: slots, IDs: k.source, Registry: registry, Lanes: lane.NewMetrics(registry), Logger: log,
	}, config)
	go func() { _ = node.RunEnqueue(k.lanes) }() // never fails
	return node, slots, registry
}

// kontorArgs are the arguments of a task that does nothing.
type kontorArgs struct {
	At time.Time `json:"at"`
}

func (k *kontorPipeline) enqueue(ctx context.Context, n int) error {
	args, err := json.Marshal(kontorArgs{At: time.Now()})
	if err != nil {
		return err
	}
	specs := make([]tasks.Spec, n)
	for i := range specs {
		specs[i] = tasks.Spec{OrgID: k.org, Kind: "noop", Args: args}
	}
	_, err = k.tasks.Enqueue(ctx, specs)
	return err
}

func (k *kontorPipeline) work(ctx context.Context, at pace, started func(time.Time)) (func() error, error) {
	var config tasks.Config
	if at == atFullSpeed {
		config.Workers = tasksWorkers
	}
	node, slots, registry := k.node(config)
	node.Handle("noop", tasks.Policy{}, func(_ context.Context, task tasks.Task) tasks.Verdict {
		var args kontorArgs
		if err := json.Unmarshal(task.Args, &args); err != nil {
			return tasks.Failed("arguments", err)
		}
		started(args.At)
		return tasks.Succeeded()
	})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 2)
	go func() { ended <- node.Run(running) }()
	go func() { ended <- slots.Run(running) }()
	k.tasks, k.registry = node, registry
	return func() error {
		k.tasks = k.enqueues
		cancel()
		return errors.Join(<-ended, <-ended)
	}, nil
}

// finished reads the node's own count, which it writes after the commit.
func (k *kontorPipeline) finished() int {
	families, err := k.registry.Gather()
	if err != nil {
		return 0
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == "kontor_task_attempts_total" {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return int(sum)
}

func (k *kontorPipeline) clear(ctx context.Context) error {
	_, err := k.db.Pool().Exec(ctx, `truncate task, task_live, task_attempt`)
	return err
}
