package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const (
	historyTasks = 5_000_000
	historyLive  = 300_000 // of these, the latest, which have not ended
	historySlice = 250_000 // made in one transaction
	historyDays  = 30
)

// Task n of an organisation was queued at $2 plus n times $3, in milliseconds. One in fifty has failed for good; of those most have the
// same fingerprint, and one in ten is resolved. A few things are rare: what looks for those looks through much.
const (
	historyIDs = `
	select n, $1::uuid as org_id,
		(lpad(to_hex($2::bigint + (n * $3::float8)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid as id,
		to_timestamp(($2::bigint + n * $3::float8) / 1000) as at, n % 50 = 7 as dead, n > $6::bigint as live
	from generate_series($4::bigint, $5::bigint) n`

	historyTasksSQL = `
	insert into task (org_id, id, queue, kind, args, subject_type, subject_id, destination, tags, created_at)
	select org_id, id, case when n % 20000 = 0 then 'rare' else 'queue-' || n % 20 end, 'http',
		'{"request":{"method":"POST","url":"/records","body":"eyJhbW91bnQiOjEyNTAsImN1cnJlbmN5IjoiRVVSIn0="}}',
		'invoice', case when n % 50 = 3 then 'often' else 'inv-' || n / 3 end, case when n % 20000 = 0 then 'rare' else 'api-' || n % 4 end,
		case when n % 100000 = 0 then array['rare'] end, at
	from (` + historyIDs + `) t`

	historyAttemptsSQL = `
	insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome, status, error_code, exchange, next_due_at)
	select org_id, id, number, 'node', at, at, case when dead then 'failed' else 'succeeded' end, case when dead then 500 else 200 end,
		case when dead then 'http_500' end, '{"request":{"method":"POST"},"response":{"status":200}}', case when dead and number < 3 then at end
	from (` + historyIDs + `) t, generate_series(1, case when dead then 3 else 1 end) number
	where not live`

	historyLettersSQL = `
	insert into task_dead_letter (org_id, task_id, queue, destination, kind, subject_type, subject_id, reason, error_code, error, status,
		fingerprint, attempts, first_failed_at, dead_at, resolution, resolved_at, spec)
	select org_id, id, 'queue-' || n % 20, 'api-' || n % 4, 'http', 'invoice', 'inv-' || n / 3,
		case when n % 5000 = 7 then 'poison' else 'max_attempts' end, 'http_500', 'answered 500', 500,
		case when n % 250 = 7 then lpad((n % 1000000 / 5000)::text, 16, '0') else 'ffffffffffffffff' end, 3, at, at,
		case when n % 500 = 57 then 'discarded' else 'open' end, case when n % 500 = 57 then at end, '{}'
	from (` + historyIDs + `) t
	where dead and not live`

	historyLiveSQL = `
	insert into task_live (org_id, task_id, line, state, due_at)
	select org_id, id, md5((n % 7)::text)::uuid, case n % 3 when 0 then 'available' when 1 then 'retryable' else 'scheduled' end,
		case n % 3 when 0 then at else now() + interval '1 day' + n * interval '1 millisecond' end
	from (` + historyIDs + `) t
	where live`

	historyQueueSQL = `
	insert into task_queue (org_id, name, max_dispatches_per_second, max_burst_size, max_concurrent_dispatches, retry_config,
		task_ttl_seconds, tombstone_ttl_seconds, version, created_at, updated_at)
	values ($1, 'queue-1', 500, 100, 1000, '{}', 2678400, 3600, 1, now(), now())`

	// Of partitions and of the tables themselves.
	neverAnalyseSQL = `
	do $$
	declare name text;
	begin
		for name in select c.oid::regclass::text from pg_class c where c.relkind = 'r' and c.relname ~ '^task' loop
			execute 'alter table ' || name || ' set (autovacuum_enabled = off)';
		end loop;
	end $$`
	analyseSQL = `analyze task, task_attempt, task_live, task_dead_letter, task_queue`
)

// history is an organisation with many tasks behind it, and a node that answers for it.
type history struct {
	*bench
	node    *serve
	key     string
	org     ids.ID
	tasks   int
	began   int64 // in milliseconds
	step    float64
	slowest *figure
}

