package schedules

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	inTime, madeUp prometheus.Counter
	misfires       prometheus.Counter
	late           prometheus.Histogram
	next           atomic.Pointer[time.Time] // when the next tick is due, by this node's clock as of the last look; nil: never
}

func newMetrics(registry prometheus.Registerer) *metrics {
	ticks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kontor_schedule_ticks_total", Help: "Ticks made into tasks by this node: in time, or missed and made up for.",
	}, []string{"missed"})
	m := &metrics{
		inTime: ticks.WithLabelValues("false"), madeUp: ticks.WithLabelValues("true"),
		misfires: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_schedule_misfires_total", Help: "Times that a schedule had missed ticks, whether they were made up for or not. No node with workers was there, or none reached the database.",
		}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kontor_schedule_lateness_seconds", Help: "From a tick's time to its task, for ticks in time. Above a second: the node or the database is overloaded.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_schedule_lag_seconds", Help: "How long the earliest tick that is due waits to be made into a task. Above some seconds at all nodes: schedules stand still, the log says why.",
	}, m.lag)
	registry.MustRegister(ticks, m.misfires, m.late, lag)
	return m
}

// noteNext takes what a look has found: in how many microseconds the next tick is due, if there is one.
func (m *metrics) noteNext(found []int64) {
	if len(found) == 0 {
		m.next.Store(nil)
		return
	}
	at := time.Now().Add(time.Duration(min(found[0], time.Hour.Microseconds())) * time.Microsecond) //nolint:forbidigo // a stopwatch
	m.next.Store(&at)
}

// lag grows while the node cannot look, too.
func (m *metrics) lag() float64 {
	if at := m.next.Load(); at != nil {
		return max(0, time.Since(*at).Seconds())
	}
	return 0
}
