package destinations

import (
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/series"
)

// namesMax bounds how many destinations have series of their own: anybody with a key can make some.
const namesMax = 200

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	tokens   *prometheus.CounterVec
	names    *series.Names
}

func newMetrics(registry prometheus.Registerer, d *Destinations) *metrics {
	m := &metrics{
		names: series.NewNames(namesMax),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_destination_requests_total", Help: "Requests to destinations, by what they mean for their tasks and by the first digit of the answer. Look at the attempts of a class that grows.",
		}, []string{"destination", "class", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_destination_request_duration_seconds", Help: "From a request's beginning to the end of its answer. Near the destination's timeout, outcomes become unknown.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"destination"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_egress_refused_total", Help: "Requests that were not sent, because their address is none that may be reached. Somebody tries to reach your own network, or a destination needs allow_private_networks.",
		}, []string{"destination"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_destination_tokens_total", Help: "Access tokens that were fetched. When that fails, look at the client's credentials and the token's URL.",
		}, []string{"result"}),
	}
	m.tokens.WithLabelValues(tokenSucceeded)
	m.tokens.WithLabelValues(tokenFailed)
	registry.MustRegister(m.requests, m.duration, m.refused, m.tokens, newStates(d))
	return m
}

// known begins the figures of a destination at zero.
func (m *metrics) known(name string) {
	name = m.names.Of(name)
	for class, status := range map[Class]int{
		ClassSucceeded: 200, ClassRetry: 500, ClassRateLimited: 400, ClassDeadLetter: 400, ClassHold: 400, ClassUnknown: 0,
	} {
		m.requests.WithLabelValues(name, string(class), statusClass(status))
	}
	m.duration.WithLabelValues(name)
	m.refused.WithLabelValues(name)
}

func (m *metrics) observe(name string, r *Response) {
	name = m.names.Of(name)
	m.requests.WithLabelValues(name, string(r.Class), statusClass(r.Status)).Inc()
	if r.Duration > 0 {
		m.duration.WithLabelValues(name).Observe(r.Duration.Seconds())
	}
	if r.ErrorCode == string(egress.FailureForbidden) {
		m.refused.WithLabelValues(name).Inc()
	}
}

// statusClass is the first digit of a status, or that there was no answer.
func statusClass(status int) string {
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}

// states tell how the destinations are that this node uses, when they are asked for. Several of one name, in different
// organisations, are counted together.
type states struct {
	d       *Destinations
	held    *prometheus.Desc
	keys    *prometheus.Desc
	breaker *prometheus.Desc
	learned *prometheus.Desc
	limit   *prometheus.Desc
}

func newStates(d *Destinations) *states {
	return &states{
		d: d,
		held: prometheus.NewDesc("kontor_destination_held",
			"1 for a destination to which nothing is sent now. For auth: give it valid credentials; for operator: somebody paused it.", []string{"destination", "reason"}, nil),
		keys: prometheus.NewDesc("kontor_destination_limited_keys",
			"Limit keys for which nothing is sent to a destination now, because it asked for that. Many for long: configure less for a limit key.", []string{"destination"}, nil),
		breaker: prometheus.NewDesc("kontor_destination_breaker",
			"1 for the state that a destination's breaker is in. Open for long: the other side is down.", []string{"destination", "state"}, nil),
		learned: prometheus.NewDesc("kontor_destination_learned_ratio",
			"The share of its configured limits that a destination has been seen to bear. Below 1 for long: configure less.", []string{"destination"}, nil),
		limit: prometheus.NewDesc("kontor_destination_rate_limit",
			"Requests of one unit that are configured for a period. What is in force is kontor_limit_slots.", []string{"destination", "period_seconds"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *states) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.held, s.keys, s.breaker, s.learned, s.limit} {
		out <- d
	}
}

type pairOf struct{ name, value string }

// Collect implements prometheus.Collector.
func (s *states) Collect(out chan<- prometheus.Metric) {
	held, breaker, limit := map[pairOf]float64{}, map[pairOf]float64{}, map[pairOf]float64{}
	keys, learned := map[string]float64{}, map[string]float64{}
	now := s.d.Now()
	for _, e := range s.d.known() {
		t := e.Target()
		name := s.d.metrics.names.Of(t.Name)
		keys[name] += float64(e.keysHeld())
		for _, reason := range []HoldReason{HeldByOperator, HeldByRetryAfter, HeldByAuth, HeldByBreaker} {
			held[pairOf{name, string(reason)}] += 0
		}
		if h, is := t.State.Hold(now); is {
			held[pairOf{name, string(h.Reason)}]++
		}
		for _, position := range []BreakerPosition{BreakerClosed, BreakerOpen, BreakerHalfOpen} {
			breaker[pairOf{name, string(position)}] += 0
		}
		breaker[pairOf{name, string(t.State.Breaker.At(now).Position)}]++
		share := float64(t.State.Learned.Share(now)) / wholeShare
		if least, seen := learned[name]; !seen || share < least {
			learned[name] = share
		}
		for _, l := range t.RateLimits {
			if l.Per == PerDestination {
				limit[pairOf{name, strconv.FormatInt(l.PeriodSeconds, 10)}] += float64(l.Limit / max(l.Units, 1))
			}
		}
	}
	for d, values := range map[*prometheus.Desc]map[pairOf]float64{s.held: held, s.breaker: breaker, s.limit: limit} {
		for of, value := range values {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, of.name, of.value)
		}
	}
	for d, values := range map[*prometheus.Desc]map[string]float64{s.keys: keys, s.learned: learned} {
		for name, value := range values {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, name)
		}
	}
}

// known are the destinations that this node uses.
func (d *Destinations) known() []*Entry {
	d.registry.mu.Lock()
	defer d.registry.mu.Unlock()
	return slices.Collect(maps.Values(d.registry.entries))
}
