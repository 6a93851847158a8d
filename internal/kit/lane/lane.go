// Package lane turns many concurrent calls into few batches: the slice rule. Callers hand in one command each and
// wait; a worker takes what has gathered while the previous batch was committing and runs it as one. There is no
// timer: a lone command starts at once, and the batch grows by itself when the database is the bottleneck.
package lane

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// Result is one command's outcome within a batch.
type Result[Out any] struct {
	Value Out
	Err   error
}

// RunFunc runs a batch and returns exactly one Result a command, in the same order, or an error when the batch
// as a whole had no effect. It may be called again with any part of the batch.
type RunFunc[In, Out any] func(ctx context.Context, batch []In) ([]Result[Out], error)

// Config sizes a lane. All fields are required.
type Config struct {
	Name     string        // in metrics and faults
	BatchMax int           // commands in one batch
	QueueMax int           // commands waiting; beyond it, callers get a fault of kind unavailable
	Workers  int           // batches in flight at once
	Timeout  time.Duration // bound on one run of a batch
}

// Lane gathers commands. Use Do from any goroutine; Run must be running.
type Lane[In, Out any] struct {
	cfg     Config
	run     RunFunc[In, Out]
	queue   chan *call[In, Out]
	metrics laneMetrics
	closed  chan struct{} // no new commands
	drained chan struct{} // nothing will run any more
}

type call[In, Out any] struct {
	ctx    context.Context
	in     In
	since  time.Time
	result Result[Out]
	done   chan struct{} // nil: then is told
	then   func(Out, error)
}

// tell gives the caller the outcome.
func (c *call[In, Out]) tell() {
	if c.done == nil {
		c.then(c.result.Value, c.result.Err)
		return
	}
	close(c.done)
}

// New makes a lane. run must be safe for concurrent calls when cfg.Workers is above one.
func New[In, Out any](cfg Config, metrics *Metrics, run RunFunc[In, Out]) *Lane[In, Out] {
	return &Lane[In, Out]{
		cfg: cfg, run: run, metrics: metrics.lane(cfg.Name),
		queue:  make(chan *call[In, Out], cfg.QueueMax),
		closed: make(chan struct{}), drained: make(chan struct{}),
	}
}

// Do hands in one command and waits for its outcome. When ctx ends first, the caller stops waiting, but a command
// that a batch has taken still takes effect: repeat it under the same idempotency key to learn its outcome.
func (l *Lane[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	c := &call[In, Out]{ctx: ctx, in: in, since: time.Now(), done: make(chan struct{})} //nolint:forbidigo // a stopwatch
	var none Out
	select {
	case <-l.closed:
		return none, l.full("is shutting down")
	default:
	}
	select {
	case l.queue <- c:
	default:
		l.metrics.refused.Inc()
		return none, l.full("is full")
	}
	select {
	case <-c.done:
		return c.result.Value, c.result.Err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-l.drained:
	}
	select {
	case <-c.done:
		return c.result.Value, c.result.Err
	default: // came in between the last batch and the end
		return none, l.full("is shutting down")
	}
}

// Submit hands in one command and does not wait: then is called with its outcome, by the goroutine that ran the batch, so it must not
// take long. An error means that nothing was handed in. A command handed in while Run ends may never be run; whoever
// submits waits for its outcomes before he ends Run.
func (l *Lane[In, Out]) Submit(ctx context.Context, in In, then func(Out, error)) error {
	c := &call[In, Out]{ctx: context.WithoutCancel(ctx), in: in, since: time.Now(), then: then} //nolint:forbidigo // a stopwatch
	select {
	case <-l.closed:
		return l.full("is shutting down")
	default:
	}
	select {
	case l.queue <- c:
		return nil
	default:
		l.metrics.refused.Inc()
		return l.full("is full")
	}
}

func (l *Lane[In, Out]) full(why string) error {
	return fault.New(fault.Unavailable, "overloaded", "The queue for %s %s; nothing was done. Repeat the request.", l.cfg.Name, why).
		After(time.Second)
}

// Run works until ctx ends, then refuses new commands, finishes those already taken in, and returns. Call it once.
func (l *Lane[In, Out]) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range l.cfg.Workers {
		workers.Go(func() { l.work(ctx) })
	}
	workers.Wait()
	close(l.closed)
	defer close(l.drained)
	for {
		batch := l.gather(nil)
		if len(batch) == 0 {
			return nil
		}
		l.execute(context.WithoutCancel(ctx), batch)
	}
}

