package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/progress"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

const (
	makeThingsSQL = `create table thing (org_id uuid, id uuid, weight bigint)`
	someThingsSQL = `insert into thing (org_id, id, weight)
		select '00000000-0000-7000-8000-000000000001', ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, n
		from generate_series(1, 30) n`
	countThingsSQL = `select count(*) from thing`
	heavyThingsSQL = `
		select org_id, format('thg:%s', id), format('it weighs %s more than thg:%s', weight, '00000000-0000-7000-8000-000000000001'), count(*) over ()
		from thing where weight > 18
		order by 4, 1, 2 limit 10`
	lightThingsSQL = `
		select org_id, 'thing ' || weight, 'it is light', count(*) over ()
		from thing where weight < 1
		order by 4, 1, 2 limit 10`
	settingsSQL = `
		select '00000000-0000-7000-8000-000000000001'::uuid, name, setting, count(*) over ()
		from pg_settings
		where name in ('enable_seqscan', 'enable_nestloop', 'join_collapse_limit', 'plan_cache_mode', 'statement_timeout',
			'transaction_isolation', 'transaction_read_only')
		order by 4, 1, 2 limit 10`
	brokenSQL = `select nothing from thing`
)

func open(t *testing.T) *postgres.DB { return openWith(t, 1) }

func openWith(t *testing.T, connections int32) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: connections})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	for _, statement := range []string{makeThingsSQL, someThingsSQL} {
		if _, err := db.Pool().Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func run(t *testing.T, db *postgres.DB, p *progress.Progress, checks ...proof.Check) proof.Report {
	t.Helper()
	report, err := proof.Run(t.Context(), db, clock.System, []proof.Part{{
		Populations: []proof.Population{{Name: "things", SQL: countThingsSQL}}, Checks: checks,
	}}, p)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// shown is how the things' ids are shown.
func shown(prefix string, n byte) string {
	// someThingsSQL writes n in decimal where the id has hexadecimal digits.
	return ids.Format(prefix, ids.ID{6: 0x70, 8: 0x80, 15: n/10<<4 | n%10})
}

func TestFindingsAreCountedAndTheFirstAreNamed(t *testing.T) {
	t.Parallel()
	var drawn bytes.Buffer
	p := progress.New(progress.Config{Out: &drawn})
	report := run(t, open(t), p,
		proof.Check{Name: "thing.weight.most", Sentence: "Nothing is heavy.", SQL: heavyThingsSQL},
		proof.Check{Name: "thing.weight.least", Sentence: "Nothing is light.", SQL: lightThingsSQL})
	p.Close()
	if report.OK || report.Violations() != 12 || len(report.Failed()) != 1 || report.At.IsZero() {
		t.Fatalf("got %+v", report)
	}
	if len(report.Records) != 1 || report.Records[0] != (proof.Count{Name: "things", Count: 30}) {
		t.Errorf("got %+v", report.Records)
	}
	heavy, light := report.Checks[0], report.Checks[1]
	if heavy.OK || heavy.Violations != 12 || len(heavy.First) != proof.FindingsMax || !light.OK || light.Violations != 0 {
		t.Errorf("got %+v and %+v", heavy, light)
	}
	want := proof.Finding{Organisation: shown("org", 1), ID: shown("thg", 19), Detail: "it weighs 19 more than " + shown("thg", 1)}
	if got := heavy.First[0]; got != want {
		t.Errorf("got %+v, not %+v", got, want)
	}
	if !strings.Contains(drawn.String(), "verifying") || !strings.Contains(drawn.String(), "3 of 3") {
		t.Errorf("progress: %s", drawn.String())
	}
	raw, err := json.Marshal(report)
	if err != nil || !strings.Contains(string(raw), `"violations":12`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestChecksRunOnASnapshotWithTheirOwnSettings(t *testing.T) {
	t.Parallel()
	db := open(t)
	report := run(t, db, nil, proof.Check{Name: "settings", Sentence: "There are none.", SQL: settingsSQL})
	got := map[string]string{}
	for _, f := range report.Checks[0].First {
		got[f.ID] = f.Detail
	}
	for name, want := range map[string]string{
		"enable_seqscan": "on", "enable_nestloop": "off", "join_collapse_limit": "1", "plan_cache_mode": "auto", "statement_timeout": "1800000",
		"transaction_isolation": "repeatable read", "transaction_read_only": "on",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, not %q", name, got[name], want)
		}
	}
	var seqscan, timeout string
	const afterSQL = `select current_setting('enable_seqscan'), current_setting('statement_timeout')`
	if err := db.Pool().QueryRow(t.Context(), afterSQL).Scan(&seqscan, &timeout); err != nil || seqscan != "off" || timeout != "30s" {
		t.Errorf("the session keeps the settings: %s, %s, %v", seqscan, timeout, err)
	}
}

func TestEachCheckJudgesAMomentOfItsOwn(t *testing.T) {
	t.Parallel()
	db := openWith(t, 2)
	const allThingsSQL = `select org_id, 'a thing', weight from thing`
	const dropThingsSQL = `delete from thing`
	seen := [2]int{}
	count := func(check int) func(pgx.CollectableRow) (ids.ID, string, string, error) {
		return func(pgx.CollectableRow) (ids.ID, string, string, error) {
			if seen[check]++; seen[check] == 1 {
				if _, err := db.Pool().Exec(t.Context(), dropThingsSQL); err != nil {
					t.Error(err)
				}
			}
			return ids.ID{}, "", "", nil
		}
	}
	run(t, db, nil, proof.Check{Name: "first", SQL: allThingsSQL, Judge: count(0)}, proof.Check{Name: "second", SQL: allThingsSQL, Judge: count(1)})
	if seen != [2]int{30, 0} {
		t.Errorf("the checks saw %d things; all were dropped while the first looked at them", seen)
	}
}

func TestACheckThatCannotBeCarriedOutIsNamed(t *testing.T) {
	t.Parallel()
	db := open(t)
	_, err := proof.Run(t.Context(), db, clock.System, []proof.Part{{Checks: []proof.Check{{Name: "thing.broken", SQL: brokenSQL}}}}, nil)
	if err == nil || !strings.Contains(err.Error(), "check thing.broken") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proof.Run(ctx, db, clock.System, nil, nil); err == nil {
		t.Error("it ran although nobody waits")
	}
}
