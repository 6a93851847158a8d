// Package proof runs checks over a whole database: statements that look for what must not exist. Each judges one moment, however
// busy the database is, and holds on to that moment for no longer than it takes. It owns no tables and writes nothing.
package proof

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/progress"
)

// FindingsMax is how many violations of a check are named; all are counted. The checks' statements have it as their limit.
const FindingsMax = 10

// Check is one thing that is true of a sound database.
type Check struct {
	Name     string // module.subject.rule, stable: scripts match it
	Sentence string // what is true
	// SQL finds the violations, by set-based work without parameters: at most FindingsMax rows, the first in some order, of
	// org_id uuid, id text, detail text (what is wrong) and found bigint (how many there are in all). In both texts an id is
	// written ent:018f…, its prefix and its uuid, and shown as people know it, ent_….
	//
	// Its plan must not depend on statistics, which may be of a time when the tables were small, or not be there at all. Tables
	// are joined in the order in which they are written, so each must be joined by its whole key to what stands before it. And
	// it ends in order by 4, 1, 2 limit 10: found is known when all violations are, so the planner cannot prefer a way that has the
	// first ten soon and the rest never.
	SQL string
	// Judge is for what SQL cannot tell. SQL then lists all there is to be judged, each with its org_id and id first, and
	// Judge says of a row what is wrong: nothing, when it is sound.
	Judge func(row pgx.CollectableRow) (orgID ids.ID, id, wrong string, err error)
}

// Population is a kind of record that the checks look at. SQL counts them: one row, one bigint.
type Population struct {
	Name string
	SQL  string
}

// Part is what one module has to prove.
type Part struct {
	Populations []Population
	Checks      []Check
}

// Report is what a run found.
type Report struct {
	OK         bool      `json:"ok"`
	At         time.Time `json:"at"` // when it began, by the database's clock: no check judges an earlier moment
	DurationMS int64     `json:"duration_ms"`
	Records    []Count   `json:"records"`
	Checks     []Result  `json:"checks"`
}

// Count is how many records of a kind there were to look at.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Result is what became of one check.
type Result struct {
	Name       string    `json:"name"`
	Sentence   string    `json:"sentence"`
	OK         bool      `json:"ok"`
	Violations int64     `json:"violations"`
	First      []Finding `json:"first,omitempty"` // at most FindingsMax
	DurationMS int64     `json:"duration_ms"`
}

// Finding is one violation.
type Finding struct {
	Organisation string `json:"organisation"`
	ID           string `json:"id"`
	Detail       string `json:"detail"`
}

// Violations is how many violations all checks found together.
func (r Report) Violations() int64 {
	var n int64
	for i := range r.Checks {
		n += r.Checks[i].Violations
	}
	return n
}

// Failed lists the checks that found something.
func (r Report) Failed() []Result {
	var out []Result
	for _, c := range r.Checks {
		if !c.OK {
			out = append(out, c)
		}
	}
	return out
}

// The pool's sessions are set for many small statements; these few large ones want the opposite. And they want one plan, whatever the
// statistics say: tables are read whole, joined by hashing, and in the order that the statement has. Left to choose, the planner joins
// by the organisation alone where it takes tables for small, or probes an index for each of millions of rows where it takes a result
// for large; either would never end. No parallel workers: each would aggregate everything for itself. The settings end with the
// transaction.
const setLocalSQL = `select set_config('statement_timeout', '30min', true), set_config('idle_in_transaction_session_timeout', '10min', true),
	set_config('plan_cache_mode', 'auto', true), set_config('work_mem', '128MB', true), set_config('max_parallel_workers_per_gather', '0', true),
	set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
	set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'on', true), set_config('enable_nestloop', 'off', true),
	set_config('enable_mergejoin', 'off', true), set_config('join_collapse_limit', '1', true), set_config('from_collapse_limit', '1', true)`

const timeSQL = `select now()`

// Run carries out all checks of all parts, in their order, each on a snapshot of its own. It takes no locks that disturb anyone, but as
// long as a check runs VACUUM cannot clean up what is younger than its snapshot. An error means that the checks could not be
// carried out; violations are no error. progress may be nil.
func Run(ctx context.Context, db *postgres.DB, now clock.Clock, parts []Part, p *progress.Progress) (Report, error) {
	return run(ctx, now, parts, p, func(ctx context.Context, q question) error {
		return db.Snapshot(ctx, func(ctx context.Context, tx postgres.Tx) error {
			if err := setUp(ctx, tx); err != nil {
				return err
			}
			return q(ctx, tx)
		})
	})
}