func (l *Lane[In, Out]) work(ctx context.Context) {
	detached := context.WithoutCancel(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-l.queue:
			l.execute(detached, l.gather(first))
		}
	}
}

// gather takes what is waiting, up to the batch's bound, and leaves out commands whose callers have gone.
func (l *Lane[In, Out]) gather(first *call[In, Out]) []*call[In, Out] {
	batch := make([]*call[In, Out], 0, min(l.cfg.BatchMax, len(l.queue)+1))
	if first != nil && first.ctx.Err() == nil {
		batch = append(batch, first)
	}
	for len(batch) < l.cfg.BatchMax {
		select {
		case c := <-l.queue:
			if c.ctx.Err() == nil {
				batch = append(batch, c)
			}
		default:
			return batch
		}
	}
	return batch
}

func (l *Lane[In, Out]) execute(ctx context.Context, batch []*call[In, Out]) {
	if len(batch) == 0 {
		return
	}
	started := time.Now() //nolint:forbidigo // a stopwatch
	for _, c := range batch {
		l.metrics.wait.Observe(started.Sub(c.since).Seconds())
	}
	l.metrics.size.Observe(float64(len(batch)))
	l.attempt(ctx, batch)
	l.metrics.commit.Observe(time.Since(started).Seconds())
}

// attempt runs the batch; when it fails as a whole it halves it until the culprit stands alone, so that one bad
// command never fails its neighbours. An unavailable database is nobody's fault and is not halved.
func (l *Lane[In, Out]) attempt(ctx context.Context, batch []*call[In, Out]) {
	results, err := l.runOnce(ctx, batch)
	switch {
	case err == nil:
		for i, c := range batch {
			c.result = results[i]
			c.tell()
		}
	case len(batch) == 1 || fault.KindOf(err) == fault.Unavailable || errors.Is(err, context.DeadlineExceeded):
		for _, c := range batch {
			c.result.Err = err
			c.tell()
		}
	default:
		l.metrics.split.Inc()
		half := len(batch) / 2
		l.attempt(ctx, batch[:half])
		l.attempt(ctx, batch[half:])
	}
}

func (l *Lane[In, Out]) runOnce(ctx context.Context, batch []*call[In, Out]) (results []Result[Out], err error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Internal, "internal", "A command could not be carried out.").Because(panicError{r})
		}
	}()
	commands := make([]In, len(batch))
	for i, c := range batch {
		commands[i] = c.in
	}
	results, err = l.run(ctx, commands)
	if err == nil && len(results) != len(batch) {
		err = errors.New("lane " + l.cfg.Name + ": the batch returned another number of results than commands")
	}
	return results, err
}

// Metrics are the figures of all lanes of a process.
type Metrics struct {
	size, wait, commit *prometheus.HistogramVec
	refused, split     *prometheus.CounterVec
}

type laneMetrics struct {
	size, wait, commit prometheus.Observer
	refused, split     prometheus.Counter
}

// NewMetrics registers the lanes' figures.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	labels := []string{"lane"}
	seconds := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	m := &Metrics{
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_lane_batch_size", Help: "Commands in one batch.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
		}, labels),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_lane_wait_seconds", Help: "From a command's arrival to its batch's start.", Buckets: seconds,
		}, labels),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_lane_commit_seconds", Help: "From a batch's start to its commit.", Buckets: seconds,
		}, labels),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_lane_refused_total", Help: "Commands turned away because the queue was full.",
		}, labels),
		split: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_lane_split_total", Help: "Batches halved to find the command that failed them.",
		}, labels),
	}
	registry.MustRegister(m.size, m.wait, m.commit, m.refused, m.split)
	return m
}

func (m *Metrics) lane(name string) laneMetrics {
	return laneMetrics{
		size: m.size.WithLabelValues(name), wait: m.wait.WithLabelValues(name), commit: m.commit.WithLabelValues(name),
		refused: m.refused.WithLabelValues(name), split: m.split.WithLabelValues(name),
	}
}
