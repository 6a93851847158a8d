package payments

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls      *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	duplicates prometheus.Counter
	mismatches prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_provider_calls_total", Help: "Calls to providers, by call and result.",
		}, []string{"provider", "kind", "call", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_payment_duration_seconds", Help: "From an attempt's beginning to its final answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"provider", "outcome"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_duplicate_charge_detected_total", Help: "References that a provider carried out more than once.",
		}),
		mismatches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_provider_amount_mismatch_total", Help: "Answers that name another amount than was asked for.",
		}),
	}
	registry.MustRegister(m.calls, m.duration, m.duplicates, m.mismatches)
	return m
}

// stopwatch is the monotonic clock.
func stopwatch() time.Time {
	return time.Now() //nolint:forbidigo // a stopwatch
}

func (m *metrics) observe(provider string, w *work, o outcome) {
	for _, c := range o.calls {
		m.calls.WithLabelValues(provider, string(w.attempt.Kind), c.Call, string(c.Result)).Inc()
	}
	if o.decision == decideFinal {
		m.duration.WithLabelValues(provider, string(o.answer.Result)).Observe(time.Since(w.attempt.began).Seconds())
	}
}
