package payments

// This file has what must be true of attempts: of their tasks, entries, keys and answers.

const parallelAttemptsSQL = `
	select a.org_id, 'pay:' || a.payment_id, format('%s attempts are under way', count(*)), count(*) over ()
	from payment_attempt a
	where a.state in ('processing', 'unknown')
	group by a.org_id, a.payment_id
	having count(*) > 1
	order by 4, 1, 2 limit 10`

// Tasks go by the month, and the task of an attempt that is over may have gone with its month.
const forgottenAttemptsSQL = `
	select a.org_id, 'att:' || a.id,
		case
			when t.kind <> 'payments.attempt' then format('the %s of pay:%s is %s, and its task tsk:%s is of the kind %s', a.kind, a.payment_id, a.state, a.task_id, t.kind)
			when a.state in ('succeeded', 'declined') and (a.answer is null or a.answer_status is null or a.finished_at is null)
				then format('the %s of pay:%s is %s and has no answer', a.kind, a.payment_id, a.state)
			when t.id is null then format('the %s of pay:%s is %s, and its task tsk:%s is not there', a.kind, a.payment_id, a.state, a.task_id)
			else format('the %s of pay:%s is %s, and nobody works on it: tsk:%s has ended', a.kind, a.payment_id, a.state, a.task_id)
		end,
		count(*) over ()
	from payment_attempt a
	left join task t on t.org_id = a.org_id and t.id = a.task_id
	left join task_live l on l.org_id = a.org_id and l.task_id = a.task_id
	where case when a.state in ('processing', 'unknown') then t.id is null or l.task_id is null
		else a.answer is null or a.answer_status is null or a.finished_at is null
			or (t.id is null and a.task_id >= (select k.id from task k order by k.id limit 1)) end
		or t.kind <> 'payments.attempt'
	order by 4, 1, 2 limit 10`

// The tasks of one payment name one subject, and those of two payments do not.
const strayTasksSQL = `
	with grounded as (
		select t.org_id, t.id, t.subject_id, count(a.id) as attempts, min(a.payment_id::text) as payment_id
		from task t
		left join payment_attempt a on a.org_id = t.org_id and a.task_id = t.id
		where t.kind = 'payments.attempt'
		group by t.org_id, t.id, t.subject_id
	), compared as (
		select g.*, min(g.payment_id) over subject <> max(g.payment_id) over subject
			or min(g.subject_id) over payment <> max(g.subject_id) over payment as strays
		from grounded g
		window subject as (partition by g.org_id, g.subject_id), payment as (partition by g.org_id, g.payment_id)
	)
	select org_id, 'tsk:' || id,
		case attempts
			when 0 then format('it is for %s, and for no attempt', subject_id)
			when 1 then format('it is for %s, and its attempt is one of pay:%s', subject_id, payment_id)
			else format('it is for %s attempts', attempts)
		end,
		count(*) over ()
	from compared
	where attempts <> 1 or strays
	order by 4, 1, 2 limit 10`

const unbookedAttemptsSQL = `
	select a.org_id, 'att:' || a.id,
		format('the %s of %s of pay:%s is %s; its entry ent:%s is %s', a.kind, a.amount, a.payment_id, a.state, a.entry_id,
			case
				when e.id is null then 'not there'
				when e.subject_id is distinct from a.payment_id then 'about something else'
				else format('%s, %s', e.code, e.state)
			end),
		count(*) over ()
	from payment_attempt a
	join payment p on p.org_id = a.org_id and p.id = a.payment_id
	left join ledger_entry e on e.org_id = a.org_id and e.id = a.entry_id
	left join ledger_posting l on l.org_id = e.org_id and l.entry_id = e.id and l.number = 0
	where e.id is null or e.subject_id is distinct from a.payment_id
		or case a.kind
			when 'refund' then e.code <> 'payment.refund' or l.amount is distinct from a.amount
				or e.state <> case a.state when 'succeeded' then 'posted' when 'declined' then 'voided' else 'pending' end
			when 'authorise' then a.entry_id <> p.hold_entry_id or e.code <> 'payment.authorise' or l.amount is distinct from a.amount
			else a.entry_id <> p.hold_entry_id
		end
	order by 4, 1, 2 limit 10`

// What an order settles or posts is a line of its own, so sums that agree are not enough. An automatic authorisation captures.
const unequalLinesSQL = `
	with done as (
		select a.org_id, a.payment_id as id, 'payment.authorise' as code, a.amount
		from payment_attempt a
		join payment p on p.org_id = a.org_id and p.id = a.payment_id
		where a.state = 'succeeded' and (a.kind = 'capture' or (a.kind = 'authorise' and p.capture_method = 'automatic'))
		union all
		select a.org_id, a.payment_id, 'payment.refund', a.amount from payment_attempt a where a.state = 'succeeded' and a.kind = 'refund'
		union all
		select a.org_id, a.payment_id, 'payment.fee', a.fee from payment_attempt a where a.state = 'succeeded' and a.fee > 0
	), expected as (
		select d.org_id, d.id, d.code, d.amount, count(*) as lines from done d group by d.org_id, d.id, d.code, d.amount
	), booked as (
		select e.org_id, e.subject_id as id, e.code, l.amount::bigint as amount, count(*) as lines
		from ledger_entry e
		join ledger_posting l on l.org_id = e.org_id and l.entry_id = e.id
		where e.subject_id is not null and e.reversal_of is null and e.code in ('payment.authorise', 'payment.refund', 'payment.fee')
			and l.phase in ('settled', 'posted')
		group by e.org_id, e.subject_id, e.code, l.amount::bigint
	)
	select coalesce(x.org_id, b.org_id), 'pay:' || coalesce(x.id, b.id),
		format('%s of %s is booked %s times, and its attempts make it %s', coalesce(x.code, b.code), coalesce(x.amount, b.amount),
			coalesce(b.lines, 0), coalesce(x.lines, 0)),
		count(*) over ()
	from expected x
	full join booked b on b.org_id = x.org_id and b.id = x.id and b.code = x.code and b.amount = x.amount
	where x.lines is distinct from b.lines
	order by 4, 1, 2, coalesce(x.code, b.code), coalesce(x.amount, b.amount) limit 10`

