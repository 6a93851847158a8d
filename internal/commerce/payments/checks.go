package payments

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of payments, their attempts, and what they have booked, queued and told.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{
			{Name: "payments", SQL: countPaymentsSQL},
			{Name: "payment attempts", SQL: countPaymentAttemptsSQL},
		},
		Checks: []proof.Check{
			{
				Name: "payments.books.equal", SQL: unequalBooksSQL,
				Sentence: "What every payment's entries have booked equals its captured, capturable, refunded and fee amounts.",
			},
			{
				Name: "payments.books.accounts", SQL: strangeAccountsSQL,
				Sentence: "What is booked about payments is about payments that are there, between the accounts of the chart: clearing, received and fees of their provider and currency.",
			},
			{
				Name: "payments.books.lines", SQL: unequalLinesSQL,
				Sentence: "Every capture, refund and fee is booked by a line of its own, and nothing else is.",
			},
			{
				Name: "payments.status.true", SQL: untrueStatusesSQL,
				Sentence: "Every payment's status and amounts follow from its attempts.",
			},
			{
				Name: "payments.terms.kept", SQL: untrueTermsSQL,
				Sentence: "Every payment's amount, charge, failure and expiry are those of its authorisation, and nothing can be captured after a void or a last capture.",
			},
			{
				Name: "payments.attempts.single", SQL: parallelAttemptsSQL,
				Sentence: "No payment has more than one attempt under way.",
			},
			{
				Name: "payments.attempts.carried", SQL: forgottenAttemptsSQL,
				Sentence: "Every attempt has its task, as long as tasks of its month are kept; one under way has it still to be done, every other has its answer.",
			},
			{
				Name: "payments.tasks.grounded", SQL: strayTasksSQL,
				Sentence: "Every task that carries out an attempt has that attempt, and there is one task for it.",
			},
			{
				Name: "payments.attempts.booked", SQL: unbookedAttemptsSQL,
				Sentence: "Every attempt stands on the entry that holds its money, and a refund's entry ended as the refund did.",
			},
			{
				Name: "payments.attempts.keyed", SQL: unrecordedKeysSQL,
				Sentence: "Every attempt of the last 30 days that was asked for under a key is recorded under that key, and none under another.",
			},
			{
				Name: "payments.refunds.single", SQL: sharedRefundsSQL,
				Sentence: "No two refunds share an entry, or are one and the same at the provider.",
			},
			{
				Name: "payments.answers.told", SQL: untoldAnswersSQL,
				Sentence: "What was answered about an attempt's end is what an event tells, word for word.",
			},
			{
				Name: "payments.answers.true", SQL: untrueAnswersSQL,
				Sentence: "Every payment is what its last answer said.",
			},
			{
				Name: "payments.events.complete", SQL: untoldTransitionsSQL,
				Sentence: "Every transition of a payment has its event, once.",
			},
			{
				Name: "payments.events.grounded", SQL: ungroundedEventsSQL,
				Sentence: "Every event about a payment has its payment.",
			},
		},
	}
}

const (
	countPaymentsSQL        = `select count(*) from payment`
	countPaymentAttemptsSQL = `select count(*) from payment_attempt`
)

