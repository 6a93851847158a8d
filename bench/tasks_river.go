package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverPipeline is River, on a pool of pgxpool's default size.
type riverPipeline struct {
	pool    *pgxpool.Pool
	client  *river.Client[pgx.Tx] // that works, while there is one; else one that only inserts
	inserts *river.Client[pgx.Tx]
	done    *atomic.Int64
}

func openRiver(ctx context.Context, url string, isNew bool) (pipeline, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	r := &riverPipeline{pool: pool, done: &atomic.Int64{}}
	if isNew {
		if err := r.migrate(ctx); err != nil {
			pool.Close()
			return nil, err
		}
	}
	if r.inserts, err = river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		pool.Close()
		return nil, err
	}
	r.client = r.inserts
	return r, nil
}

func (r *riverPipeline) migrate(ctx context.Context) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(r.pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	return err
}

func (r *riverPipeline) close()           { r.pool.Close() }
func (r *riverPipeline) connections() int { return int(r.pool.Config().MaxConns) }

// riverNoop is a task that does nothing.
type riverNoop struct {
	At time.Time `json:"at"`
}

func (riverNoop) Kind() string { return "noop" }

type riverWorker struct {
	river.WorkerDefaults[riverNoop]
	started func(at time.Time)
}

func (w *riverWorker) Work(_ context.Context, job *river.Job[riverNoop]) error {
	w.started(job.Args.At)
	return nil
}

func (r *riverPipeline) enqueue(ctx context.Context, n int) error {
	if n == 1 {
		_, err := r.client.Insert(ctx, riverNoop{At: time.Now()}, nil)
		return err
	}
	list, at := make([]river.InsertManyParams, n), time.Now()
	for i := range list {
		list[i].Args = riverNoop{At: at}
	}
	inserted, err := r.client.InsertManyFast(ctx, list)
	if err == nil && inserted != n {
		err = fmt.Errorf("%d of %d jobs were inserted", inserted, n)
	}
	return err
}

func (r *riverPipeline) work(ctx context.Context, at pace, started func(time.Time)) (func() error, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{started: started})
	config := &river.Config{
		Logger: slog.New(slog.DiscardHandler), Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}}, // it has no default; this is its documentation's
	}
	if at == atFullSpeed { // as in River's own benchmark
		config.FetchCooldown, config.FetchPollInterval = 2*time.Millisecond, 20*time.Millisecond
		config.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: tasksWorkers}
	}
	client, err := river.NewClient(riverpgxv5.New(r.pool), config)
	if err != nil {
		return nil, err
	}
	done := &atomic.Int64{}
	// Its events come after its completer has written, and are dropped when the channel is full.
	events, cancel := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: tasksBacklog, Kinds: []river.EventKind{river.EventKindJobCompleted},
	})
	go func() {
		for range events {
			done.Add(1)
		}
	}()
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		cancel()
		return nil, err
	}
	r.client, r.done = client, done
	return func() error {
		defer cancel()
		r.client = r.inserts
		ctx, giveUp := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer giveUp()
		return client.Stop(ctx)
	}, nil
}

func (r *riverPipeline) finished() int { return int(r.done.Load()) }

func (r *riverPipeline) clear(ctx context.Context) error {
	_, err := r.pool.Exec(ctx, `truncate river_job`)
	return err
}
