package tasks

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/series"
)

// queueNamesMax bounds how many queues have series of their own: anybody with a key can make queues.
const queueNamesMax = 100

type metrics struct {
	created    *prometheus.CounterVec
	wait       *prometheus.HistogramVec
	attempts   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	retries    *prometheus.CounterVec
	dead       *prometheus.CounterVec
	sweeps     *prometheus.CounterVec
	leasesLost prometheus.Counter
	names      *series.Names
	gauges     *gauges

	mu     sync.Mutex
	queues map[string]*queueFigures // by label
}

// queueFigures are the figures of a queue, found once a line: a task's own cost no look-up.
type queueFigures struct {
	created prometheus.Counter
	wait    prometheus.Observer
}

// kindFigures are the figures of a kind, found when the kind is made known.
type kindFigures struct {
	attempts map[string]prometheus.Counter // by outcome
	dead     map[string]prometheus.Counter // by reason
	retries  prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(registry prometheus.Registerer, t *Tasks) *metrics {
	m := &metrics{
		names: series.NewNames(queueNamesMax), queues: map[string]*queueFigures{}, gauges: newGauges(t),
		created: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_task_created_total", Help: "Tasks queued through this node. Compare with attempts that succeeded: a gap that grows is a backlog.",
		}, []string{"queue"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_task_wait_seconds", Help: "From when a task could be begun to the beginning of its attempt. Long waits want more workers, or wait for a limit, hold or pause.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
		}, []string{"queue"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_task_attempts_total", Help: "Attempts at tasks that have ended. Look at a kind's error codes in the history when failed, timed_out or unknown grow.",
		}, []string{"kind", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_task_duration_seconds", Help: "How long attempts at tasks took. What takes long keeps a worker.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}, []string{"kind"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_task_retries_total", Help: "Failed attempts after which the task will be tried again. Many of them say that the other side is unwell.",
		}, []string{"kind"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_task_dead_letters_total", Help: "Tasks that have failed for good. Look at the groups of dead letters, mend the cause, replay.",
		}, []string{"kind", "reason"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_sweep_runs_total", Help: "Runs of the regular sweeps. The log says why one has failed.",
		}, []string{"sweep", "result"}),
		leasesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_task_leases_lost_total", Help: "Leases that this node found run out. Some node died at work, or lost the database for longer than a lease.",
		}),
	}
	registry.MustRegister(m.created, m.wait, m.attempts, m.duration, m.retries, m.dead, m.sweeps, m.leasesLost, m.gauges)
	m.ofQueue(DefaultQueue)
	return m
}

// ofQueue finds the figures of a queue.
func (m *metrics) ofQueue(name string) *queueFigures {
	label := m.names.Of(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.queues[label]
	if f == nil {
		f = &queueFigures{created: m.created.WithLabelValues(label), wait: m.wait.WithLabelValues(label)}
		m.queues[label] = f
	}
	return f
}

// ofKind makes the figures of a kind, each at zero.
func (m *metrics) ofKind(kind string) *kindFigures {
	f := &kindFigures{
		attempts: map[string]prometheus.Counter{}, dead: map[string]prometheus.Counter{},
		retries: m.retries.WithLabelValues(kind), duration: m.duration.WithLabelValues(kind),
	}
	for _, outcome := range []string{
		OutcomeSucceeded, OutcomeFailed, OutcomeSnoozed, OutcomeTimedOut, OutcomeUnknown, OutcomeRateLimited, OutcomeHeld, OutcomeInterrupted,
		OutcomeCancelled, OutcomeExpired,
	} {
		f.attempts[outcome] = m.attempts.WithLabelValues(kind, outcome)
	}
	for _, reason := range []string{DeadMaxAttempts, DeadMaxRetryDuration, DeadMaxRateLimited, DeadNonRetryable, DeadExpired, DeadPoison} {
		f.dead[reason] = m.dead.WithLabelValues(kind, reason)
	}
	return f
}

// count counts an attempt's end.
func (f *kindFigures) count(e ended) {
	if counter := f.attempts[e.outcome]; counter != nil {
		counter.Inc()
	}
	if e.again {
		f.retries.Inc()
	}
	if counter := f.dead[e.dead]; counter != nil {
		counter.Inc()
	}
}

// ended is what the figures tell of an attempt's end.
type ended struct {
	outcome string
	again   bool   // it failed, and the task will be tried again
	dead    string // why it will not be
}

func (c *Completion) ended() ended {
	return ended{outcome: c.Outcome, again: !c.Done && !excuses(c.Outcome), dead: c.Dead}
}

// noteCreated counts tasks that were queued. Neighbours are mostly of one queue.
func (m *metrics) noteCreated(list []Task) {
	for from, i := 0, 1; i <= len(list); i++ {
		if i < len(list) && list[i].figures == list[from].figures {
			continue
		}
		if f := list[from].figures; f != nil {
			f.created.Add(float64(i - from))
		}
		from = i
	}
}

// began notes how long a task has waited for its attempt.
func (t *Task) began(now time.Time) {
	if t.figures != nil {
		t.figures.wait.Observe((t.waited + max(0, now.Sub(t.since))).Seconds())
	}
}
