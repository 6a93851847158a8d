package tasks

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of tasks, leases and their history.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{
			{Name: "tasks", SQL: countTasksSQL},
			{Name: "task attempts", SQL: countAttemptsSQL},
		},
		Checks: []proof.Check{
			{
				Name: "tasks.live.known", SQL: unknownTasksSQL,
				Sentence: "What waits, runs or has run is a task that was queued.",
			},
			{
				Name: "tasks.end.recorded", SQL: unrecordedEndsSQL,
				Sentence: "Every task is either still to be done or was ended by its last attempt.",
			},
			{
				Name: "tasks.attempts.numbered", SQL: miscountedAttemptsSQL,
				Sentence: "Every task's attempts are numbered from 1 without gaps, and its count agrees with its history.",
			},
			{
				Name: "tasks.leases.whole", SQL: tornLeasesSQL,
				Sentence: "Every lease has a token, a holder and a beginning before its end, and every count is possible.",
			},
			{
				Name: "tasks.failures.kept", SQL: lostFailuresSQL,
				Sentence: "Every task that has failed for good has left a dead letter, and no task that may yet succeed has one.",
			},
			{
				Name: "tasks.keys.held", SQL: orphanKeysSQL,
				Sentence: "Every name and unique key that is taken for good belongs to a task that has not ended.",
			},
			{
				Name: "tasks.queues.told", SQL: untoldQueuesSQL,
				Sentence: "Every version of a queue has its event, and every queue that is gone the event of its end.",
			},
		},
	}
}

const (
	countTasksSQL    = `select count(*) from task`
	countAttemptsSQL = `select count(*) from task_attempt`
)

const unknownTasksSQL = `
	select l.org_id, 'tsk:' || l.task_id, l.what, count(*) over ()
	from (
		select w.org_id, w.task_id, 'it is to be done, and was never queued' as what from task_live w
		union all
		select a.org_id, a.task_id, format('attempt %s was made, and it was never queued', a.number) from task_attempt a
	) l
	where not exists (select from task t where t.org_id = l.org_id and t.id = l.task_id)
	order by 4, 1, 2 limit 10`

const unrecordedEndsSQL = `
	with ended as (
		select a.org_id, a.task_id, count(*) as attempts, max(a.number) as last,
			max(a.number) filter (where a.next_due_at is null) as ended, count(*) filter (where a.next_due_at is null) as ends
		from task_attempt a
		group by a.org_id, a.task_id
	)
	select t.org_id, 'tsk:' || t.id,
		case
			when l.task_id is null and e.ends is null then 'it is gone without any attempt'
			when l.task_id is null and e.ends = 0 then format('it is gone after attempt %s, which was to be followed by another', e.last)
			when l.task_id is not null then format('attempt %s ended it, and it is still to be done', e.ended)
			else format('attempt %s ended it, and %s attempts were made', e.ended, e.attempts)
		end,
		count(*) over ()
	from task t
	left join task_live l on l.org_id = t.org_id and l.task_id = t.id
	left join ended e on e.org_id = t.org_id and e.task_id = t.id
	where (l.task_id is null and (coalesce(e.ends, 0) <> 1 or e.ended <> e.last)) or (l.task_id is not null and e.ends > 0)
	order by 4, 1, 2 limit 10`

// A lease is an attempt that is under way and not yet in the history.
const miscountedAttemptsSQL = `
	with made as (
		select a.org_id, a.task_id, count(*) as attempts, min(a.number) as first, max(a.number) as last
		from task_attempt a
		group by a.org_id, a.task_id
	)
	select coalesce(m.org_id, l.org_id), 'tsk:' || coalesce(m.task_id, l.task_id),
		case when l.task_id is null or m.first <> 1 or m.last <> m.attempts
			then format('its history has %s attempts, numbered from %s to %s', m.attempts, m.first, m.last)
			else format('it counts %s attempts, %s, and its history has %s', l.attempt,
				case when l.lease_token is null then 'none of them under way' else 'one of them under way' end, coalesce(m.attempts, 0))
		end,
		count(*) over ()
	from made m
	full join task_live l on l.org_id = m.org_id and l.task_id = m.task_id
	where m.first <> 1 or m.last <> m.attempts
		or l.attempt <> coalesce(m.last, 0) + case when l.lease_token is null then 0 else 1 end
	order by 4, 1, 2 limit 10`

const tornLeasesSQL = `
	select l.org_id, 'tsk:' || l.task_id,
		format('token %s, held by %s since %s until %s; attempt %s, of which %s are excused', coalesce(l.lease_token::text, 'none'),
			coalesce(l.leased_by, 'nobody'), coalesce(l.leased_at::text, 'never'), l.due_at, l.attempt, l.excused),
		count(*) over ()
	from task_live l
	where (l.lease_token is null) <> (l.leased_by is null) or (l.lease_token is null) <> (l.leased_at is null)
		or l.leased_at >= l.due_at or (l.lease_token is not null and l.attempt < 1) or l.excused < 0 or l.excused > l.attempt
	order by 4, 1, 2 limit 10`

const lostFailuresSQL = `
	select f.org_id, 'tsk:' || f.task_id, f.what, count(*) over ()
	from (
		select a.org_id, a.task_id, format('attempt %s ended it as %s, and there is no dead letter', a.number, a.outcome) as what
		from task_attempt a
		where a.next_due_at is null and a.outcome not in ('succeeded', 'cancelled', 'snoozed')
			and not exists (select from task_dead_letter d where d.org_id = a.org_id and d.task_id = a.task_id)
		union all
		select d.org_id, d.task_id, 'there is a dead letter, and it has not ended'
		from task_dead_letter d
		where exists (select from task_live l where l.org_id = d.org_id and l.task_id = d.task_id)
	) f
	order by 4, 1, 2 limit 10`

const orphanKeysSQL = `
	select k.org_id, 'tsk:' || k.task_id, format('it holds %s for good, and has ended', k.key), count(*) over ()
	from task_key k
	where k.expires_at is null
		and not exists (select from task_live l where l.org_id = k.org_id and l.task_id = k.task_id and l.key = k.key)
	order by 4, 1, 2 limit 10`

// The versions that events tell of are all there are, from the one that the queue was made at.
const untoldQueuesSQL = `
	with told as (
		select e.org_id, e.aggregateid as id, min((e.payload ->> 'version')::bigint) as first, max((e.payload ->> 'version')::bigint) as last,
			count(*) filter (where e.type <> 'queue.deleted') as changes, count(*) filter (where e.type = 'queue.created') as births,
			count(*) filter (where e.type = 'queue.deleted') as ends
		from event e
		where e.aggregatetype = 'queue'
		group by e.org_id, e.aggregateid
	)
	select coalesce(q.org_id, t.org_id), 'queue:' || coalesce(q.id, t.id),
		case when q.id is null then format('it is gone, and its end was told %s times', t.ends)
			else format('it is at version %s, and %s changes were told, from version %s to %s', q.version, coalesce(t.changes, 0), t.first, t.last) end,
		count(*) over ()
	from task_queue q
	full join told t on t.org_id = q.org_id and t.id = q.id
	where t.id is null or t.births <> 1 or t.changes <> t.last - t.first + 1 or t.ends <> (q.id is null)::integer or q.version <> t.last
	order by 4, 1, 2 limit 10`
