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
	open       *openAttempts
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		open: newOpenAttempts(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_provider_calls_total", Help: "Calls to providers. Results that are unknown or limited, and grow, are the provider's to explain.",
		}, []string{"provider", "kind", "call", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_payment_duration_seconds", Help: "From an attempt's beginning to its final answer. What takes long is the provider, or waits for workers.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"provider", "outcome"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_duplicate_charge_detected_total", Help: "References that a provider carried out more than once. Must be 0: refund what was charged twice.",
		}),
		mismatches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_provider_amount_mismatch_total", Help: "Answers that name another amount than was asked for. Must be 0: ask the provider.",
		}),
	}
	registry.MustRegister(m.calls, m.duration, m.duplicates, m.mismatches, m.open)
	return m
}

// stopwatch is the monotonic clock.
func stopwatch() time.Time {
	return time.Now() //nolint:forbidigo // a stopwatch
}

// known begins the figures of a provider at zero.
func (m *metrics) known(provider string) {
	for _, result := range []Result{ResultSucceeded, ResultDeclined} {
		m.duration.WithLabelValues(provider, string(result))
	}
	for _, kind := range []Kind{KindAuthorise, KindCapture, KindRefund, KindVoid} {
		for _, call := range []string{callSend, callLookUp} {
			for _, result := range []Result{
				ResultSucceeded, ResultDeclined, ResultPending, ResultNotFound, ResultNotSent, ResultLimited, ResultUnknown,
			} {
				m.calls.WithLabelValues(provider, string(kind), call, string(result))
			}
		}
	}
}

func (m *metrics) observe(provider string, w *work, o outcome) {
	for _, c := range o.calls {
		m.calls.WithLabelValues(provider, string(w.attempt.Kind), c.Call, string(c.Result)).Inc()
	}
	if o.decision == decideFinal {
		m.duration.WithLabelValues(provider, string(o.answer.Result)).Observe(time.Since(w.attempt.began).Seconds())
	}
}
