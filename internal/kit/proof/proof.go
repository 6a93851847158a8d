// Package proof runs checks over a whole database: statements that look for what must not exist, all of them on one
// snapshot, so that they judge one moment however busy the database is. It owns no tables and writes nothing.
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
	At         time.Time `json:"at"` // the moment that was judged, by the database's clock
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

// The pool's sessions are set for many small statements; these few large ones want the opposite. Joins by hash only: a hash
// is made of all the columns that must be equal, whereas a merge on tables that were never analysed may go by the
// organisation alone, and a nested loop by a size from long ago; either would never end. No parallel workers: each would
// aggregate everything for itself. The settings end with the transaction.
const setLocalSQL = `select set_config('statement_timeout', '30min', true), set_config('idle_in_transaction_session_timeout', '10min', true),
	set_config('plan_cache_mode', 'auto', true), set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
	set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('work_mem', '128MB', true),
	set_config('max_parallel_workers_per_gather', '0', true)`

const snapshotTimeSQL = `select now()`

// Run carries out all checks of all parts, in their order, on one snapshot. It takes no locks that disturb anyone, but as
// long as it runs VACUUM cannot clean up what is younger than the snapshot. An error means that the checks could not be
// carried out; violations are no error. progress may be nil.
func Run(ctx context.Context, db *postgres.DB, now clock.Clock, parts []Part, p *progress.Progress) (Report, error) {
	var report Report
	err := db.Snapshot(ctx, func(ctx context.Context, tx postgres.Tx) error {
		var err error
		report, err = RunIn(ctx, tx, now, parts, p)
		return err
	})
	return report, err
}

// RunIn is Run within a transaction of the caller's, who thereby has its changes judged before they are committed. What each
// statement sees is up to the transaction's isolation.
func RunIn(ctx context.Context, tx postgres.Tx, now clock.Clock, parts []Part, p *progress.Progress) (Report, error) {
	began := now()
	report := Report{OK: true, Records: []Count{}, Checks: []Result{}}
	if _, err := tx.Exec(ctx, setLocalSQL); err != nil {
		return Report{}, fmt.Errorf("set the session up for large statements: %w", err)
	}
	if err := tx.QueryRow(ctx, snapshotTimeSQL).Scan(&report.At); err != nil {
		return Report{}, fmt.Errorf("ask the database for the time: %w", err)
	}
	report.At = report.At.UTC()
	if err := report.run(ctx, tx, now, parts, p); err != nil {
		return Report{}, err
	}
	report.DurationMS = now().Sub(began).Milliseconds()
	return report, nil
}

func (r *Report) run(ctx context.Context, tx postgres.Tx, now clock.Clock, parts []Part, p *progress.Progress) error {
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
			if err := tx.QueryRow(ctx, population.SQL).Scan(&c.Count); err != nil {
				return fmt.Errorf("count %s: %w", population.Name, err)
			}
			r.Records = append(r.Records, c)
			p.Add(1)
		}
	}
	for _, part := range parts {
		for i := range part.Checks {
			p.Note("%s", part.Checks[i].Name)
			result, err := part.Checks[i].run(ctx, tx, now)
			if err != nil {
				return err
			}
			r.Checks = append(r.Checks, result)
			r.OK = r.OK && result.OK
			p.Add(1)
		}
	}
	p.Note("")
	return nil
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
