package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// pipeline is a task pipeline under measure: Kontor's or River's, each in a database of its own. Its tasks do nothing.
type pipeline interface {
	// enqueue queues n tasks in one call; they are durable when it returns.
	enqueue(ctx context.Context, n int) error
	// work has the pipeline work, and returns what stops it. started is called with what the task was enqueued with.
	work(ctx context.Context, at pace, started func(at time.Time)) (stop func() error, err error)
	// finished is how many tasks are done since work began, durably.
	finished() int
	// clear forgets all tasks.
	clear(ctx context.Context) error
	close()
}

// pace is how a pipeline is set up to work.
type pace int

const (
	asDelivered pace = iota // every setting at its default
	atFullSpeed             // tasksWorkers workers, and what else makes it fast
)

const (
	tasksCallers = 16    // who enqueue one by one
	tasksWorkers = 2_000 // as River's own benchmark has it
	tasksBatch   = 5_000 // in which a backlog is made
	tasksBacklog = 200_000
)

// rival is a pipeline and the second way into its database: another process, for all it knows.
type rival struct {
	name, database string
	pipeline       pipeline
	other          pipeline
	backlog        time.Duration // what was left to work off when the callers had ended, at its longest
}

// measureTasks measures the pipeline of tasks beside River's.
func (b *bench) measureTasks(ctx context.Context) error {
	river, err := b.openRival(ctx, "River", "river", openRiver)
	if err != nil {
		return err
	}
	defer river.close()
	kontor, err := b.openRival(ctx, "Kontor", "tasks", openKontor)
	if err != nil {
		return err
	}
	defer kontor.close()
	b.report.Checks = append(b.report.Checks, check{
		Part: partTasks, Name: "connections", OK: true,
		Value: fmt.Sprintf("River %d, pgxpool's default; Kontor %d, its own default", river.pipeline.(*riverPipeline).connections(), kontorConnections),
	})
	for _, group := range []struct {
		what string
		take func(r *rival) *subject
	}{
		{"enqueueing one by one", b.enqueueing},
		{"enqueueing 1,000 in a call", b.batches(1_000, "at least as fast")},
		{"enqueueing 5,000 in a call", b.batches(5_000, "at least as fast")},
		{"enqueueing 10,000 in a call", b.batches(10_000, "a call below 1 s")},
		{"burning down", b.burningDown},
		{"enqueueing while working", b.enqueueingWhileWorking},
		{"from enqueue to work", b.latency(false)},
		{"from another process's enqueue to work", b.latency(true)},
	} {
		first, second := group.take(river), group.take(kontor)
		second.beside = first
		if err := b.measure(ctx, "tasks, "+group.what, []*subject{first, second}); err != nil {
			return err
		}
	}
	for _, r := range []*rival{river, kontor} {
		if r.backlog > 0 {
			b.report.Checks = append(b.report.Checks, check{
				Part: partTasks, Name: r.name + ": to work off when the callers had ended", Value: r.backlog.Round(time.Millisecond).String(), OK: true,
			})
		}
		if err := b.idle(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// openRival makes a database and opens the pipeline on it twice. open migrates it when it is new.
func (b *bench) openRival(ctx context.Context, name, database string, open func(ctx context.Context, url string, isNew bool) (pipeline, error)) (*rival, error) {
	url, err := b.database(ctx, database)
	if err != nil {
		return nil, err
	}
	r := &rival{name: name, database: database}
	if r.pipeline, err = open(ctx, url, true); err != nil {
		return nil, fmt.Errorf("open the tasks of %s: %w", name, err)
	}
	if r.other, err = open(ctx, url, false); err != nil {
		r.pipeline.close()
		return nil, fmt.Errorf("open the tasks of %s again: %w", name, err)
	}
	return r, nil
}

func (r *rival) close() {
	r.pipeline.close()
	r.other.close()
}

func (r *rival) subject(name, aim, sized string, size int, take func(context.Context, window) (sample, error)) *subject {
	f := &figure{Part: partTasks, Name: r.name + ": " + name, Size: size, sized: sized, short: r.name}
	if r.name == "Kontor" {
		f.Aim = aim
	}
	return &subject{figure: f, take: take}
}

// fresh clears a pipeline and has the server write out what earlier rounds left, so that all rounds begin alike.
func (b *bench) fresh(ctx context.Context, r *rival) error {
	if err := r.pipeline.clear(ctx); err != nil {
		return fmt.Errorf("clear the tasks of %s: %w", r.name, err)
	}
	return b.onServer(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `checkpoint`)
		return err
	})
}

// onServer runs fn on a connection to another database than those that are measured.
func (b *bench) onServer(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, b.server.URL("postgres"))
	if err != nil {
		return fmt.Errorf("reach the server: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return fn(conn)
}

// enqueueing is many callers that enqueue one task after the other, and nobody who works.
func (b *bench) enqueueing(r *rival) *subject {
	return r.subject("enqueue one by one", "at least 5 times", "c=", tasksCallers, func(ctx context.Context, w window) (sample, error) {
		if err := b.fresh(ctx, r); err != nil {
			return sample{}, err
		}
		return b.callers(ctx, w, tasksCallers, func(ctx context.Context) error { return r.pipeline.enqueue(ctx, 1) })
	})
}

// batches is one caller that enqueues n tasks a call.
func (b *bench) batches(n int, aim string) func(r *rival) *subject {
	return func(r *rival) *subject {
		return r.subject("enqueue in batches", aim, "N=", n, func(ctx context.Context, w window) (sample, error) {
			if err := b.fresh(ctx, r); err != nil {
				return sample{}, err
			}
			return b.alone(ctx, w, n, func(ctx context.Context) error { return r.pipeline.enqueue(ctx, n) })
		})
	}
}

// burningDown works off what was enqueued before, counting what is durably done.
func (b *bench) burningDown(r *rival) *subject {
	n := b.options.tasks
	return r.subject("burn down "+grouped(float64(n)), "at least 1.5 times", "w=", tasksWorkers, func(ctx context.Context, _ window) (sample, error) {
		if err := b.fresh(ctx, r); err != nil {
			return sample{}, err
		}
		for left := n; left > 0; left -= tasksBatch {
			if err := r.pipeline.enqueue(ctx, min(left, tasksBatch)); err != nil {
				return sample{}, err
			}
		}
		watch, since := b.watch(0, 0), time.Now()
		stop, err := r.pipeline.work(ctx, atFullSpeed, func(time.Time) {})
		if err != nil {
			return sample{}, err
		}
		err = r.awaitFinished(ctx, n)
		out := sample{done: n, elapsed: time.Since(since), cpu: watch.read()}
		if stopped := stop(); err == nil {
			err = stopped
		}
		return out, err
	})
}

// awaitFinished waits until n tasks are done.
func (r *rival) awaitFinished(ctx context.Context, n int) error {
	const patience = 30 * time.Second // without any progress
	last, moved := -1, time.Now()
	for {
		switch done := r.pipeline.finished(); {
		case done >= n:
			return ctx.Err()
		case done != last:
			last, moved = done, time.Now()
		case time.Since(moved) > patience:
			return fmt.Errorf("%d of %d tasks are done, and no more for %v", done, n, patience)
		}
		if sleep(ctx, 10*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// enqueueingWhileWorking is the callers again, while the same pipeline works on what they enqueue.
func (b *bench) enqueueingWhileWorking(r *rival) *subject {
	return r.subject("enqueue one by one, working", "at least 4 times", "c=", tasksCallers, func(ctx context.Context, w window) (sample, error) {
		if err := b.fresh(ctx, r); err != nil {
			return sample{}, err
		}
		stop, err := r.pipeline.work(ctx, atFullSpeed, func(time.Time) {})
		if err != nil {
			return sample{}, err
		}
		var all atomic.Int64
		out, err := b.callers(ctx, w, tasksCallers, func(ctx context.Context) error {
			all.Add(1)
			return r.pipeline.enqueue(ctx, 1)
		})
		since := time.Now()
		if err == nil {
			err = r.awaitFinished(ctx, int(all.Load()))
		}
		r.backlog = max(r.backlog, time.Since(since))
		if stopped := stop(); err == nil {
			err = stopped
		}
		return out, err
	})
}

// callers repeats a call from n callers for as long as the window says.
func (b *bench) callers(ctx context.Context, w window, n int, call func(context.Context) error) (sample, error) {
	var phase atomic.Int32
	var working sync.WaitGroup
	latencies, errs := make([][]time.Duration, n), make([]error, n)
	for i := range n {
		working.Go(func() {
			for phase.Load() != phaseStop && errs[i] == nil {
				since := time.Now()
				errs[i] = call(ctx)
				if phase.Load() == phaseCount {
					latencies[i] = append(latencies[i], time.Since(since))
				}
			}
		})
	}
	sleep(ctx, w.warm)
	watch, since := b.watch(0, 0), time.Now()
	phase.Store(phaseCount)
	sleep(ctx, w.count)
	phase.Store(phaseStop)
	out := sample{elapsed: time.Since(since), cpu: watch.read()}
	working.Wait()
	out.latencies = slices.Concat(latencies...)
	out.done = len(out.latencies)
	for _, err := range errs {
		if err != nil {
			return out, err
		}
	}
	return out, ctx.Err()
}

// latency is from a call's beginning to the beginning of its task's work, at a hundred tasks a second, with every
// setting at its default. The calls come at uneven times, so that they do not keep step with anybody's clock, and none
// waits for an earlier one.
func (b *bench) latency(fromElsewhere bool) func(r *rival) *subject {
	const mean = 10 * time.Millisecond
	name := "enqueue to work"
	if fromElsewhere {
		name = "enqueue elsewhere to work"
	}
	return func(r *rival) *subject {
		enqueuer := r.pipeline
		if fromElsewhere {
			enqueuer = r.other
		}
		return r.subject(name, "p50 below 5 ms, p99 below 15 ms", "/s=", int(time.Second/mean), func(ctx context.Context, w window) (sample, error) {
			if err := b.fresh(ctx, r); err != nil {
				return sample{}, err
			}
			n := max(int(2*w.count/mean), 1)
			begun := make(chan time.Duration, n)
			stop, err := r.pipeline.work(ctx, asDelivered, func(at time.Time) {
				select {
				case begun <- time.Since(at):
				default: // worked on twice
				}
			})
			if err != nil {
				return sample{}, err
			}
			sleep(ctx, time.Second) // for it to settle
			errs := make(chan error, n)
			watch, since := b.watch(0, 0), time.Now()
			for range n {
				go func() { errs <- enqueuer.enqueue(ctx, 1) }()
				sleep(ctx, mean/2+rand.N(mean))
			}
			out := sample{done: n, elapsed: time.Since(since), cpu: watch.read()}
			for range n {
				if failed := <-errs; err == nil {
					err = failed
				}
			}
			if err == nil {
				err = r.awaitFinished(ctx, n)
			}
			if stopped := stop(); err == nil {
				err = stopped
			}
			for len(begun) > 0 {
				out.latencies = append(out.latencies, <-begun)
			}
			return out, err
		})
	}
}

const transactionsSQL = `select xact_commit + xact_rollback from pg_stat_database where datname = $1`

// idle counts what a node that has nothing to do asks of PostgreSQL, with every setting at its default.
func (b *bench) idle(ctx context.Context, r *rival) error {
	const settle, full = 12 * time.Second, 20 * time.Second // settle: Kontor's looks take ten seconds to become rare; full: at the default of -seconds
	if !strings.Contains("tasks, idle", b.options.match) {
		return nil
	}
	b.note("tasks, %s idle", r.name)
	if err := b.fresh(ctx, r); err != nil {
		return err
	}
	stop, err := r.pipeline.work(ctx, asDelivered, func(time.Time) {})
	if err != nil {
		return err
	}
	sleep(ctx, settle)
	var before, after int64
	read := func(into *int64) func(*pgx.Conn) error {
		return func(conn *pgx.Conn) error { return conn.QueryRow(ctx, transactionsSQL, r.database).Scan(into) }
	}
	since := time.Now()
	err = b.onServer(ctx, read(&before))
	sleep(ctx, time.Duration(b.options.seconds/defaultSeconds*float64(full)))
	if err == nil {
		err = b.onServer(ctx, read(&after))
	}
	perSecond := float64(after-before) / time.Since(since).Seconds()
	c := check{Part: partTasks, Name: r.name + " idle: transactions a second at PostgreSQL", Value: fmt.Sprintf("%.1f", perSecond), OK: true}
	if r.name == "Kontor" {
		c.Aim = "below 20"
	}
	if stopped := stop(); err == nil {
		err = stopped
	}
	if err == nil {
		b.report.Checks = append(b.report.Checks, c)
	}
	return err
}
