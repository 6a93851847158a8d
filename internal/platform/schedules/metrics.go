package schedules

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	ticks *prometheus.CounterVec
	late  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_schedule_ticks_total", Help: "Ticks made into tasks by this node: in time, or made up for.",
		}, []string{"missed"}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kontor_schedule_lateness_seconds", Help: "From a tick's time to its task, for ticks in time.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
	registry.MustRegister(m.ticks, m.late)
	return m
}
