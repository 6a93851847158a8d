package limits

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	granted prometheus.Counter
	refused refusals
	wait    prometheus.Histogram
	refresh *prometheus.HistogramVec
}

// refusals are counters by what was lacking, at hand: Take is called very often.
type refusals struct{ rate, concurrency, undefined prometheus.Counter }

func newMetrics(registry prometheus.Registerer, l *Limits) *metrics {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kontor_limit_refused_total", Help: "Uses that were asked for and could not be had at that moment, by what was lacking.",
	}, []string{"lacking"})
	m := &metrics{
		granted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_limit_granted_total", Help: "Uses of limits that were granted.",
		}),
		refused: refusals{
			rate: refused.WithLabelValues("rate"), concurrency: refused.WithLabelValues("concurrency"), undefined: refused.WithLabelValues("definition"),
		},
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kontor_limit_wait_seconds", Help: "From the first refusal of a limit to its next grant on this node.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600},
		}),
		refresh: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_limit_refresh_seconds", Help: "How long a refresh of limits took, by result.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5},
		}, []string{"result"}),
	}
	known := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_limit_known", Help: "Limits that this node knows.",
	}, func() float64 { l.mu.Lock(); defer l.mu.Unlock(); return float64(len(l.keys)) })
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_limit_live", Help: "Limits of which this node holds or wants slots.",
	}, func() float64 { l.mu.Lock(); defer l.mu.Unlock(); return float64(len(l.alive)) })
	registry.MustRegister(m.granted, refused, m.wait, m.refresh, known, live)
	return m
}

// count counts uses that the window refused.
func (w *window) count(r *refusals, n int64) {
	if w.period == 0 {
		r.concurrency.Add(float64(n))
	} else {
		r.rate.Add(float64(n))
	}
}
