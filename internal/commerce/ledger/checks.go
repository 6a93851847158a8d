package ledger

import "github.com/kontorhq/kontor/internal/kit/proof"

// Proof is what must be true of the books, recomputed from the postings, which are never changed.
func Proof() proof.Part {
	return proof.Part{
		Populations: []proof.Population{
			{Name: "ledger accounts", SQL: countAccountsSQL},
			{Name: "ledger entries", SQL: countEntriesSQL},
			{Name: "ledger postings", SQL: countPostingsSQL},
		},
		Checks: []proof.Check{
			{
				Name: "ledger.entries.complete", SQL: incompleteEntriesSQL,
				Sentence: "Every entry has all the postings it was recorded with, numbered without gaps.",
			},
			{
				Name: "ledger.postings.placed", SQL: misplacedPostingsSQL,
				Sentence: "Every posting belongs to an entry, has its dates if it is the entry's own, and moves its amount between two accounts of one asset.",
			},
			{
				Name: "ledger.entries.state", SQL: untrueStatesSQL,
				Sentence: "Every entry's state agrees with what its postings hold, settled and released.",
			},
			{
				Name: "ledger.holds.origin", SQL: strayLinesSQL,
				Sentence: "What was settled or released was held before, between the same accounts, and not more than was held.",
			},
			{
				Name: "ledger.reversals.opposite", SQL: unequalReversalsSQL,
				Sentence: "Every reversal books exactly the opposite of what its entry posted.",
			},
			{
				Name: "ledger.accounts.totals", SQL: untrueTotalsSQL,
				Sentence: "Every account's stored totals, version and date equal those recomputed from its postings.",
			},
			{
				Name: "ledger.accounts.pending", SQL: untruePendingSQL,
				Sentence: "Every account's pending totals equal what is still open of its pending entries.",
			},
			{
				Name: "ledger.accounts.chain", SQL: brokenChainsSQL,
				Sentence: "Every account's postings are numbered from 1 without gaps, each balance follows from the one before, and time does not go back.",
			},
			{
				Name: "ledger.accounts.bounds", SQL: brokenBoundsSQL,
				Sentence: "Every account's available balance is within its bounds, and no total is negative.",
			},
			{
				Name: "ledger.assets.balance", SQL: unbalancedAssetsSQL,
				Sentence: "Of every asset, all accounts' debits together equal all their credits.",
			},
			{
				Name: "ledger.events.complete", SQL: untoldEntriesSQL,
				Sentence: "Every change of an entry has its event, which tells its postings, once and with their amounts.",
			},
			{
				Name: "ledger.events.opened", SQL: untoldAccountsSQL,
				Sentence: "Every account is as the event of its creation tells, of which there is one, and every such event has its account.",
			},
			{
				Name: "ledger.events.grounded", SQL: ungroundedEventsSQL,
				Sentence: "Every event about an entry has its entry.",
			},
		},
	}
}

const (
	countAccountsSQL = `select count(*) from ledger_account`
	countEntriesSQL  = `select count(*) from ledger_entry`
	countPostingsSQL = `select count(*) from ledger_posting`
)

// An entry's own postings come first and are all of one phase, posted or pending; those that settle or release them follow.
const incompleteEntriesSQL = `
	with line as (
		select p.org_id, p.entry_id, count(*) as lines, max(p.number) as last,
			count(*) filter (where p.origin = p.number) as own,
			coalesce(max(p.number) filter (where p.origin = p.number), -1) as last_own,
			count(*) filter (where p.origin = p.number and p.phase = 'posted') as posted,
			count(*) filter (where p.origin = p.number and p.phase = 'pending') as pending
		from ledger_posting p
		group by p.org_id, p.entry_id
	)
	select e.org_id, 'ent:' || e.id,
		case
			when l.entry_id is null then format('it has none of its %s postings', e.posting_count)
			when l.own <> e.posting_count then format('it was recorded with %s postings and has %s of them', e.posting_count, l.own)
			when l.posted <> l.own and l.pending <> l.own then 'its own postings are of different phases, or of a phase that only follows'
			else format('its %s postings are not numbered from 0 to %s, its own first', l.lines, l.lines - 1)
		end,
		count(*) over ()
	from ledger_entry e
	left join line l on l.org_id = e.org_id and l.entry_id = e.id
	where l.entry_id is null or l.own <> e.posting_count or l.last_own <> l.own - 1 or l.last <> l.lines - 1
		or (l.posted <> l.own and l.pending <> l.own)
	order by 4, 1, 2 limit 10`

