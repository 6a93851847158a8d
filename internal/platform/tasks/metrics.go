package tasks

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	attempts    *prometheus.CounterVec
	givenUp     *prometheus.CounterVec
	sweeps      *prometheus.CounterVec
	leasesLost  prometheus.Counter
	oldestReady prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, t *Tasks) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_task_attempts_total", Help: "Attempts at tasks that have ended, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		givenUp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_task_given_up_total", Help: "Tasks that have failed for good.",
		}, []string{"kind"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_sweep_runs_total", Help: "Runs of the regular sweeps, by result.",
		}, []string{"sweep", "result"}),
		leasesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kontor_task_leases_lost_total", Help: "Leases of other nodes that this node found run out.",
		}),
		oldestReady: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kontor_task_oldest_ready_seconds", Help: "How long the oldest available task of the first priority has waited for a node.",
		}),
	}
	running := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_task_running", Help: "Tasks that this node works on.",
	}, func() float64 { t.mu.Lock(); defer t.mu.Unlock(); return float64(t.running) })
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kontor_task_waiting", Help: "Tasks that this node holds and has no worker for yet.",
	}, func() float64 { t.mu.Lock(); defer t.mu.Unlock(); return float64(t.waiting) })
	registry.MustRegister(m.attempts, m.givenUp, m.sweeps, m.leasesLost, m.oldestReady, running, waiting)
	return m
}
