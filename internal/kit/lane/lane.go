// Package lane turns many concurrent calls into few batches: the slice rule. Callers hand in one command each and
// wait; what has gathered while a batch was committing is the next one. There is no timer: a lone command starts at
// once, and the batch grows by itself when the database is the bottleneck.
package lane

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

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

// Config sizes a lane. All fields but Eager are required.
type Config struct {
	Name     string        // in metrics and faults
	BatchMax int           // commands in one batch
	QueueMax int           // commands waiting; beyond it, callers get a fault of kind unavailable
	Workers  int           // batches in flight at once, at most
	Timeout  time.Duration // bound on one run of a batch
	// Eager begins a further batch when as many commands wait as those under way took, and not only when twice as many do: for
	// batches that are little more than their commit, several of which the disk makes durable together.
	Eager bool
}

// Lane gathers commands. Use Do from any goroutine; Run must be running.
type Lane[In, Out any] struct {
	cfg     Config
	run     RunFunc[In, Out]
	metrics laneMetrics

	mu       sync.Mutex
	base     context.Context  // of every batch; nil until Run begins
	closed   bool             // no new commands
	waiting  []*call[In, Out] // oldest first
	batches  int              // under way
	inFlight int              // commands in them
	working  sync.WaitGroup   // for each batch
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
	return &Lane[In, Out]{cfg: cfg, run: run, metrics: metrics.lane(cfg.Name)}
}

// Do hands in one command and waits for its outcome. When ctx ends first, the caller stops waiting, but a command
// that a batch has taken still takes effect: repeat it under the same idempotency key to learn its outcome.
func (l *Lane[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	ctx, span := l.metrics.begin(ctx, l.cfg.Name)
	out, err := l.do(ctx, in)
	end(span, err)
	return out, err
}

func (l *Lane[In, Out]) do(ctx context.Context, in In) (Out, error) {
	c := &call[In, Out]{ctx: ctx, in: in, since: time.Now(), done: make(chan struct{})} //nolint:forbidigo // a stopwatch
	var none Out
	if err := l.take(c); err != nil {
		return none, err
	}
	select {
	case <-c.done:
		return c.result.Value, c.result.Err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Submit hands in one command and does not wait: then is called with its outcome, by the goroutine that ran the batch, so it must not
// take long. An error means that nothing was handed in.
func (l *Lane[In, Out]) Submit(ctx context.Context, in In, then func(Out, error)) error {
	return l.take(&call[In, Out]{ctx: context.WithoutCancel(ctx), in: in, since: time.Now(), then: then}) //nolint:forbidigo // a stopwatch
}

// take puts a command into the queue, and begins a batch if one may begin.
func (l *Lane[In, Out]) take(c *call[In, Out]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return l.full("is shutting down")
	case len(l.waiting) == l.cfg.QueueMax:
		l.metrics.refused.Inc()
		return l.full("is full")
	}
	l.waiting = append(l.waiting, c)
	l.begin()
	return nil
}

func (l *Lane[In, Out]) full(why string) error {
	return fault.New(fault.Unavailable, "overloaded", "The queue for %s %s; nothing was done. Repeat the request.", l.cfg.Name, why).
		After(time.Second)
}

// Run works until ctx ends, then refuses new commands, finishes those already taken in, and returns. Call it once.
func (l *Lane[In, Out]) Run(ctx context.Context) error {
	l.mu.Lock()
	l.base = context.WithoutCancel(ctx)
	l.begin()
	l.mu.Unlock()
	<-ctx.Done()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.working.Wait()
	return nil
}

// begin starts a batch with what waits, if one may start. The caller holds mu.
func (l *Lane[In, Out]) begin() {
	if batch := l.gather(); batch != nil {
		l.working.Go(func() { l.work(batch) })
	}
}

// work carries out batches, one after the other, for as long as it may take one up.
func (l *Lane[In, Out]) work(batch []*call[In, Out]) {
	for batch != nil {
		l.execute(l.base, batch)
		batch = l.next(len(batch))
	}
}

// next takes up another batch after one, or ends the worker.
func (l *Lane[In, Out]) next(done int) []*call[In, Out] {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches--
	l.inFlight -= done
	return l.gather()
}

// gather takes what is waiting, up to the batch's bound, and leaves out commands whose callers have gone; nil when no batch may
// begin. Beside a batch that is under way another one begins only when enough wait: few large batches cost less than many small
// ones, but nobody is to wait for one that is held up. The caller holds mu.
func (l *Lane[In, Out]) gather() []*call[In, Out] {
	if l.base == nil || len(l.waiting) == 0 || l.batches == l.cfg.Workers || len(l.waiting) < l.enough() {
		return nil
	}
	var batch []*call[In, Out]
	taken := 0
	for _, c := range l.waiting {
		if len(batch) == l.cfg.BatchMax {
			break
		}
		taken++
		if c.ctx.Err() == nil {
			batch = append(batch, c)
		}
	}
	l.waiting = slices.Delete(l.waiting, 0, taken)
	if batch != nil {
		l.batches++
		l.inFlight += len(batch)
	}
	return batch
}

// enough is how many commands must wait for a batch to begin beside those under way. The caller holds mu.
func (l *Lane[In, Out]) enough() int {
	if l.cfg.Eager {
		return l.inFlight
	}
	return 2 * l.inFlight
}

func (l *Lane[In, Out]) execute(ctx context.Context, batch []*call[In, Out]) {
	started := time.Now() //nolint:forbidigo // a stopwatch
	for _, c := range batch {
		l.metrics.wait.Observe(started.Sub(c.since).Seconds())
	}
	l.metrics.size.Observe(float64(len(batch)))
	ctx, ended := l.traceBatch(ctx, batch)
	l.attempt(ctx, batch)
	ended()
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
	tracer             trace.Tracer // nil: no spans
}

type laneMetrics struct {
	size, wait, commit prometheus.Observer
	refused, split     prometheus.Counter
	tracer             trace.Tracer
}

// NewMetrics registers the lanes' figures.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	labels := []string{"lane"}
	seconds := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	m := &Metrics{
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_lane_batch_size", Help: "Commands in one batch. Full batches, and waits that grow, say that the database is at its limit.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
		}, labels),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_lane_wait_seconds", Help: "From a command's arrival to its batch's start. About as long as a commit under load; longer means that the database is at its limit.", Buckets: seconds,
		}, labels),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_lane_commit_seconds", Help: "From a batch's start to its commit. The database's work, and its disk's.", Buckets: seconds,
		}, labels),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_lane_refused_total", Help: "Commands turned away because the queue was full. Callers are told to come again; add nodes, or a faster database.",
		}, labels),
		split: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_lane_split_total", Help: "Batches halved to find the command that failed them. Should be 0: the log has the error, which ought to have been a refusal.",
		}, labels),
	}
	registry.MustRegister(m.size, m.wait, m.commit, m.refused, m.split)
	return m
}

func (m *Metrics) lane(name string) laneMetrics {
	return laneMetrics{
		size: m.size.WithLabelValues(name), wait: m.wait.WithLabelValues(name), commit: m.commit.WithLabelValues(name),
		refused: m.refused.WithLabelValues(name), split: m.split.WithLabelValues(name), tracer: m.tracer,
	}
}
