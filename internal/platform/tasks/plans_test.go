package tasks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Tasks of one organisation, most of them waiting, a share of them due and a share leased.
const (
	manyTasksSQL = `
	insert into task (org_id, id, queue, kind, args, subject_type, subject_id, created_at)
	select '00000000-0000-0000-0000-000000000001',
		(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid,
		'default', 'test', '{}', 'payment', '00000000-0000-0000-0000-000000000001', now()
	from generate_series($1::int, $2) n`
	manyLiveSQL = `
	insert into task_live (org_id, task_id, line, state, due_at, attempt, lease_token, leased_by, leased_at)
	select t.org_id, t.id, md5((n % 7)::text)::uuid, case n % 4 when 1 then 'available' when 3 then 'retryable' else 'running' end,
		now() + (n % 100 - 30) * interval '1 minute', 1,
		case when n % 2 = 0 then t.id end, case when n % 2 = 0 then 'a' end, case when n % 2 = 0 then now() end
	from (select *, row_number() over (order by id) as n from task) t
	where not exists (select from task_live l where l.org_id = t.org_id and l.task_id = t.id)`
	somePinnedSQL = `
	select array_agg(org_id)::text, array_agg(task_id)::text, array_agg(lease_token)::text
	from (select * from task_live where lease_token is not null order by md5(task_id::text) limit 20) l`
)

func TestNoStatementWalksTheTasks(t *testing.T) {
	b := setup(t)
	db, err := postgres.Open(t.Context(), b.db.Pool().Config().ConnString(), postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b.db = db
	b.exec(`alter table task_live set (autovacuum_enabled = off)`)
	for _, state := range []string{"analysed when small", "never analysed", "analysed"} {
		switch state {
		case "analysed when small":
			b.exec(manyTasksSQL, 1, 20)
			b.exec(manyLiveSQL)
			b.exec(`analyze task, task_live, task_attempt`)
			b.exec(manyTasksSQL, 21, 20000)
			b.exec(manyLiveSQL)
		case "never analysed":
			b.exec(`truncate task, task_live, task_attempt`)
			b.exec(manyTasksSQL, 1, 20000)
			b.exec(manyLiveSQL)
		case "analysed":
			b.exec(`analyze task, task_live, task_attempt`)
		}
		var orgs, tasks, leases string
		if err := b.db.Pool().QueryRow(t.Context(), somePinnedSQL).Scan(&orgs, &tasks, &leases); err != nil {
			t.Fatal(err)
		}
		filled := func(value string) string { return "array_fill(" + value + ", array[20])" }
		held := fmt.Sprintf("'%s','%s','%s',", orgs, tasks, leases)
		rest := strings.Join([]string{"null::text", "null::json", "%s", "false", "false", "null::bigint", "null::json", "null::text", "null::text"}, "|")
		finish := func(next string) string {
			out := held + filled("'failed'::text")
			for value := range strings.SplitSeq(fmt.Sprintf(rest, next), "|") {
				out += "," + filled(value)
			}
			return out
		}
		const claim = "array[md5('1')::uuid, md5('3')::uuid], array[10, 10]::bigint[], array[%[1]s, %[1]s], array[%[1]s, %[1]s], array[%[1]s, %[1]s], array[%[1]s, %[1]s], " +
			"'00000000-0000-0000-0000-0000000000aa', 'a', 30000000"
		for name, statement := range map[string]struct{ sql, args string }{
			"look":         {lookSQL, "'00000000-0000-0000-0000-000000000000', 20"},
			"describe":     {describeSQL, "array[md5('1')::uuid, md5('2')::uuid]"},
			"claim":        {claimSQL, fmt.Sprintf(claim, "now() - interval '1 minute'")},
			"claim deep":   {claimSQL, fmt.Sprintf(claim, "null::timestamptz")},
			"stage":        {stageSQL, "20, 60000000, 1000000, 'a'"},
			"stage deep":   {stageSQL, "20, 999999999999999, 1000000, 'a'"},
			"turns":        {giveTurnsSQL, "array[md5('1')::uuid, md5('2')::uuid]"},
			"blocked":      {blockedTurnsSQL, "'00000000-0000-0000-0000-000000000000', 20"},
			"finish":       {finishSQL, finish("null::bigint")},
			"finish again": {finishSQL, finish("1::bigint")},
			"heartbeat":    {heartbeatSQL, held + "30000000"},
			"give back":    {giveBackSQL, held + filled("0::bigint")},
			"nudge":        {nudgeSQL, fmt.Sprintf("'%s','%s'", orgs, tasks)},
			"backlog":      {backlogSQL, "20, 20"},
			"letters":      {openLettersSQL, "20"},
		} {
			plan := b.explain(statement.sql, statement.args)
			for _, banned := range []string{"Seq Scan", "Merge Join", "Hash Join", "Merge Append"} {
				if strings.Contains(plan, banned) {
					t.Errorf("%s, %s: %s\n%s", name, state, banned, plan)
				}
			}
			for line := range strings.Lines(plan) {
				var actual, n int
				if _, rows, found := strings.Cut(line, "actual rows="); found {
					if _, err := fmt.Sscanf(rows, "%d loops=%d", &actual, &n); err == nil && actual > 45 {
						t.Errorf("%s, %s: more rows than asked for\n%s", name, state, plan)
						break
					}
				}
			}
		}
	}
}

// explain runs the statement under the generic plan that the pool's sessions use, takes it back, and shows the plan.
func (b *bench) explain(sql, args string) string {
	b.Helper()
	tx, err := b.db.Pool().Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = tx.Rollback(b.Context()) }()
	execute := "explained"
	if args != "" {
		execute += "(" + args + ")"
	}
	if _, err := tx.Exec(b.Context(), "prepare explained as "+sql); err != nil {
		b.Fatal(err)
	}
	rows, err := tx.Query(b.Context(), "explain (analyze, costs off, timing off, summary off) execute "+execute)
	if err != nil {
		b.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			b.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if rows.Err() != nil {
		b.Fatal(rows.Err())
	}
	if _, err := tx.Exec(b.Context(), "deallocate explained"); err != nil {
		b.Fatal(err)
	}
	return plan.String()
}
