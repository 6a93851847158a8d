package tasks

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// The lines with available tasks, one index probe each, as look finds them; of each the oldest task of every priority, and how many
// there are: up to a share of $2, so that neither a long backlog nor many lines make it dear.
const backlogSQL = `
	with recursive lines as (
		(select l.line, l.org_id, l.task_id from task_live l where l.state = 'available' order by l.line limit 1)
		union all
		select n.line, n.org_id, n.task_id
		from lines p
		cross join lateral (
			select l.line, l.org_id, l.task_id from task_live l where l.state = 'available' and l.line > p.line order by l.line limit 1
		) n
	), chosen as materialized (
		select line, org_id, task_id from lines limit $1
	)
	select k.queue, sum(c.n)::bigint, max(o.seconds)::float8
	from chosen s
	join task k on k.org_id = s.org_id and k.id = s.task_id
	cross join lateral (
		select count(*) as n from (
			select from task_live l where l.line = s.line and l.state = 'available' limit 1 + $2 / (select count(*) from chosen)
		) l
	) c
	cross join lateral (
		select max(extract(epoch from statement_timestamp() - p.due_at)) as seconds
		from (values (1::smallint), (2::smallint), (3::smallint), (4::smallint)) as v (priority)
		cross join lateral (
			select l.due_at from task_live l where l.line = s.line and l.state = 'available' and l.priority = v.priority order by l.due_at limit 1
		) p
	) o
	group by k.queue`

const openLettersSQL = `
	select d.queue, count(*)
	from (
		select o.queue from task_dead_letter o where o.resolution = 'open' order by o.org_id, o.dead_at, o.task_id limit $1
	) d
	group by d.queue`

// The bounds of one look at what waits.
const (
	backlogLinesMax = 2000
	backlogCountMax = 20_000
	openLettersMax  = 10_000
)

// Measure reads what only the database knows of all nodes' tasks: what waits, and what has failed for good and is not resolved. Its
// cost is bounded, whatever there is.
func (t *Tasks) Measure(ctx context.Context) error {
	ready, oldest, err := t.readBacklog(ctx)
	if err != nil {
		t.metrics.gauges.forget()
		return fmt.Errorf("measure the backlog: %w", err)
	}
	letters, err := t.readOpenLetters(ctx)
	if err != nil {
		t.metrics.gauges.forget()
		return fmt.Errorf("count dead letters: %w", err)
	}
	t.metrics.gauges.set(ready, oldest, letters)
	return nil
}

func (t *Tasks) readBacklog(ctx context.Context) (ready, oldest map[string]float64, err error) {
	ready, oldest = map[string]float64{}, map[string]float64{}
	rows, err := t.db.Pool().Query(ctx, backlogSQL, backlogLinesMax, backlogCountMax)
	if err != nil {
		return nil, nil, err
	}
	var queue string
	var n int64
	var seconds *float64
	_, err = pgx.ForEachRow(rows, []any{&queue, &n, &seconds}, func() error {
		label := t.metrics.names.Of(queue)
		ready[label] += float64(n)
		if seconds != nil {
			oldest[label] = max(oldest[label], *seconds)
		}
		return nil
	})
	return ready, oldest, err
}

func (t *Tasks) readOpenLetters(ctx context.Context) (map[string]float64, error) {
	letters := map[string]float64{}
	rows, err := t.db.Pool().Query(ctx, openLettersSQL, openLettersMax)
	if err != nil {
		return nil, err
	}
	var queue string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&queue, &n}, func() error {
		letters[t.metrics.names.Of(queue)] += float64(n)
		return nil
	})
	return letters, err
}

// gauges are what is so now. What this node holds is counted when it is asked for; what the database knows, as it was measured last.
type gauges struct {
	tasks   *Tasks
	running *prometheus.Desc
	waiting *prometheus.Desc
	ready   *prometheus.Desc
	oldest  *prometheus.Desc
	letters *prometheus.Desc

	mu       sync.Mutex
	measured bool // else nothing is told, rather than something old
	values   [3]map[string]float64
}

func newGauges(t *Tasks) *gauges {
	labels := []string{"queue"}
	return &gauges{
		tasks: t,
		running: prometheus.NewDesc("kontor_task_running",
			"Tasks that this node works on. At the number of workers for long: give it more, or add nodes.", labels, nil),
		waiting: prometheus.NewDesc("kontor_task_waiting",
			"Tasks that this node holds and has no worker for yet. Above 0 for long: all workers are busy.", labels, nil),
		ready: prometheus.NewDesc("kontor_task_ready",
			"Tasks of all nodes that could be begun and are not, counted up to a bound. The oldest one's age says whether that is a problem.", labels, nil),
		oldest: prometheus.NewDesc("kontor_task_oldest_ready_seconds",
			"How long the oldest task of all nodes that could be begun has waited. Ask kontor tasks why of one, when it grows.", labels, nil),
		letters: prometheus.NewDesc("kontor_task_dead_letters_open",
			"Dead letters that nobody has resolved, counted up to a bound. Replay or discard them.", labels, nil),
	}
}

// set takes what was measured. A queue that was told of stays, at 0.
func (g *gauges) set(values ...map[string]float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, fresh := range values {
		for queue := range g.values[i] {
			if _, is := fresh[queue]; !is {
				fresh[queue] = 0
			}
		}
		g.values[i] = fresh
	}
	g.measured = true
}

// forget tells nothing until something is measured again.
func (g *gauges) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.measured = false
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.running, g.waiting, g.ready, g.oldest, g.letters} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	running, waiting := g.tasks.holds()
	queues := g.tasks.metrics.labels()
	g.tell(out, g.running, running, queues)
	g.tell(out, g.waiting, waiting, queues)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.measured {
		return
	}
	for i, d := range []*prometheus.Desc{g.ready, g.oldest, g.letters} {
		g.tell(out, d, g.values[i], queues)
	}
}

// tell gives a value for each queue that is known, and for those that only the values know.
func (g *gauges) tell(out chan<- prometheus.Metric, d *prometheus.Desc, values map[string]float64, queues []string) {
	told := map[string]bool{}
	for _, queue := range queues {
		told[queue] = true
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, values[queue], queue)
	}
	for queue, value := range values {
		if !told[queue] {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, queue)
		}
	}
}

// labels are the queues that have figures.
func (m *metrics) labels() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]string, 0, len(m.queues))
	for label := range m.queues {
		list = append(list, label)
	}
	return list
}

// holds counts the leases of this node by queue: those that are worked on, and those that wait for a worker.
func (t *Tasks) holds() (running, waiting map[string]float64) {
	running, waiting = map[string]float64{}, map[string]float64{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.held {
		label := t.metrics.names.Of(h.task.Queue)
		if h.waiting {
			waiting[label]++
		} else {
			running[label]++
		}
	}
	return running, waiting
}
