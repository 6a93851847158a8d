package tasks

import (
	"slices"
	"testing"
	"time"
)

func TestOldMonthsGoWhenNothingInThemIsToBeDone(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	partitions := func() []string {
		var names []string
		if err := b.db.Pool().QueryRow(t.Context(), `select array_agg(relname::text order by relname) from pg_class
			where relkind = 'r' and relispartition and relname like 'task%'`).Scan(&names); err != nil {
			t.Fatal(err)
		}
		return names
	}
	b.exec(`create table task_2020_01 partition of task for values from ('016f5e66-e800-0000-0000-000000000000') to ('016ffe0b-9c00-0000-0000-000000000000')`)
	b.exec(`create table task_attempt_2020_01 partition of task_attempt for values from ('016f5e66-e800-0000-0000-000000000000') to ('016ffe0b-9c00-0000-0000-000000000000')`)
	all := partitions()
	b.exec(`insert into task_live (org_id, task_id, line, state, due_at) values ($1, '016f5e66-e801-7000-8000-000000000000', $1, 'scheduled', now() + interval '1 year')`, b.org)
	b.exec(`insert into task_dead_letter (org_id, task_id, queue, kind, reason, fingerprint, attempts, dead_at, resolution, resolved_at, spec)
		values ($1, gen_random_uuid(), 'q', 'k', 'expired', '', 0, now(), 'discarded', '2019-12-01', '{}'), ($1, gen_random_uuid(), 'q', 'k', 'expired', '', 0, '2019-12-01', 'open', null, '{}')`, b.org)
	if dropped, err := node.Retire(t.Context(), time.Now().AddDate(0, -2, 0)); err != nil || len(dropped) != 0 || !slices.Equal(partitions(), all) {
		t.Fatal(dropped, err)
	}
	b.exec(`delete from task_live`)
	dropped, err := node.Retire(t.Context(), time.Now().AddDate(0, -2, 0))
	if err != nil || !slices.Equal(dropped, []string{"task_attempt_2020_01", "task_2020_01"}) || len(partitions()) != len(all)-2 {
		t.Fatal(dropped, err)
	}
	if n := b.count(`select count(*) from task_dead_letter where resolution = 'open'`); n != 1 || b.count(`select count(*) from task_dead_letter`) != 1 {
		t.Fatal("the open letter stays, the resolved one goes")
	}
}

func TestReplaysThatHaveEndedGoWithTheirTasks(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	kept := b.queueOnly(node, b.spec(0))[0]
	b.exec(`insert into task_replay (org_id, id, task_id, filter, new_key, max_dispatches_per_second, canary, stop_at_failure_percent, requested_by, state,
			after_dead_at, after_task_id, until_dead_at, next_at, created_at, updated_at, ended_at)
		select $1, gen_random_uuid(), case when w.kept then $2::uuid else gen_random_uuid() end, '{}', false, 1, 0, 0, w.name, w.state, now(), $1, now(), now(), now(), now(), w.ended_at
		from (values ('old', false, 'completed', '2020-02-01'::timestamptz), ('cancelled', false, 'cancelled', '2020-02-01'),
			('late', false, 'stopped', now()), ('under way', false, 'running', null), ('shown', true, 'completed', '2020-02-01'))
			as w (name, kept, state, ended_at)`, b.org, kept.ID)
	b.exec(`insert into task_replay_item (org_id, replay_id, number, letter_id, task_id, outcome)
		select org_id, id, n, id, id, case when n % 2 = 0 then 'failed' end from task_replay cross join generate_series(1, 3000) n`)
	if _, err := node.Retire(t.Context(), time.Now().AddDate(0, -2, 0)); err != nil {
		t.Fatal(err)
	}
	var left string
	if err := b.db.Pool().QueryRow(t.Context(), `select string_agg(requested_by, ', ' order by requested_by) from task_replay`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if n := b.count(`select count(*) from task_replay_item`); left != "late, shown, under way" || n != 9000 {
		t.Fatalf("left are %s, and %d of their tasks", left, n)
	}
}
