package events

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	written prometheus.Counter
	lag     *prometheus.Desc

	mu       sync.Mutex
	measured bool
	seconds  float64
	samples  []sample // of moments that readers have not come up to, oldest first
}

// sample says that every transaction which had begun by a moment has a lower number than next.
type sample struct {
	at   time.Time
	next int64
}

// samplesMax bounds how many moments are kept; while a transaction is open for longer the lag is still right.
const samplesMax = 240

func newMetrics() *metrics {
	return &metrics{
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_events_written_total", Help: "Events that this node has written. A transaction that ran again counts again.",
		}),
		lag: prometheus.NewDesc("kontor_event_reading_lag_seconds",
			"How far readers of the event log are behind its writers. Above a minute: end the transaction that is open for so long.", nil, nil),
	}
}

// Register adds the log's figures to a registry.
func (e *Events) Register(registry prometheus.Registerer) { registry.MustRegister(e.metrics) }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	m.written.Describe(out)
	out <- m.lag
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.written.Collect(out)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.measured {
		out <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, m.seconds)
	}
}

const horizonSQL = `select pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint from pg_current_snapshot() s`

// Measure finds how far readers are behind. It remembers which transactions there were at each earlier look, and takes the last look
// all of whose transactions have ended: so it is right up to the time between two looks.
func (e *Events) Measure(ctx context.Context) error {
	var oldest, next int64
	if err := e.db.Pool().QueryRow(ctx, horizonSQL).Scan(&oldest, &next); err != nil {
		e.metrics.forget()
		return fmt.Errorf("measure the lag of readers: %w", err)
	}
	e.metrics.look(time.Now(), oldest, next) //nolint:forbidigo // a stopwatch
	return nil
}

func (m *metrics) look(now time.Time, oldest, next int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.samples) > 0 && m.samples[0].next <= oldest {
		m.samples = m.samples[1:]
	}
	m.measured, m.seconds = true, 0
	if len(m.samples) > 0 {
		m.seconds = now.Sub(m.samples[0].at).Seconds()
	}
	if oldest < next && len(m.samples) < samplesMax {
		m.samples = append(m.samples, sample{now, next})
	}
}

func (m *metrics) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.measured = false
}