// The entries name their payment; whatever is booked about a payment counts here, whichever attempt did it. A reversal takes
// back.
const unequalBooksSQL = `
	with line as (
		select e.org_id, e.subject_id as id, e.code, l.phase,
			case when e.reversal_of is null then l.amount else -l.amount end as amount
		from ledger_entry e
		join ledger_posting l on l.org_id = e.org_id and l.entry_id = e.id
		where e.subject_id is not null and e.code in ('payment.authorise', 'payment.refund', 'payment.fee')
	), booked as (
		select l.org_id, l.id,
			coalesce(sum(l.amount) filter (where l.code = 'payment.authorise' and l.phase in ('settled', 'posted')), 0) as captured,
			coalesce(sum(case l.phase when 'pending' then l.amount else -l.amount end)
				filter (where l.code = 'payment.authorise' and l.phase <> 'posted'), 0) as held,
			coalesce(sum(l.amount) filter (where l.code = 'payment.refund' and l.phase in ('settled', 'posted')), 0) as refunded,
			coalesce(sum(case l.phase when 'pending' then l.amount else -l.amount end)
				filter (where l.code = 'payment.refund' and l.phase <> 'posted'), 0) as refunding,
			coalesce(sum(l.amount) filter (where l.code = 'payment.fee' and l.phase = 'posted'), 0) as fee
		from line l
		group by l.org_id, l.id
	), refund as (
		select a.org_id, a.payment_id as id, sum(a.amount) as amount
		from payment_attempt a
		where a.kind = 'refund' and a.state in ('processing', 'unknown')
		group by a.org_id, a.payment_id
	), compared as (
		select p.org_id, p.id, p.status, p.amount_captured, p.amount_refunded, p.amount_fee,
			case when p.status in ('processing', 'unknown') then p.amount else p.amount_capturable end as to_hold,
			coalesce(r.amount, 0) as to_refund,
			coalesce(b.captured, 0) as captured, coalesce(b.held, 0) as held, coalesce(b.refunded, 0) as refunded,
			coalesce(b.refunding, 0) as refunding, coalesce(b.fee, 0) as fee
		from payment p
		left join booked b on b.org_id = p.org_id and b.id = p.id
		left join refund r on r.org_id = p.org_id and r.id = p.id
	)
	select c.org_id, 'pay:' || c.id,
		format('it is %s; ', c.status) || concat_ws(', ',
			case when c.captured <> c.amount_captured then format('captured %s, booked %s', c.amount_captured, c.captured) end,
			case when c.held <> c.to_hold then format('to be held %s, held %s', c.to_hold, c.held) end,
			case when c.refunded <> c.amount_refunded then format('refunded %s, booked %s', c.amount_refunded, c.refunded) end,
			case when c.refunding <> c.to_refund then format('refunds under way %s, held for them %s', c.to_refund, c.refunding) end,
			case when c.fee <> c.amount_fee then format('fee %s, booked %s', c.amount_fee, c.fee) end),
		count(*) over ()
	from compared c
	where c.captured <> c.amount_captured or c.held <> c.to_hold or c.refunded <> c.amount_refunded
		or c.refunding <> c.to_refund or c.fee <> c.amount_fee
	order by 4, 1, 2 limit 10`

const strangeAccountsSQL = `
	with entry as (
		select e.org_id, e.id, e.code, e.subject_id, e.reversal_of is not null as back, p.id as payment_id,
			'provider/' || p.provider || '/clearing/' || p.currency as clearing,
			case e.code when 'payment.fee' then 'provider/' || p.provider || '/fees/' || p.currency
				else 'payments/received/' || p.currency end as other
		from ledger_entry e
		left join payment p on p.org_id = e.org_id and p.id = e.subject_id
		where e.subject_id is not null and e.code in ('payment.authorise', 'payment.refund', 'payment.fee')
	)
	select e.org_id, 'pay:' || e.subject_id,
		case when e.payment_id is null then format('ent:%s, %s, is booked, and it is not there', e.id, e.code)
			else format('ent:%s, %s, debits %s and credits %s', e.id, e.code, d.code, c.code) end,
		count(*) over ()
	from entry e
	join ledger_posting l on l.org_id = e.org_id and l.entry_id = e.id
	join ledger_account d on d.org_id = l.org_id and d.id = l.debit_account_id
	join ledger_account c on c.org_id = l.org_id and c.id = l.credit_account_id
	where e.payment_id is null
		or d.code <> case when (e.code = 'payment.authorise') <> e.back then e.clearing else e.other end collate "C"
		or c.code <> case when (e.code = 'payment.authorise') <> e.back then e.other else e.clearing end collate "C"
	order by 4, 1, 2, e.id limit 10`

