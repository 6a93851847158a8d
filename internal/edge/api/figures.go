package api

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// newDurations makes the figure of the edge: how long requests took. Name and labels are OpenTelemetry's.
func newDurations(registry prometheus.Registerer) *prometheus.HistogramVec {
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_server_request_duration_seconds", Help: "From a request's head to its answer's end. 503 means that the node is overloaded or has no database; other 5xx are faults of ours, which the log explains.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"http_route", "http_request_method", "http_response_status_code"})
	registry.MustRegister(durations)
	return durations
}

// newActive makes the figure of how many requests are under way.
func newActive(registry prometheus.Registerer) prometheus.Gauge {
	active := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "http_server_active_requests", Help: "Requests under way. When they grow and durations do, the node or its database is at its limit.",
	})
	registry.MustRegister(active)
	return active
}

// figures are the durations of one route. Each status is looked up by its labels once, then by its number.
type figures struct {
	durations prometheus.ObserverVec
	statuses  [600]atomic.Pointer[prometheus.Observer]
}

func newFigures(durations *prometheus.HistogramVec, route, method string) *figures {
	return &figures{durations: durations.MustCurryWith(prometheus.Labels{"http_route": route, "http_request_method": method})}
}

func (f *figures) observe(status int, took time.Duration) {
	if status < 0 || status >= len(f.statuses) {
		status = 0
	}
	observer := f.statuses[status].Load()
	if observer == nil {
		found := f.durations.WithLabelValues(strconv.Itoa(status))
		observer = &found
		f.statuses[status].Store(observer)
	}
	(*observer).Observe(took.Seconds())
}
