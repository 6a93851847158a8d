package destinations

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// namesMax bounds how many destinations have series of their own; all others share one.
const (
	namesMax  = 200
	nameOther = "other"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	tokens   *prometheus.CounterVec
	mu       sync.Mutex
	names    map[string]bool
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		names: map[string]bool{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_destination_requests_total", Help: "Requests to destinations, by what they came to.",
		}, []string{"destination", "class"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_destination_request_duration_seconds", Help: "From a request's beginning to the end of its answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"destination"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_destination_tokens_total", Help: "Access tokens that were fetched, by result.",
		}, []string{"result"}),
	}
	registry.MustRegister(m.requests, m.duration, m.tokens)
	return m
}

func (m *metrics) observe(name string, r *Response) {
	name = m.label(name)
	m.requests.WithLabelValues(name, string(r.Class)).Inc()
	if r.Duration > 0 {
		m.duration.WithLabelValues(name).Observe(r.Duration.Seconds())
	}
}

// label is the destination's name, or one for all that came too late.
func (m *metrics) label(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.names[name] {
		if len(m.names) >= namesMax {
			return nameOther
		}
		m.names[name] = true
	}
	return name
}