// What the attempts come to, by the rule of Payment.advance.
const untrueStatusesSQL = `
	with done as (
		select a.org_id, a.payment_id as id, count(*) as attempts,
			count(*) filter (where a.kind = 'authorise') as authorisations,
			max(a.state) filter (where a.kind = 'authorise') as authorised,
			coalesce(sum(a.amount) filter (where a.kind = 'capture' and a.state = 'succeeded'), 0) as captured,
			coalesce(sum(a.amount) filter (where a.kind = 'refund' and a.state = 'succeeded'), 0) as refunded,
			coalesce(sum(a.fee) filter (where a.state = 'succeeded'), 0) as fee,
			count(*) filter (where a.kind = 'void' and a.state = 'succeeded') as voids
		from payment_attempt a
		group by a.org_id, a.payment_id
	), judged as (
		select p.org_id, p.id, p.status, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded, p.amount_fee,
			coalesce(d.authorisations, 0) as authorisations, coalesce(d.authorised, 'missing') as authorised,
			case when p.capture_method = 'automatic' and d.authorised = 'succeeded' then p.amount else 0 end + coalesce(d.captured, 0) as captured,
			coalesce(d.refunded, 0) as refunded, coalesce(d.fee, 0) as fee,
			case p.status
				when 'processing' then d.authorised = 'processing' and d.attempts = 1
				when 'unknown' then d.authorised = 'unknown' and d.attempts = 1
				when 'declined' then d.authorised = 'declined' and d.attempts = 1 and p.failure_code is not null
				when 'authorised' then d.authorised = 'succeeded' and p.amount_capturable = p.amount and p.amount_captured = 0
				when 'captured' then d.authorised = 'succeeded' and p.amount_captured > 0 and p.amount_capturable in (0, p.amount - p.amount_captured)
					and (p.amount_refunded < p.amount_captured or p.amount_capturable > 0)
				when 'refunded' then d.authorised = 'succeeded' and p.amount_captured > 0
					and p.amount_refunded = p.amount_captured and p.amount_capturable = 0
				when 'voided' then d.authorised = 'succeeded' and d.voids = 1 and p.amount_captured = 0 and p.amount_capturable = 0
				else d.authorised = 'succeeded' and p.amount_captured = 0 and p.amount_capturable = 0
					and p.authorisation_expires_at is not null
			end as follows
		from payment p
		left join done d on d.org_id = p.org_id and d.id = p.id
	)
	select j.org_id, 'pay:' || j.id,
		format('it is %s, captured %s, capturable %s, refunded %s, fee %s; its attempts come to captured %s, refunded %s, fee %s, with %s authorisations, %s',
			j.status, j.amount_captured, j.amount_capturable, j.amount_refunded, j.amount_fee, j.captured, j.refunded, j.fee,
			j.authorisations, j.authorised),
		count(*) over ()
	from judged j
	where j.authorisations <> 1 or j.follows is not true or j.captured <> j.amount_captured or j.refunded <> j.amount_refunded or j.fee <> j.amount_fee
		or (j.authorised <> 'succeeded' and j.amount_capturable <> 0)
	order by 4, 1, 2 limit 10`

