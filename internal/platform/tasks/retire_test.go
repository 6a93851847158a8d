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
