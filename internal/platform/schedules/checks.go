package schedules

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

// Proof is what must be true of schedules and their ticks.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{
			{Name: "schedules", SQL: countSchedulesSQL},
			{Name: "schedule ticks", SQL: countTicksSQL},
		},
		Checks: []proof.Check{
			{
				Name: "schedules.ticks.tasked", SQL: untaskedTicksSQL,
				Sentence: "Every tick that was made has its task, which is about a schedule, as long as tasks of its month are kept.",
			},
			{
				Name: "schedules.ticks.once", SQL: repeatedTicksSQL,
				Sentence: "No tick was made twice, and no task belongs to two ticks.",
			},
			{
				Name: "schedules.ticks.accounted", SQL: unaccountedTicksSQL,
				Sentence: "Every tick that was made is among those its schedule has accounted for, and the latest is the one it shows.",
			},
			{
				Name: "schedules.next.right", SQL: allSchedulesSQL, Judge: judgeNext,
				Sentence: "Every active schedule's next tick is the first that its rule names after those accounted for.",
			},
			{
				Name: "schedules.events.complete", SQL: untoldChangesSQL,
				Sentence: "Every version of a schedule has its event.",
			},
		},
	}
}

const (
	countSchedulesSQL = `select count(*) from schedule`
	countTicksSQL     = `select count(*) from schedule_tick`
)

const untaskedTicksSQL = `
	select t.org_id, 'sch:' || t.schedule_id,
		case when k.id is null then format('its tick of %s has no task', t.tick_at)
			else format('its tick of %s has tsk:%s, which is about a %s', t.tick_at, t.task_id, coalesce(k.subject_type, 'nothing')) end,
		count(*) over ()
	from schedule_tick t
	left join task k on k.org_id = t.org_id and k.id = t.task_id
	where case when k.id is not null then k.subject_type is distinct from 'schedule'
		else to_regclass(to_char(t.created_at at time zone 'UTC', '"task_"YYYY_MM')) is not null end
	order by 4, 1, 2, t.tick_at limit 10`

const repeatedTicksSQL = `
	select w.org_id, 'sch:' || w.schedule_id, w.what, count(*) over ()
	from (
		select t.org_id, t.schedule_id, format('its tick of %s was made %s times', t.tick_at, count(*)) as what
		from schedule_tick t
		group by t.org_id, t.schedule_id, t.tick_at
		having count(*) > 1
		union all
		select t.org_id, (min(t.schedule_id::text))::uuid, format('tsk:%s belongs to %s ticks', t.task_id, count(*))
		from schedule_tick t
		group by t.org_id, t.task_id
		having count(*) > 1
	) w
	order by 4, 1, 2, w.what limit 10`

const unaccountedTicksSQL = `
	with made as (
		select t.org_id, t.schedule_id, max(t.tick_at) as last from schedule_tick t group by t.org_id, t.schedule_id
	)
	select s.org_id, 'sch:' || s.id,
		format('its ticks are accounted for up to %s, it shows the tick of %s as the last, and that of %s was made', s.ticks_after,
			coalesce(s.last_tick_at::text, 'no time'), m.last),
		count(*) over ()
	from schedule s
	join made m on m.org_id = s.org_id and m.schedule_id = s.id
	where m.last > s.ticks_after or s.last_tick_at is distinct from m.last
	order by 4, 1, 2 limit 10`

const allSchedulesSQL = `
	select s.org_id, 'sch:' || s.id, s.cron, s.time_zone, s.anchor_at, s.ticks_after, s.next_tick_at
	from schedule s order by s.org_id, s.id`

// judgeNext asks the rule, in Go: the database cannot read it.
func judgeNext(row pgx.CollectableRow) (orgID ids.ID, id, wrong string, err error) {
	var expression, zone string
	var anchor, after time.Time
	var stored *time.Time
	if err := row.Scan(&orgID, &id, &expression, &zone, &anchor, &after, &stored); err != nil {
		return orgID, id, "", err
	}
	next := orZero(stored)
	rule, broken := ParseRule(expression, zone, anchor)
	switch {
	case broken != nil:
		wrong = fmt.Sprintf("its rule %q in %s cannot be read: %v", expression, zone, broken)
	case !next.IsZero() && !next.Equal(rule.Next(after)):
		wrong = fmt.Sprintf("its next tick is %s, and by its rule %q in %s the first after %s is %s", next.Format(time.RFC3339),
			expression, zone, after.UTC().Format(time.RFC3339), rule.Next(after).Format(time.RFC3339))
	}
	return orgID, id, wrong, nil
}

const untoldChangesSQL = `
	with told as (
		select e.org_id, e.aggregateid, count(*) as changes
		from event e
		where e.aggregatetype = 'schedule'
			and e.type in ('schedule.created', 'schedule.updated', 'schedule.paused', 'schedule.resumed')
		group by e.org_id, e.aggregateid
	)
	select s.org_id, 'sch:' || s.id, format('it is at version %s, and %s changes were told', s.version, coalesce(t.changes, 0)),
		count(*) over ()
	from schedule s
	left join told t on t.org_id = s.org_id and t.aggregateid = s.id
	where coalesce(t.changes, 0) <> s.version
	order by 4, 1, 2 limit 10`