// An entry balances because each posting is both a debit and a credit of one amount; so what is left to check is that both
// sides are there and hold the same asset. What settles or releases is of a later time than its entry.
const misplacedPostingsSQL = `
	select p.org_id, 'ent:' || p.entry_id,
		case
			when e.id is null then format('posting %s belongs to an entry that is not there', p.number)
			when d.id is null then format('posting %s debits an account that is not there: acc:%s', p.number, p.debit_account_id)
			when c.id is null then format('posting %s credits an account that is not there: acc:%s', p.number, p.credit_account_id)
			when p.amount <= 0 or p.debit_account_id = p.credit_account_id then format('posting %s moves nothing', p.number)
			when d.asset = c.asset then format('posting %s is recorded at %s, effective at %s; the entry at %s and %s', p.number, p.recorded_at,
				coalesce(p.effective_at, p.recorded_at), e.recorded_at, coalesce(e.effective_at, e.recorded_at))
			else format('posting %s debits %s, an account of %s, and credits %s, an account of %s', p.number, d.code, d.asset, c.code, c.asset)
		end,
		count(*) over ()
	from ledger_posting p
	left join ledger_entry e on e.org_id = p.org_id and e.id = p.entry_id
	left join ledger_account d on d.org_id = p.org_id and d.id = p.debit_account_id
	left join ledger_account c on c.org_id = p.org_id and c.id = p.credit_account_id
	where e.id is null or d.id is null or c.id is null or d.asset <> c.asset or p.amount <= 0 or p.debit_account_id = p.credit_account_id
		or (p.origin = p.number and (p.recorded_at <> e.recorded_at or p.effective_at is distinct from e.effective_at))
	order by 4, 1, 2, p.number limit 10`

const untrueStatesSQL = `
	with line as (
		select p.org_id, p.entry_id,
			sum(case p.phase when 'posted' then 0 when 'pending' then p.amount else -p.amount end) as open,
			bool_or(p.phase = 'pending') as held,
			bool_or(p.phase = 'posted' or p.phase = 'settled') as booked
		from ledger_posting p
		group by p.org_id, p.entry_id
	)
	select e.org_id, 'ent:' || e.id,
		format('it is %s, with %s of it still open and %s posted', e.state, l.open, case when l.booked then 'some' else 'nothing' end),
		count(*) over ()
	from ledger_entry e
	join line l on l.org_id = e.org_id and l.entry_id = e.id
	where not case e.state
		when 'posted' then l.open = 0 and l.booked
		when 'pending' then l.open > 0 and l.held
		when 'voided' then l.open = 0 and not l.booked
		else l.open = 0 and not l.booked and e.expires_at is not null
	end
	order by 4, 1, 2 limit 10`

const strayLinesSQL = `
	with stray as (
		select p.org_id, p.entry_id, p.number,
			case when o.number is null or o.number >= p.number or o.phase <> 'pending' then 'which was never held' else 'which was held between other accounts' end as fault
		from ledger_posting p
		left join ledger_posting o on o.org_id = p.org_id and o.entry_id = p.entry_id and o.number = p.origin
		where p.phase in ('settled', 'released')
			and (o.number is null or o.number >= p.number or o.phase <> 'pending'
				or o.debit_account_id <> p.debit_account_id or o.credit_account_id <> p.credit_account_id)
		union all
		select p.org_id, p.entry_id, p.origin, 'of which more was settled and released than was held'
		from ledger_posting p
		where p.phase <> 'posted'
		group by p.org_id, p.entry_id, p.origin
		having sum(case p.phase when 'pending' then p.amount else -p.amount end) < 0
			and bool_or(p.phase = 'pending')
	)
	select s.org_id, 'ent:' || s.entry_id, format('posting %s, %s', s.number, s.fault), count(*) over ()
	from stray s
	order by 4, 1, 2, s.number limit 10`

