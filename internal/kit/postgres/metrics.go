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
	most    *prometheus.Desc
	waits   *prometheus.Desc
	waited  *prometheus.Desc
}

func newMetrics(pool *pgxpool.Pool) *metrics {
	m := &metrics{
		pool: pool,
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_db_tx_retries_total", Help: "Transactions run again, by SQLSTATE or reason. Deadlocks (40P01) are a fault of ours to report; lost connections are the network's or the server's.",
		}, []string{"sqlstate"}),
		inUse:  prometheus.NewDesc("kontor_db_pool_in_use", "Connections in use. At the most for long: give the node more, if PostgreSQL has them.", nil, nil),
		open:   prometheus.NewDesc("kontor_db_pool_open", "Connections open. All nodes' together stay below PostgreSQL's max_connections.", nil, nil),
		most:   prometheus.NewDesc("kontor_db_pool_max", "Connections this node may have. Set by --database-connections-max.", nil, nil),
		waits:  prometheus.NewDesc("kontor_db_pool_waits_total", "Times that somebody had to wait for a connection. Compare with the time spent waiting.", nil, nil),
		waited: prometheus.NewDesc("kontor_db_pool_wait_seconds_total", "Time spent waiting for a connection. Grows where the pool is too small, or PostgreSQL too slow.", nil, nil),
	}
	for _, cause := range []string{causeAgain, causeConnection, "40001", "40P01", "55P03"} {
		m.retries.WithLabelValues(cause)
	}
	return m
}

// Register adds the pool's figures to a registry.
func (db *DB) Register(registry prometheus.Registerer) { registry.MustRegister(db.metrics) }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	m.retries.Describe(out)
	out <- m.inUse
	out <- m.open
	out <- m.most
	out <- m.waits
	out <- m.waited
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.retries.Collect(out)
	s := m.pool.Stat()
	out <- prometheus.MustNewConstMetric(m.inUse, prometheus.GaugeValue, float64(s.AcquiredConns()))
	out <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(s.TotalConns()))
	out <- prometheus.MustNewConstMetric(m.most, prometheus.GaugeValue, float64(s.MaxConns()))
	out <- prometheus.MustNewConstMetric(m.waits, prometheus.CounterValue, float64(s.EmptyAcquireCount()))
	out <- prometheus.MustNewConstMetric(m.waited, prometheus.CounterValue, s.EmptyAcquireWaitTime().Seconds())
}