// longHistory measures what people ask of the API, on millions of tasks that have ended and many that have not, and how long a request
// takes that queues ten thousand more.
func (b *bench) longHistory(ctx context.Context) error {
	const what = "strain, history"
	if !strings.Contains(what, b.options.match) {
		return nil
	}
	url, books, err := b.booksIn(ctx, "history")
	if err != nil {
		return err
	}
	defer books.close()
	h := &history{bench: b, key: books.key, org: books.org, tasks: int(historyTasks * b.options.scale)}
	h.step = float64(historyDays*24*time.Hour/time.Millisecond) / float64(h.tasks)
	h.began = time.Now().Add(-historyDays * 24 * time.Hour).UnixMilli()
	if err := h.make(ctx, url); err != nil {
		return err
	}
	if h.node, err = b.startServe(ctx, "serve-history", url, "--roles", "api"); err != nil {
		return err
	}
	defer h.node.stop()
	for _, state := range []string{"never analysed", "analysed"} {
		if state == "analysed" {
			if _, err := books.db.Pool().Exec(ctx, analyseSQL); err != nil {
				return err
			}
		}
		if err := h.reads(ctx, what, state); err != nil {
			return err
		}
	}
	return h.queueMany(ctx, what)
}

// make writes the history.
func (h *history) make(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("make a history: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, neverAnalyseSQL); err != nil {
		return fmt.Errorf("make a history: %w", err)
	}
	if _, err := conn.Exec(ctx, historyQueueSQL, h.org); err != nil {
		return fmt.Errorf("make a history: %w", err)
	}
	since := time.Now()
	ended := h.tasks - int(historyLive*h.options.scale)
	for from := 1; from <= h.tasks; from += historySlice {
		to := min(from+historySlice-1, h.tasks)
		h.note("strain, history: %s of %s tasks", grouped(float64(to)), grouped(float64(h.tasks)))
		for _, sql := range []string{historyTasksSQL, historyAttemptsSQL, historyLettersSQL, historyLiveSQL} {
			if _, err := conn.Exec(ctx, sql, h.org, h.began, h.step, from, to, ended); err != nil {
				return fmt.Errorf("make a history: %w", err)
			}
		}
	}
	h.report.Checks = append(h.report.Checks, check{Part: partStrain, Name: "history: conditions", OK: true, Value: fmt.Sprintf(
		"%s tasks of %d days, %s of them not ended, 2 %% failed for good; made in %.0f s; one reader, over HTTP",
		grouped(float64(h.tasks)), historyDays, grouped(float64(h.tasks-ended)), time.Since(since).Seconds())})
	return nil
}

// some is the number of a task that has ended.
func (h *history) some() int { return 1 + rand.IntN(h.tasks*9/10) }

func (h *history) at(n int) int64 { return h.began + int64(math.RoundToEven(float64(n)*h.step)) }

// id is that of task n.
func (h *history) id(n int) string {
	digits := fmt.Sprintf("%012x70008%015x", h.at(n), n)
	var id ids.ID
	for i := range id {
		b, _ := strconv.ParseUint(digits[2*i:2*i+2], 16, 8) // always are digits
		id[i] = byte(b)
	}
	return ids.Format(tasks.Prefix, id)
}

func (h *history) created(n int) string {
	return time.UnixMilli(h.at(n)).UTC().Format(time.RFC3339)
}