// However many lines it took: what was posted from one account to another must have gone back.
const unequalReversalsSQL = `
	with reversal as (
		select r.org_id, r.id, r.reversal_of, t.state
		from ledger_entry r
		left join ledger_entry t on t.org_id = r.org_id and t.id = r.reversal_of
		where r.reversal_of is not null
	), undone as (
		select r.org_id, r.id, p.credit_account_id as debit, p.debit_account_id as credit, sum(p.amount) as amount
		from reversal r
		join ledger_posting p on p.org_id = r.org_id and p.entry_id = r.reversal_of and p.phase in ('posted', 'settled')
		group by r.org_id, r.id, p.debit_account_id, p.credit_account_id
	), booked as (
		select r.org_id, r.id, p.debit_account_id as debit, p.credit_account_id as credit, sum(p.amount) as amount
		from reversal r
		join ledger_posting p on p.org_id = r.org_id and p.entry_id = r.id
		group by r.org_id, r.id, p.debit_account_id, p.credit_account_id
	), fault as (
		select r.org_id, r.id, format('it reverses an entry that is %s', coalesce(r.state, 'not there')) as detail
		from reversal r
		where r.state is distinct from 'posted'
		union all
		select coalesce(b.org_id, u.org_id), coalesce(b.id, u.id),
			format('%s were to go back from acc:%s to acc:%s, and %s did', coalesce(u.amount, 0),
				coalesce(u.credit, b.credit), coalesce(u.debit, b.debit), coalesce(b.amount, 0))
		from booked b
		full join undone u on u.org_id = b.org_id and u.id = b.id and u.debit = b.debit and u.credit = b.credit
		where u.amount is distinct from b.amount
	)
	select f.org_id, 'ent:' || f.id, min(f.detail), count(*) over ()
	from fault f
	group by f.org_id, f.id
	order by 4, 1, 2 limit 10`

const untrueTotalsSQL = `
	with debit as (
		select p.org_id, p.debit_account_id as id, count(*) as lines, max(p.recorded_at) as last,
			sum(case when p.phase in ('posted', 'settled') then p.amount else 0 end) as posted,
			sum(case p.phase when 'posted' then 0 when 'pending' then p.amount else -p.amount end) as pending
		from ledger_posting p
		group by p.org_id, p.debit_account_id
	), credit as (
		select p.org_id, p.credit_account_id as id, count(*) as lines, max(p.recorded_at) as last,
			sum(case when p.phase in ('posted', 'settled') then p.amount else 0 end) as posted,
			sum(case p.phase when 'posted' then 0 when 'pending' then p.amount else -p.amount end) as pending
		from ledger_posting p
		group by p.org_id, p.credit_account_id
	), total as (
		select a.org_id, a.id, a.code, a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending, a.version, a.recorded_at,
			coalesce(greatest(d.last, c.last), a.recorded_at) as last,
			coalesce(d.posted, 0) as d1, coalesce(c.posted, 0) as c1, coalesce(d.pending, 0) as d2, coalesce(c.pending, 0) as c2,
			coalesce(d.lines, 0) + coalesce(c.lines, 0) as lines
		from ledger_account a
		left join debit d on d.org_id = a.org_id and d.id = a.id
		left join credit c on c.org_id = a.org_id and c.id = a.id
	)
	select t.org_id, 'acc:' || t.id,
		format('%s has debits %s, credits %s, pending %s and %s at version %s of %s; its postings come to %s, %s, %s and %s at %s of %s', t.code,
			t.debits_posted, t.credits_posted, t.debits_pending, t.credits_pending, t.version, t.recorded_at,
			t.d1, t.c1, t.d2, t.c2, t.lines, t.last),
		count(*) over ()
	from total t
	where t.debits_posted <> t.d1 or t.credits_posted <> t.c1 or t.debits_pending <> t.d2 or t.credits_pending <> t.c2 or t.version <> t.lines
		or t.recorded_at <> t.last
	order by 4, 1, 2 limit 10`

