package payments

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// The index holds nothing but the attempts that are asked for here.
const openAttemptsSQL = `
	select a.state, count(*), extract(epoch from statement_timestamp() - min(a.created_at))::float8
	from (
		select o.state, o.created_at from payment_attempt o where o.state in ('processing', 'unknown') order by o.org_id, o.payment_id limit $1
	) a
	group by a.state`

// openAttemptsMax bounds how many attempts are counted.
const openAttemptsMax = 10_000

// Measure counts what is under way at all nodes, up to a bound.
func (p *Payments) Measure(ctx context.Context) error {
	counts, oldest := map[string]float64{string(AttemptProcessing): 0, string(AttemptUnknown): 0}, 0.0
	rows, err := p.DB.Pool().Query(ctx, openAttemptsSQL, openAttemptsMax)
	if err == nil {
		var state string
		var n int64
		var seconds float64
		_, err = pgx.ForEachRow(rows, []any{&state, &n, &seconds}, func() error {
			counts[state], oldest = float64(n), max(oldest, seconds)
			return nil
		})
	}
	if err != nil {
		p.metrics.open.set(nil, 0)
		return fmt.Errorf("count attempts under way: %w", err)
	}
	p.metrics.open.set(counts, oldest)
	return nil
}

// openAttempts tells what was measured last. What cannot be measured is not told.
type openAttempts struct {
	count  *prometheus.Desc
	oldest *prometheus.Desc

	mu      sync.Mutex
	counts  map[string]float64
	seconds float64
}

func newOpenAttempts() *openAttempts {
	return &openAttempts{
		count: prometheus.NewDesc("kontor_payment_attempts_open",
			"Attempts of all nodes whose outcome is not final, counted up to a bound. Unknown ones are looked up at the provider: ask it, when they stay.",
			[]string{"state"}, nil),
		oldest: prometheus.NewDesc("kontor_payment_oldest_open_seconds",
			"How long ago the oldest attempt was begun whose outcome is not final. Above some minutes: the provider does not tell.", nil, nil),
	}
}

func (o *openAttempts) set(counts map[string]float64, seconds float64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts, o.seconds = counts, seconds
}

// Describe implements prometheus.Collector.
func (o *openAttempts) Describe(out chan<- *prometheus.Desc) {
	out <- o.count
	out <- o.oldest
}

// Collect implements prometheus.Collector.
func (o *openAttempts) Collect(out chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		return
	}
	for state, n := range o.counts {
		out <- prometheus.MustNewConstMetric(o.count, prometheus.GaugeValue, n, state)
	}
	out <- prometheus.MustNewConstMetric(o.oldest, prometheus.GaugeValue, o.seconds)
}