const sharedRefundsSQL = `
	with shared as (
		select a.org_id, a.payment_id, format('%s refunds stand on ent:%s', count(*), a.entry_id) as what
		from payment_attempt a
		where a.kind = 'refund'
		group by a.org_id, a.payment_id, a.entry_id
		having count(*) > 1
		union all
		select a.org_id, (min(a.payment_id::text))::uuid, format('%s refunds are one at %s, %s', count(*), p.provider, a.operation_id)
		from payment_attempt a
		join payment p on p.org_id = a.org_id and p.id = a.payment_id
		where a.kind = 'refund' and a.operation_id is not null
		group by a.org_id, p.provider, a.operation_id
		having count(*) > 1
	)
	select s.org_id, 'pay:' || s.payment_id, s.what, count(*) over ()
	from shared s
	order by 4, 1, 2, 3 limit 10`

// The answer and the event of an attempt's end are written from the same bytes. They are compared by their hashes, which are narrow.
const untoldAnswersSQL = `
	with fault as (
		select a.org_id, a.id, format('what was answered about the %s of pay:%s is told by no event', a.kind, a.payment_id) as what
		from payment_attempt a
		where a.answer is not null
			and not exists (
				select from event e
				where e.org_id = a.org_id and e.aggregateid = a.payment_id and e.aggregatetype = 'payment'
					and hashtextextended(e.payload::text, 0) = hashtextextended(a.answer::text, 0)
			)
		union all
		select a.org_id, a.id, format('the %s of pay:%s is %s, and was answered %s', a.kind, a.payment_id, a.state, a.answer_status)
		from payment_attempt a
		where a.answer_status <> case
			when a.kind = 'authorise' or (a.kind = 'refund' and a.state = 'succeeded') then 201
			when a.state = 'declined' then 402
			else 200
		end
	)
	select f.org_id, 'att:' || f.id, f.what, count(*) over ()
	from fault f
	order by 4, 1, 2, 3 limit 10`

// What ends an attempt changes its payment at one and the same time. Where something has changed it since, its last answer is older.
const untrueAnswersSQL = `
	select p.org_id, 'pay:' || p.id,
		format('it is %s, %s %s, captured %s, capturable %s, refunded %s, fee %s; the last answer said %s, %s %s, %s, %s, %s, %s', p.status,
			p.amount, p.currency, p.amount_captured, p.amount_capturable, p.amount_refunded, p.amount_fee,
			v.status, v.amount, v.currency, v.amount_captured, v.amount_capturable, v.amount_refunded, v.amount_fee),
		count(*) over ()
	from payment p
	join payment_attempt a on a.org_id = p.org_id and a.payment_id = p.id and a.finished_at = p.updated_at
	cross join json_to_record(a.answer) as v (status text, provider text, currency text, amount bigint, amount_captured bigint,
		amount_capturable bigint, amount_refunded bigint, amount_fee bigint, capture_method text, failure_code text,
		authorisation_expires_at timestamptz)
	where (p.status, p.provider, p.currency, p.amount, p.amount_captured, p.amount_capturable, p.amount_refunded, p.amount_fee,
			p.capture_method, p.failure_code, p.authorisation_expires_at)
		is distinct from (v.status, v.provider, v.currency, v.amount, v.amount_captured, v.amount_capturable, v.amount_refunded, v.amount_fee,
			v.capture_method, v.failure_code, v.authorisation_expires_at)
	order by 4, 1, 2 limit 10`

// The record is written in the attempt's own transaction. The key's column is sorted by bytes, the attempt's is not.
const unrecordedKeysSQL = `
	with fault as (
		select a.org_id, a.id, format('the %s of pay:%s was asked for under the key %s, which is not recorded for it', a.kind, a.payment_id, a.idempotency_key) as what
		from payment_attempt a
		where a.idempotency_key is not null and a.created_at > now() - interval '30 days'
			and not exists (
				select from idempotency_record r
				where r.org_id = a.org_id and r.subject_id = a.id and r.key = a.idempotency_key collate "C"
			)
		union all
		select a.org_id, a.id, format('the %s of pay:%s was asked for under %s, and is recorded under the key %s', a.kind, a.payment_id,
			coalesce('the key ' || a.idempotency_key, 'no key'), r.key)
		from idempotency_record r
		join payment_attempt a on a.org_id = r.org_id and a.id = r.subject_id
		where a.idempotency_key collate "C" is distinct from r.key
	)
	select f.org_id, 'att:' || f.id, f.what, count(*) over ()
	from fault f
	order by 4, 1, 2, 3 limit 10`