const untruePendingSQL = `
	with open as (
		select p.org_id, p.debit_account_id, p.credit_account_id,
			sum(case p.phase when 'pending' then p.amount when 'posted' then 0 else -p.amount end) as amount
		from ledger_entry e
		join ledger_posting p on p.org_id = e.org_id and p.entry_id = e.id
		where e.state = 'pending'
		group by p.org_id, p.debit_account_id, p.credit_account_id
	), debit as (
		select o.org_id, o.debit_account_id as id, sum(o.amount) as amount from open o group by o.org_id, o.debit_account_id
	), credit as (
		select o.org_id, o.credit_account_id as id, sum(o.amount) as amount from open o group by o.org_id, o.credit_account_id
	)
	select a.org_id, 'acc:' || a.id,
		format('%s has pending debits of %s and credits of %s; its pending entries hold %s and %s', a.code,
			a.debits_pending, a.credits_pending, coalesce(d.amount, 0), coalesce(c.amount, 0)),
		count(*) over ()
	from ledger_account a
	left join debit d on d.org_id = a.org_id and d.id = a.id
	left join credit c on c.org_id = a.org_id and c.id = a.id
	where a.debits_pending <> coalesce(d.amount, 0) or a.credits_pending <> coalesce(c.amount, 0)
	order by 4, 1, 2 limit 10`

// Each posting is a link in the chains of both its accounts. One pass over all links in the order of their versions, as narrow
// as can be: the sort is the dearest thing that kontor verify does. Account ids are unique by themselves.
const brokenChainsSQL = `
	with link as (
		select p.org_id, p.debit_account_id as id, p.debit_version as version, p.recorded_at,
			p.debit_debits_posted as dp, p.debit_credits_posted as cp, p.debit_debits_pending as dh, p.debit_credits_pending as ch,
			case when p.phase in ('posted', 'settled') then p.amount else 0 end as dp_by,
			case p.phase when 'posted' then 0 when 'pending' then p.amount else -p.amount end as dh_by,
			0::bigint as cp_by, 0::bigint as ch_by
		from ledger_posting p
		union all
		select p.org_id, p.credit_account_id, p.credit_version, p.recorded_at,
			p.credit_debits_posted, p.credit_credits_posted, p.credit_debits_pending, p.credit_credits_pending,
			0, 0,
			case when p.phase in ('posted', 'settled') then p.amount else 0 end,
			case p.phase when 'posted' then 0 when 'pending' then p.amount else -p.amount end
		from ledger_posting p
	), step as (
		select l.org_id, l.id, l.version, l.recorded_at, l.version - lag(l.version, 1, 0::bigint) over account as versions,
			l.dp - lag(l.dp, 1, 0::bigint) over account <> l.dp_by or l.cp - lag(l.cp, 1, 0::bigint) over account <> l.cp_by
				or l.dh - lag(l.dh, 1, 0::bigint) over account <> l.dh_by or l.ch - lag(l.ch, 1, 0::bigint) over account <> l.ch_by as torn,
			l.recorded_at < lag(l.recorded_at) over account as back
		from link l
		window account as (partition by l.id order by l.version)
	), fault as (
		select s.org_id, s.id, s.version, s.recorded_at,
			case
				when s.versions <> 1 then 'its number does not follow that of the posting before'
				when s.torn then 'the balance after it does not follow from the one before'
				else 'it was recorded before the posting before it'
			end as detail
		from step s
		where s.versions <> 1 or s.torn or s.back
	)
	select f.org_id, 'acc:' || f.id, format('version %s, recorded at %s: %s', f.version, f.recorded_at, f.detail), count(*) over ()
	from fault f
	order by 4, 1, 2, f.version limit 10`

const brokenBoundsSQL = `
	select a.org_id, 'acc:' || a.id,
		format('%s: debits %s, credits %s, pending %s and %s, bounds %s to %s', a.code, a.debits_posted, a.credits_posted,
			a.debits_pending, a.credits_pending, coalesce(a.available_min::text, 'none'), coalesce(a.available_max::text, 'none')),
		count(*) over ()
	from ledger_account a
	where least(a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending) < 0
		or a.available_min > case when a.type in ('asset', 'expense')
			then a.debits_posted::numeric - a.credits_posted - a.credits_pending
			else a.credits_posted::numeric - a.debits_posted - a.debits_pending end
		or a.available_max < case when a.type in ('asset', 'expense')
			then a.debits_posted::numeric - a.credits_posted + a.debits_pending
			else a.credits_posted::numeric - a.debits_posted + a.credits_pending end
	order by 4, 1, 2 limit 10`