// What a payment has of its authorisation, and what a void and a last capture leave of it.
const untrueTermsSQL = `
	with done as (
		select a.org_id, a.payment_id as id,
			min(a.amount) filter (where a.kind = 'authorise') as asked,
			coalesce(bool_or(a.state = 'succeeded') filter (where a.kind = 'authorise'), false) as authorised,
			max(a.failure_code) filter (where a.kind = 'authorise' and a.state = 'declined') as failure_code,
			sum(a.amount) filter (where a.kind = 'void' and a.state = 'succeeded') as voided,
			coalesce(bool_or(a.final) filter (where a.kind = 'capture' and a.state = 'succeeded'), false) as closed
		from payment_attempt a
		group by a.org_id, a.payment_id
	), fault as (
		select p.org_id, p.id, concat_ws('; ',
			case when p.amount <> d.asked then format('it is of %s, and %s were asked for', p.amount, d.asked) end,
			case when d.authorised and p.charge_id is null then 'it is authorised, and has no charge at the provider' end,
			case when p.failure_code is distinct from d.failure_code
				then format('it failed for %s, its authorisation for %s', coalesce(p.failure_code, 'nothing'), coalesce(d.failure_code, 'nothing')) end,
			case when (p.authorisation_expires_at is not null) <> (d.authorised and p.capture_method = 'manual')
				then format('its authorisation expires %s', coalesce('at ' || p.authorisation_expires_at, 'never')) end,
			case when d.voided <> p.amount - p.amount_captured then format('%s were voided, of %s less %s', d.voided, p.amount, p.amount_captured) end,
			case when d.closed and p.amount_capturable > 0 then format('its last capture was made, and %s are capturable', p.amount_capturable) end) as what
		from payment p
		join done d on d.org_id = p.org_id and d.id = p.id
	)
	select f.org_id, 'pay:' || f.id, f.what, count(*) over ()
	from fault f
	where f.what <> ''
	order by 4, 1, 2 limit 10`

// Each attempt makes an event when it is asked for and one when it is final. In between an answer may be lost any number of
// times: one event at least for an attempt that has once been unknown, and only such an attempt has settles_at.
const untoldTransitionsSQL = `
	with step as (
		select a.org_id, a.payment_id as id, case a.kind when 'authorise' then 'payment.created' else 'payment.' || a.kind || '_requested' end as type
		from payment_attempt a
		union all
		select a.org_id, a.payment_id,
			case
				when a.state = 'declined' then case a.kind when 'authorise' then 'payment.declined' else 'payment.' || a.kind || '_declined' end
				when a.kind = 'authorise' then case p.capture_method when 'automatic' then 'payment.captured' else 'payment.authorised' end
				else case a.kind when 'capture' then 'payment.captured' when 'refund' then 'payment.refunded' else 'payment.voided' end
			end
		from payment_attempt a
		join payment p on p.org_id = a.org_id and p.id = a.payment_id
		where a.state in ('succeeded', 'declined')
		union all
		select distinct a.org_id, a.payment_id, case a.kind when 'authorise' then 'payment.unknown' else 'payment.' || a.kind || '_unknown' end
		from payment_attempt a
		where a.settles_at is not null
		union all
		select p.org_id, p.id, 'payment.expired' from payment p where p.status = 'expired'
	), expected as (
		select s.org_id, s.id, s.type, count(*) as n from step s group by s.org_id, s.id, s.type
	), told as (
		select e.org_id, e.aggregateid as id, e.type, count(*) as n
		from event e
		where e.aggregatetype = 'payment' and e.type <> 'payment.pending'
		group by e.org_id, e.aggregateid, e.type
	), fault as (
		select coalesce(x.org_id, t.org_id) as org_id, coalesce(x.id, t.id) as id, coalesce(x.type, t.type) as type,
			coalesce(x.n, 0) as expected, coalesce(t.n, 0) as told
		from expected x
		full join told t on t.org_id = x.org_id and t.id = x.id and t.type = x.type
		where case
			when coalesce(x.type, t.type) like '%unknown' then (x.n is null) <> (t.n is null)
			when t.type = 'payment.expired' then t.n > 1
			else x.n is distinct from t.n
		end
	)
	select f.org_id, 'pay:' || f.id, format('%s was told %s times, and its attempts make it %s', f.type, f.told, f.expected), count(*) over ()
	from fault f
	join payment p on p.org_id = f.org_id and p.id = f.id
	order by 4, 1, 2, f.type limit 10`

const ungroundedEventsSQL = `
	select v.org_id, 'pay:' || v.aggregateid, format('%s tells of a payment that is not there', v.type), count(*) over ()
	from event v
	where v.aggregatetype = 'payment'
		and not exists (select from payment p where p.org_id = v.org_id and p.id = v.aggregateid)
	order by 4, 1, 2 limit 10`