// RunIn is Run within a transaction of the caller's, who thereby has its changes judged before they are committed. What each
// statement sees is up to the transaction's isolation.
func RunIn(ctx context.Context, tx postgres.Tx, now clock.Clock, parts []Part, p *progress.Progress) (Report, error) {
	if err := setUp(ctx, tx); err != nil {
		return Report{}, err
	}
	return run(ctx, now, parts, p, func(ctx context.Context, q question) error { return q(ctx, tx) })
}

// question is one statement. It may be asked again, in another transaction, when a connection was lost.
type question func(ctx context.Context, tx postgres.Tx) error

func setUp(ctx context.Context, tx postgres.Tx) error {
	if _, err := tx.Exec(ctx, setLocalSQL); err != nil {
		return fmt.Errorf("set the session up for large statements: %w", err)
	}
	return nil
}

func run(ctx context.Context, now clock.Clock, parts []Part, p *progress.Progress, ask func(context.Context, question) error) (Report, error) {
	began := now()
	report := Report{OK: true, Records: []Count{}, Checks: []Result{}}
	err := ask(ctx, func(ctx context.Context, tx postgres.Tx) error { return tx.QueryRow(ctx, timeSQL).Scan(&report.At) })
	if err != nil {
		return Report{}, fmt.Errorf("ask the database for the time: %w", err)
	}
	report.At = report.At.UTC()
	total := 0
	for _, part := range parts {
		total += len(part.Populations) + len(part.Checks)
	}
	p.Begin("verifying", int64(total))
	defer p.End()
	for _, part := range parts {
		for _, population := range part.Populations {
			p.Note("%s", population.Name)
			c := Count{Name: population.Name}
			err := ask(ctx, func(ctx context.Context, tx postgres.Tx) error {
				return tx.QueryRow(ctx, population.SQL).Scan(&c.Count)
			})
			if err != nil {
				return Report{}, fmt.Errorf("count %s: %w", population.Name, err)
			}
			report.Records = append(report.Records, c)
			p.Add(1)
		}
	}
	for _, part := range parts {
		for i := range part.Checks {
			p.Note("%s", part.Checks[i].Name)
			var result Result
			err := ask(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
				result, err = part.Checks[i].run(ctx, tx, now)
				return err
			})
			if err != nil {
				return Report{}, err
			}
			report.Checks = append(report.Checks, result)
			report.OK = report.OK && result.OK
			p.Add(1)
		}
	}
	p.Note("")
	report.DurationMS = now().Sub(began).Milliseconds()
	return report, nil
}

func (c *Check) run(ctx context.Context, tx postgres.Tx, now clock.Clock) (Result, error) {
	began := now()
	result := Result{Name: c.Name, Sentence: c.Sentence}
	rows, err := tx.Query(ctx, c.SQL)
	if err != nil {
		return Result{}, fmt.Errorf("check %s: %w", c.Name, err)
	}
	if c.Judge != nil {
		err = result.judge(rows, c.Judge)
	} else {
		err = result.collect(rows)
	}
	if err != nil {
		return Result{}, fmt.Errorf("check %s: %w", c.Name, err)
	}
	result.OK = len(result.First) == 0
	result.DurationMS = now().Sub(began).Milliseconds()
	return result, nil
}

// collect takes the violations that a statement found.
func (r *Result) collect(rows pgx.Rows) error {
	var org ids.ID
	var id, detail string
	_, err := pgx.ForEachRow(rows, []any{&org, &id, &detail, &r.Violations}, func() error {
		r.First = append(r.First, finding(org, id, detail))
		return nil
	})
	return err
}

// judge has every row looked at, and keeps the first violations.
func (r *Result) judge(rows pgx.Rows, look func(pgx.CollectableRow) (ids.ID, string, string, error)) error {
	defer rows.Close()
	for rows.Next() {
		org, id, wrong, err := look(rows)
		if err != nil {
			return err
		}
		if wrong == "" {
			continue
		}
		if r.Violations++; r.Violations <= FindingsMax {
			r.First = append(r.First, finding(org, id, wrong))
		}
	}
	return rows.Err()
}

func finding(org ids.ID, id, detail string) Finding {
	return Finding{Organisation: ids.Format("org", org), ID: shown(id), Detail: shown(detail)}
}

// shown writes the ids of a text as people know them.
func shown(text string) string {
	return regexp.MustCompile(`\b[a-z]{3}:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`).ReplaceAllStringFunc(text, func(found string) string {
		prefix, rest, _ := strings.Cut(found, ":")
		var id pgtype.UUID
		if err := id.Scan(rest); err != nil {
			return found
		}
		return ids.Format(prefix, id.Bytes)
	})
}
