package limits

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/series"
)

// namesMax bounds how many limits have series of their own.
const namesMax = 300

type metrics struct {
	granted prometheus.Counter
	refused refusals
	wait    prometheus.Histogram
	refresh *prometheus.HistogramVec
	names   *series.Names
	limits  map[string]*figures // by label; guarded by Limits.mu
}

// refusals are counters by what was lacking, at hand: Take is called very often.
type refusals struct{ rate, concurrency, undefined prometheus.Counter }

// figures are those of a limit's label. Guarded by Limits.mu, so that counting costs nothing more.
type figures struct {
	used   int64   // units
	waited float64 // seconds
}

// The results of a refresh.
const (
	refreshDone   = "done"
	refreshFailed = "failed"
)

func newMetrics(registry prometheus.Registerer, l *Limits) *metrics {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kontor_limit_refused_total", Help: "Uses that were asked for and could not be had at that moment, by what was lacking. A definition that is lacking for long is a fault of ours to report.",
	}, []string{"lacking"})
	m := &metrics{
		names: series.NewNames(namesMax), limits: map[string]*figures{},
		granted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_limit_granted_total", Help: "Uses of limits that were granted. Compare with those refused: work waits for limits, which may be as you want it.",
		}),
		refused: refusals{
			rate: refused.WithLabelValues("rate"), concurrency: refused.WithLabelValues("concurrency"), undefined: refused.WithLabelValues("definition"),
		},
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kontor_limit_wait_seconds", Help: "From the first refusal of a limit to its next grant on this node. Longer than the limit's period: other nodes hold its slots.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600},
		}),
		refresh: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_limit_refresh_seconds", Help: "How long a refresh of limits took. Nothing under a limit is begun while they fail: look at the database.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5},
		}, []string{"result"}),
	}
	m.refresh.WithLabelValues(refreshDone)
	m.refresh.WithLabelValues(refreshFailed)
	known := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_limit_known", Help: "Limits that this node knows. They are forgotten when nobody uses them for ten minutes.",
	}, func() float64 { l.mu.Lock(); defer l.mu.Unlock(); return float64(len(l.keys)) })
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_limit_live", Help: "Limits of which this node holds or wants slots. Each costs a share of a refresh a second.",
	}, func() float64 { l.mu.Lock(); defer l.mu.Unlock(); return float64(len(l.alive)) })
	registry.MustRegister(m.granted, refused, m.wait, m.refresh, known, live, newSlots(l))
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

// lacked is for how long callers are refused. Who has not come back for a while wants nothing any more.
func (k *key) lacked(now moment) time.Duration {
	return k.lackAt.until(min(now, k.lacksAt.plus(idleAfter)))
}

// hasEnough ends the time in which callers are refused.
func (k *key) hasEnough(now moment) {
	k.figures.waited += k.lacked(now).Seconds()
	k.lackAt = 0
}

// of finds the figures of a limit. The caller holds mu.
func (m *metrics) of(name Key) *figures {
	label, _ := m.label(name)
	f := m.limits[label]
	if f == nil {
		f = &figures{}
		m.limits[label] = f
	}
	return f
}

// label is what a limit is called: queue/emails, destination/stripe; those of all limit keys of a destination are one, and no whole
// limit.
func (m *metrics) label(name Key) (label string, whole bool) {
	if kind, rest, _ := strings.Cut(name.Name, "/"); strings.Contains(rest, "/") {
		rest, _, _ = strings.Cut(rest, "/")
		return m.names.Of(kind + "/" + rest + "/*"), false
	}
	label = m.names.Of(name.Name)
	return label, label != series.Other
}

// slots tell of each limit how much it allows and how much was used of it, when they are asked for.
type slots struct {
	l      *Limits
	limit  *prometheus.Desc
	used   *prometheus.Desc
	waited *prometheus.Desc
}

func newSlots(l *Limits) *slots {
	return &slots{
		l: l,
		limit: prometheus.NewDesc("kontor_limit_slots",
			"Units that may be used in a period, as this node knows it; of a period of 0, at once. For a destination it is what was learned, at most what is configured.",
			[]string{"limit", "period_seconds"}, nil),
		used: prometheus.NewDesc("kontor_limit_used_total",
			"Units of a limit that this node has used. The rate of all nodes, by the slots of a period, says how much of the limit is used.", []string{"limit"}, nil),
		waited: prometheus.NewDesc("kontor_limit_waited_seconds_total",
			"Time in which this node wanted more of a limit than it had. Near one second a second: the limit is what work waits for.", []string{"limit"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *slots) Describe(out chan<- *prometheus.Desc) {
	out <- s.limit
	out <- s.used
	out <- s.waited
}

// Collect implements prometheus.Collector.
func (s *slots) Collect(out chan<- prometheus.Metric) {
	type windowOf struct {
		label  string
		period time.Duration
	}
	most, counts := map[windowOf]float64{}, map[string]figures{}
	now := s.l.now()
	s.l.mu.Lock()
	for label, f := range s.l.metrics.limits {
		counts[label] = *f
	}
	for name, k := range s.l.keys {
		label, whole := s.l.metrics.label(name)
		for _, w := range k.windows {
			if whole {
				most[windowOf{label, w.period}] += float64(w.limit)
			}
		}
		if f := counts[label]; k.lackAt > 0 {
			f.waited += k.lacked(now.mono).Seconds()
			counts[label] = f
		}
	}
	s.l.mu.Unlock()
	for of, value := range most {
		period := strconv.FormatFloat(of.period.Seconds(), 'g', -1, 64)
		out <- prometheus.MustNewConstMetric(s.limit, prometheus.GaugeValue, value, of.label, period)
	}
	for label, f := range counts {
		out <- prometheus.MustNewConstMetric(s.used, prometheus.CounterValue, float64(f.used), label)
		out <- prometheus.MustNewConstMetric(s.waited, prometheus.CounterValue, f.waited, label)
	}
}