// reads measures each question by itself.
func (h *history) reads(ctx context.Context, what, state string) error {
	fixed := func(path string) func() string { return func() string { return path } }
	before := func(path string) func() string { return func() string { return path + h.created(h.some()) } }
	someone := func(path string) func() string {
		return func() string { return path + strconv.Itoa(h.some()/3) }
	}
	h.slowest = nil
	for _, q := range []struct {
		name string
		path func() string
	}{
		{"tasks", fixed("/v1/tasks?limit=100")},
		{"tasks, before some time", before("/v1/tasks?limit=100&created_to=")},
		{"tasks, completed", before("/v1/tasks?state=completed&limit=100&created_to=")},
		{"tasks, discarded", before("/v1/tasks?state=discarded&limit=100&created_to=")},
		{"tasks, available", fixed("/v1/tasks?state=available&limit=100")},
		{"tasks, running, of which there are none", fixed("/v1/tasks?state=running&limit=100")},
		{"tasks, a destination's", before("/v1/tasks?destination=api-1&limit=100&created_to=")},
		{"tasks, a rare destination's", before("/v1/tasks?destination=rare&limit=100&created_to=")},
		{"tasks, a destination's, discarded", before("/v1/tasks?destination=api-1&state=discarded&limit=100&created_to=")},
		{"tasks, a destination's, retryable", fixed("/v1/tasks?destination=api-1&state=retryable&limit=100")},
		{"tasks, a rare queue's", before("/v1/tasks?queue=rare&limit=100&created_to=")},
		{"tasks, a rare tag's", before("/v1/tasks?tag=rare&limit=100&created_to=")},
		{"tasks, a subject's", someone("/v1/tasks?subject_id=inv-")},
		{"tasks, those of a subject with many", before("/v1/tasks?subject_id=often&limit=100&created_to=")},
		{"a task", func() string { return "/v1/tasks/" + h.id(h.some()) }},
		{"a task that waits", func() string { return "/v1/tasks/" + h.id(h.tasks-rand.IntN(1+h.tasks/20)) }},
		{"a task's attempts", func() string { return "/v1/tasks/" + h.id(h.some()) + "/attempts" }},
		{"a queue and its counts", fixed("/v1/queues/queue-1")},
		{"dead letters", before("/v1/dead-letters?limit=100&dead_to=")},
		{"dead letters, rare ones", before("/v1/dead-letters?reason=poison&limit=100&dead_to=")},
		{"dead letters, discarded", fixed("/v1/dead-letters?resolution=discarded&limit=100")},
		{"dead letters, of a fingerprint with many", before("/v1/dead-letters?fingerprint=ffffffffffffffff&limit=100&dead_to=")},
		{"dead letters, of a subject", someone("/v1/dead-letters?subject_id=inv-")},
		{"groups of dead letters", fixed("/v1/dead-letters/groups?limit=100")},
	} {
		f := &figure{Part: partStrain, Name: "GET " + q.name + ", " + state, Size: 1, sized: "c=", Aim: "p99 below 100 ms"}
		s := &subject{figure: f, take: func(ctx context.Context, w window) (sample, error) {
			return h.alone(ctx, w, 1, func(ctx context.Context) error { return h.ask(ctx, http.MethodGet, q.path(), "") })
		}}
		if err := h.measure(ctx, what, []*subject{s}); err != nil {
			return err
		}
		if h.slowest == nil || f.P99 > h.slowest.P99 {
			h.slowest = f
		}
	}
	h.report.Checks = append(h.report.Checks, check{
		Part: partStrain, Name: "history, " + state + ": the slowest p99",
		Value: fmt.Sprintf("%.1f ms: %s", h.slowest.P99, h.slowest.Name), Aim: "below 100 ms", OK: h.slowest.P99 < 100,
	})
	return nil
}

// ask sends one request and reads the answer.
func (h *history) ask(ctx context.Context, method, path, body string) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+h.node.address+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+h.key)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", strconv.FormatUint(rand.Uint64(), 16))
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	read, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %.300s", method, path, answer.Status, read)
	}
	return err
}

// queueMany measures requests of as many tasks as one can have.
func (h *history) queueMany(ctx context.Context, what string) error {
	const n = 10_000
	if err := h.ask(ctx, http.MethodPost, "/v1/destinations", `{"name":"api-1","base_url":"https://api.example.com"}`); err != nil {
		return err
	}
	const one = `{"destination":"api-1","http_request":{"method":"POST","url":"/records","body":"{\"amount\":1250,\"currency\":\"EUR\"}"}},`
	body := `{"tasks":[` + strings.TrimSuffix(strings.Repeat(one, n), ",") + `]}`
	f := &figure{Part: partStrain, Name: "POST /v1/tasks/batch, beside the history", Size: n, sized: "N=", Aim: "a request below 1 s"}
	return h.measure(ctx, what, []*subject{{figure: f, take: func(ctx context.Context, w window) (sample, error) {
		return h.alone(ctx, w, n, func(ctx context.Context) error { return h.ask(ctx, http.MethodPost, "/v1/tasks/batch", body) })
	}}})
}
