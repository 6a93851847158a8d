package command

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count commands that came with an idempotency key.
type metrics struct {
	requests              *prometheus.CounterVec
	fresh, replay, reused prometheus.Counter
}

func newMetrics() metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kontor_idempotency_requests_total", Help: "Commands with an idempotency key: new, replayed from the record, or a conflict with another request of the same key. Conflicts are faults of a client.",
	}, []string{"result"})
	return metrics{
		requests: requests, fresh: requests.WithLabelValues("new"), replay: requests.WithLabelValues("replay"), reused: requests.WithLabelValues("conflict"),
	}
}

// Register adds the figures of idempotency to a registry.
func (r *Runner) Register(registry prometheus.Registerer) { registry.MustRegister(r.metrics.requests) }

func (m *metrics) count(metas []Meta, outcomes []Outcome) {
	var fresh, replayed, reused int
	for i := range metas {
		switch {
		case metas[i].Key == "":
		case outcomes[i].Answer.Replayed:
			replayed++
		case errors.Is(outcomes[i].Err, ErrKeyReused):
			reused++
		default:
			fresh++
		}
	}
	m.fresh.Add(float64(fresh))
	m.replay.Add(float64(replayed))
	m.reused.Add(float64(reused))
}
