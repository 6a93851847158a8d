package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	retries *prometheus.CounterVec
	pool    *pgxpool.Pool
	inUse   *prometheus.Desc
	open    *prometheus.Desc
	waited  *prometheus.Desc
}

func newMetrics(pool *pgxpool.Pool) *metrics {
	return &metrics{
		pool: pool,
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_db_tx_retries_total", Help: "Transactions run again, by the reason.",
		}, []string{"sqlstate"}),
		inUse:  prometheus.NewDesc("kontor_db_pool_in_use", "Connections in use.", nil, nil),
		open:   prometheus.NewDesc("kontor_db_pool_open", "Connections open.", nil, nil),
		waited: prometheus.NewDesc("kontor_db_pool_wait_seconds_total", "Time spent waiting for a connection.", nil, nil),
	}
}

// Register adds the pool's figures to a registry.
func (db *DB) Register(registry prometheus.Registerer) { registry.MustRegister(db.metrics) }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	m.retries.Describe(out)
	out <- m.inUse
	out <- m.open
	out <- m.waited
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.retries.Collect(out)
	s := m.pool.Stat()
	out <- prometheus.MustNewConstMetric(m.inUse, prometheus.GaugeValue, float64(s.AcquiredConns()))
	out <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(s.TotalConns()))
	out <- prometheus.MustNewConstMetric(m.waited, prometheus.CounterValue, s.EmptyAcquireWaitTime().Seconds())
}
