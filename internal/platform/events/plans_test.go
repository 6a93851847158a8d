package events

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// One large organisation among others, its events spread over two months and 5,000 aggregates.
const manyEventsSQL = `
	insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
	select case when n % 20 = 0 then '00000000-0000-0000-0000-000000000002'::uuid else '00000000-0000-0000-0000-000000000001'::uuid end,
		(lpad(to_hex((extract(epoch from now() - (abs(n) % 2) * interval '27 days') * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n + 100), 19, '0'))::uuid,
		'payment', ('00000000-0000-0000-0000-' || lpad(abs(n % 5000)::text, 12, '0'))::uuid, 'payment.created', '{}', now()
	from generate_series($1::int, $2) n`

func TestNoReadWalksALargeOrganisation(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).Direct, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Pool().Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	const org, place = "'00000000-0000-0000-0000-000000000001'", "'0', '00000000-0000-0000-0000-000000000000'"
	for _, state := range []string{"analysed when small", "never analysed", "analysed"} {
		switch state {
		case "analysed when small":
			exec(manyEventsSQL, -20, -1)
			exec(`analyze event`)
		case "never analysed":
			exec(`truncate event`)
		}
		if state != "analysed" {
			for n := range 40 {
				exec(manyEventsSQL, n*1000, n*1000+999)
			}
		} else {
			exec(`analyze event`)
		}
		for name, statement := range map[string]struct{ sql, args string }{
			"all":               {listSQL, org + "," + place + ", 20, 20, '{}', ''"},
			"of an absent type": {listSQL, org + "," + place + ", 20, 20, '{nothing}', ''"},
			"of an aggregate":   {listOfAggregateSQL, org + "," + place + ", 20, 20, '{}', '', '00000000-0000-0000-0000-000000000007'"},
		} {
			plan := explain(t, db, statement.sql, statement.args)
			// An aggregate has few events: they are found by their index and sorted.
			sorted := strings.Contains(plan, "Sort Method") && statement.sql != listOfAggregateSQL
			if strings.Contains(plan, "Seq Scan") || sorted {
				t.Errorf("%s, %s:\n%s", name, state, plan)
			}
			// Twenty rows and a way down the index of each month.
			if pages := pagesTouched(t, plan); pages > 80 {
				t.Errorf("%s, %s: %d pages\n%s", name, state, pages, plan)
			}
		}
	}
}

// explain runs the statement under the generic plan that the pool's sessions use, and shows it.
func explain(t *testing.T, db *postgres.DB, sql, args string) string {
	t.Helper()
	if _, err := db.Pool().Exec(t.Context(), "prepare explained as "+sql); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = db.Pool().Exec(t.Context(), "deallocate explained") }()
	rows, err := db.Pool().Query(t.Context(), "explain (analyze, buffers, costs off, timing off, summary off) execute explained("+args+")")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return plan.String()
}

// pagesTouched is the top node's count of pages read and found in memory.
func pagesTouched(t *testing.T, plan string) int {
	t.Helper()
	_, buffers, found := strings.Cut(plan, "Buffers: shared ")
	if !found {
		t.Fatalf("no count of pages in:\n%s", plan)
	}
	total := 0
	line, _, _ := strings.Cut(buffers, "\n")
	for field := range strings.FieldsSeq(line) {
		var n int
		if _, err := fmt.Sscanf(field, "hit=%d", &n); err == nil {
			total += n
		} else if _, err := fmt.Sscanf(field, "read=%d", &n); err == nil {
			total += n
		}
	}
	return total
}
