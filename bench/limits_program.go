package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// program is somebody's own program on the database of the nodes: it queues tasks and works on none.
type program struct {
	db     *postgres.DB
	org    ids.ID
	tasks  *tasks.Tasks
	others *destinations.Destinations
	stop   func()
}

func openProgram(ctx context.Context, url string) (*program, error) {
	if err := postgres.Migrate(ctx, url); err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, url, postgres.Options{Name: "kontor bench"})
	if err != nil {
		return nil, err
	}
	source, registry, log := ids.NewSource(clock.System), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	p := &program{db: db, org: source.New()}
	told := events.New(db, source)
	p.others = destinations.New(destinations.Config{
		DB: db, IDs: source, Clock: clock.System, Events: told, Registry: registry, Log: log,
	})
	p.tasks = tasks.New(tasks.Deps{
		DB: db, Limits: limits.New(db, limits.Config{Node: "program"}, source, registry, log), Destinations: p.others,
		Events: told, IDs: source, Registry: registry, Lanes: lane.NewMetrics(registry), Logger: log,
	}, tasks.Config{Node: "program"})
	lanes, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	go func() { _ = p.tasks.RunEnqueue(lanes) }() // never fails
	return p, nil
}

func (p *program) close() {
	p.stop()
	p.db.Close()
}

func (p *program) createDestination(ctx context.Context, name string, s destinations.Settings) error {
	s.AllowPrivateNetworks = true
	return p.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		_, err := p.others.Create(ctx, tx, destinations.Create{OrgID: p.org, Name: name, Settings: s})
		return err
	})
}

// call is a task that sends a request.
func (p *program) call(destination, path string) (tasks.Spec, error) {
	args, err := json.Marshal(tasks.HTTPArgs{Request: tasks.HTTPRequest{
		Method: http.MethodPost, URL: path, Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{"amount":1250,"currency":"EUR"}`),
	}})
	return tasks.Spec{OrgID: p.org, Kind: tasks.KindHTTP, Destination: destination, Args: args}, err
}

// enqueue queues n requests in one transaction.
func (p *program) enqueue(ctx context.Context, destination string, n int) error {
	spec, err := p.call(destination, "/records")
	if err != nil {
		return err
	}
	return p.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		for left := n; left > 0; left -= tasksBatch {
			specs := make([]tasks.Spec, min(left, tasksBatch))
			for i := range specs {
				specs[i] = spec
			}
			if _, err := p.tasks.EnqueueTx(ctx, tx, specs); err != nil {
				return err
			}
		}
		return nil
	})
}

// enqueueOne queues a request whose path says when it was queued.
func (p *program) enqueueOne(ctx context.Context, destination string) error {
	spec, err := p.call(destination, firstBytePath+strconv.FormatInt(time.Now().UnixNano(), 10))
	if err != nil {
		return err
	}
	_, err = p.tasks.Enqueue(ctx, []tasks.Spec{spec})
	return err
}
