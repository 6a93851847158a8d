package schedules

import (
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/prooftest"
)

func TestDamagedSchedulesAreReported(t *testing.T) {
	b := setup(t)
	in := input("s", "@every 1h")
	in.MisfirePolicy = All
	b.neglect(b.create(in), 3*time.Hour+time.Minute)
	b.fireAll()
	for _, c := range []struct {
		name, damage string
		want         []string
	}{
		{"nothing", `select 1`, nil},
		{"a task that is gone", `delete from task where id = (select min(task_id::text)::uuid from schedule_tick)`, []string{"schedules.ticks.tasked"}},
		{
			"two ticks with one task", `update schedule_tick set task_id = (select max(task_id::text)::uuid from schedule_tick)
			where tick_at = (select min(tick_at) from schedule_tick)`, []string{"schedules.ticks.once"},
		},
		{
			"a tick ahead of its schedule", `insert into schedule_tick (org_id, schedule_id, tick_at, period, task_id, missed, created_at)
			select org_id, id, next_tick_at, date_trunc('month', next_tick_at at time zone 'UTC'), id, false, next_tick_at from schedule`,
			[]string{"schedules.ticks.tasked", "schedules.ticks.accounted"},
		},
		{"a next tick that is too late", `update schedule set next_tick_at = next_tick_at + interval '1 hour'`, []string{"schedules.next.right"}},
		{"a rule that cannot be read", `update schedule set cron = '* * *'`, []string{"schedules.next.right"}},
		{"a change that was not told", `update schedule set version = 2`, []string{"schedules.events.complete"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := prooftest.Failing(t, b.db, Proof(), c.damage); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