const unbalancedAssetsSQL = `
	select a.org_id, a.asset,
		format('debits are %s and credits %s; pending debits are %s and credits %s', sum(a.debits_posted), sum(a.credits_posted),
			sum(a.debits_pending), sum(a.credits_pending)),
		count(*) over ()
	from ledger_account a
	group by a.org_id, a.asset
	having sum(a.debits_posted) <> sum(a.credits_posted) or sum(a.debits_pending) <> sum(a.credits_pending)
	order by 4, 1, 2 limit 10`

// An order writes its postings and its event with one and the same time; several orders of one batch may have the same.
const untoldEntriesSQL = `
	with booked as (
		select p.org_id, p.entry_id as id, p.recorded_at, p.origin = p.number as opening, count(*) as lines, sum(p.amount) as amount
		from ledger_posting p
		group by p.org_id, p.entry_id, p.recorded_at, p.origin = p.number
	), told as (
		select e.org_id, e.aggregateid as id, e.recorded_at, e.type in ('ledger.entry.posted', 'ledger.entry.pending') as opening,
			count(l.amount) as lines, sum(l.amount) as amount
		from event e
		cross join json_to_recordset(e.payload -> 'postings') as l (amount bigint)
		where e.aggregatetype = 'ledger_entry'
		group by e.org_id, e.aggregateid, e.recorded_at, e.type in ('ledger.entry.posted', 'ledger.entry.pending')
	)
	select coalesce(b.org_id, t.org_id), 'ent:' || coalesce(b.id, t.id),
		format('at %s it was %s by %s postings of %s in all; events tell %s of %s', coalesce(b.recorded_at, t.recorded_at),
			case when coalesce(b.opening, t.opening) then 'recorded' else 'settled or released' end,
			coalesce(b.lines, 0), coalesce(b.amount, 0), coalesce(t.lines, 0), coalesce(t.amount, 0)),
		count(*) over ()
	from booked b
	full join told t on t.org_id = b.org_id and t.id = b.id and t.recorded_at = b.recorded_at and t.opening = b.opening
	where b.lines is distinct from t.lines or b.amount <> t.amount
	order by 4, 1, 2, coalesce(b.recorded_at, t.recorded_at) limit 10`

const untoldAccountsSQL = `
	with told as (
		select e.org_id, e.aggregateid as id, v.code, v.type, v.asset, v.scale, v.available_min, v.available_max,
			count(*) over (partition by e.org_id, e.aggregateid) as times
		from event e
		cross join json_to_record(e.payload) as v (code text, type text, asset text, scale smallint, available_min bigint, available_max bigint)
		where e.type = 'ledger.account.created'
	)
	select coalesce(a.org_id, t.org_id), 'acc:' || coalesce(a.id, t.id),
		case
			when a.id is null then 'its creation is told, and there is no such account'
			when t.times = 1 then format('it is %s, %s, %s with %s places, %s to %s; it was created as %s, %s, %s with %s places, %s to %s',
				a.code, a.type, a.asset, a.scale, coalesce(a.available_min::text, 'any'), coalesce(a.available_max::text, 'any'),
				t.code, t.type, t.asset, t.scale, coalesce(t.available_min::text, 'any'), coalesce(t.available_max::text, 'any'))
			else format('its creation is told %s times', coalesce(t.times, 0))
		end,
		count(*) over ()
	from ledger_account a
	full join told t on t.org_id = a.org_id and t.id = a.id
	where a.id is null or t.times is distinct from 1 or a.code is distinct from t.code collate "C" or a.type is distinct from t.type collate "C"
		or a.asset is distinct from t.asset or a.scale is distinct from t.scale
		or a.available_min is distinct from t.available_min or a.available_max is distinct from t.available_max
	order by 4, 1, 2 limit 10`

const ungroundedEventsSQL = `
	select v.org_id, 'ent:' || v.aggregateid, format('%s tells of an entry that is not there', v.type), count(*) over ()
	from event v
	where v.aggregatetype = 'ledger_entry'
		and not exists (select from ledger_entry e where e.org_id = v.org_id and e.id = v.aggregateid)
	order by 4, 1, 2 limit 10`
