package destinations

import (
	"sync"
	"time"

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
	held     *prometheus.GaugeVec
	keys     *prometheus.GaugeVec
	learned  *prometheus.GaugeVec
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
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kontor_destination_held", Help: "1 for a destination to which nothing is sent now, by the reason; of those that this node uses.",
		}, []string{"destination", "reason"}),
		keys: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kontor_destination_limited_keys", Help: "Limit keys for which nothing is sent to a destination now, because it asked for that; of those that this node uses.",
		}, []string{"destination"}),
		learned: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kontor_destination_learned_ratio", Help: "The share of its configured limits that a destination has been seen to bear.",
		}, []string{"destination"}),
	}
	registry.MustRegister(m.requests, m.duration, m.tokens, m.held, m.keys, m.learned)
	return m
}

func (m *metrics) observe(name string, r *Response) {
	name = m.label(name)
	m.requests.WithLabelValues(name, string(r.Class)).Inc()
	if r.Duration > 0 {
		m.duration.WithLabelValues(name).Observe(r.Duration.Seconds())
	}
}

// show sets the gauges anew. Of several destinations with one name, in different organisations, the worst off is shown.
func (m *metrics) show(entries []*Entry, now time.Time) {
	m.held.Reset()
	m.keys.Reset()
	least := map[string]int64{}
	for _, e := range entries {
		t := e.Target()
		name := m.label(t.Name)
		if h, held := t.State.Hold(now); held {
			m.held.WithLabelValues(name, string(h.Reason)).Set(1)
		}
		if n := e.keysHeld(); n > 0 {
			m.keys.WithLabelValues(name).Add(float64(n))
		}
		learned := t.State.Learned.Share(now)
		if lowest, seen := least[name]; !seen || learned < lowest {
			least[name] = learned
		}
	}
	m.learned.Reset()
	for name, permille := range least {
		m.learned.WithLabelValues(name).Set(float64(permille) / wholeShare)
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
