package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The inserts unnest in the select list, not in FROM: for rows as wide as these it costs PostgreSQL a quarter.

// hot
const insertEntriesSQL = `
	insert into ledger_entry (org_id, id, state, code, reference, reversal_of, subject_id, posting_count, effective_at,
		recorded_at, expires_at, metadata)
	select unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::uuid[]),
		unnest($7::uuid[]), unnest($8::integer[]), unnest($9::timestamptz[]), $11, unnest($10::timestamptz[]), unnest($12::jsonb[])`

// Whoever closes an entry has locked it and seen it pending. The state is asked for in this way round, lest all pending entries be
// walked through by their index.

// hot
const closeEntriesSQL = `
	update ledger_entry e
	set state = t.state
	from unnest($1::uuid[], $2::uuid[], $3::text[]) as t (org_id, id, state)
	where e.org_id = t.org_id and e.id = t.id and e.state not in ('posted', 'voided', 'expired')`

// hot
const insertPostingsSQL = `
	insert into ledger_posting (org_id, entry_id, number, origin, phase, amount, recorded_at, effective_at,
		debit_account_id, debit_version, debit_debits_posted, debit_credits_posted, debit_debits_pending, debit_credits_pending,
		credit_account_id, credit_version, credit_debits_posted, credit_credits_posted, credit_debits_pending, credit_credits_pending)
	select unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::integer[]), unnest($4::integer[]), unnest($5::text[]), unnest($6::bigint[]),
		$20, unnest($7::timestamptz[]),
		unnest($8::uuid[]), unnest($9::bigint[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::bigint[]), unnest($13::bigint[]),
		unnest($14::uuid[]), unnest($15::bigint[]), unnest($16::bigint[]), unnest($17::bigint[]), unnest($18::bigint[]), unnest($19::bigint[])`

// The rows are locked, so each is where the lock found it: no index has to be searched a second time. Were one not there, the
// domain would refuse to say that all were.

// hot
const updateLockedSQL = `
	with updated as (
		update ledger_account a
		set debits_posted = u.d1, credits_posted = u.c1, debits_pending = u.d2, credits_pending = u.c2, version = u.version,
			recorded_at = $7
		from (
			select unnest($1::tid[]) as place, unnest($2::bigint[]) as d1, unnest($3::bigint[]) as c1, unnest($4::bigint[]) as d2,
				unnest($5::bigint[]) as c2, unnest($6::bigint[]) as version
		) as u
		where a.ctid = u.place
		returning 1
	)
	select (count(*) = cardinality($1::tid[]))::ledger_accounts_found from updated`

// The rows were guessed at, and are updated where the guess was right; they come in the order of their ids, and so they are locked. Not
// by their place: a row that is found there does not make PostgreSQL clear its page of old versions, as one found by an index
// does, and without room on its page the next version needs new entries in every index. The time may be a guess too ($11): it must not be
// ahead of the database's clock, nor far behind.

// hot
const updateGuessedSQL = `
	with updated as (
		update ledger_account a
		set debits_posted = u.d1, credits_posted = u.c1, debits_pending = u.d2, credits_pending = u.c2, version = u.version,
			recorded_at = $7
		from (
			select unnest($8::uuid[]) as org_id, unnest($1::uuid[]) as id, unnest($9::bigint[]) as found_version,
				unnest($10::timestamptz[]) as found_recorded_at, unnest($2::bigint[]) as d1, unnest($3::bigint[]) as c1,
				unnest($4::bigint[]) as d2, unnest($5::bigint[]) as c2, unnest($6::bigint[]) as version
		) as u
		where a.org_id = u.org_id and a.id = u.id and a.version = u.found_version and a.recorded_at = u.found_recorded_at
		returning 1
	)
	select (count(*) = cardinality($1::uuid[])
		and coalesce(clock_timestamp() - $11 between interval '0' and interval '1 second', true))::ledger_accounts_found
	from updated`

// write stores what the book did, and does not wait for it.
func (l *Ledger) write(ctx context.Context, tx postgres.Tx, b *book) error {
	if len(b.postings) == 0 {
		return nil
	}
	send := postgres.SendLater
	if len(b.postings) >= manyPostings {
		send = postgres.SendNow
	}
	for _, queue := range []func(*pgx.Batch){
		b.queueEntries, // first, for PostgreSQL has nothing to do yet, and this is written the soonest
		b.queueAccounts, b.queuePostings, b.queueClosed,
		func(batch *pgx.Batch) { l.events.Queue(batch, b.events()) },
	} {
		batch := &pgx.Batch{}
		queue(batch)
		if err := send(ctx, tx, batch, b.explainWrite); err != nil {
			return err
		}
	}
	return nil
}

// manyPostings is from how many postings on PostgreSQL takes longer over a statement than this node over writing the next one.
const manyPostings = 50

func (b *book) explainWrite(err error) error {
	constraint := postgres.Constraint(err)
	if constraint != "" && b.guessed() {
		return postgres.ErrAgain // the guess is forgotten: the next run locks and reads
	}
	switch constraint {
	case "ledger_entry_reference_key", "ledger_entry_reversal_key":
		return postgres.ErrAgain // another transaction was first; the next run will see its entry
	case "ledger_account_available_min":
		return ErrExceedsAvailable.Because(err)
	case "ledger_account_available_max":
		return ErrExceedsAvailableMax.Because(err)
	}
	return fmt.Errorf("write a batch of entries: %w", err)
}

func (b *book) queueEntries(batch *pgx.Batch) {
	n := len(b.entries)
	if n == 0 {
		return
	}
	orgs, entries := make([]ids.ID, n), make([]ids.ID, n)
	states, codes, references := make([]string, n), make([]string, n), make([]*string, n)
	reversals, subjects, counts := make([]*ids.ID, n), make([]*ids.ID, n), make([]int32, n)
	effective, expires, metadata := make([]*time.Time, n), make([]*time.Time, n), make([][]byte, n)
	for i, t := range b.entries {
		orgs[i], entries[i], states[i], codes[i] = t.OrgID, t.ID, string(t.State), t.Code
		references[i], reversals[i], subjects[i] = optional(t.Reference), optional(t.ReversalOf), optional(t.SubjectID)
		counts[i], effective[i], expires[i], metadata[i] = int32(len(t.origins())), optional(t.EffectiveAt), optional(t.ExpiresAt), t.Metadata
	}
	batch.Queue(insertEntriesSQL, orgs, entries, states, codes, references, reversals, subjects, counts, effective, expires, b.now, metadata)
}

// optional is nil for a zero value: NULL in the database.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func (b *book) queueClosed(batch *pgx.Batch) {
	var orgs, entries []ids.ID
	var states []string
	for _, t := range b.settled {
		if t.State != StatePending {
			orgs, entries, states = append(orgs, t.OrgID), append(entries, t.ID), append(states, string(t.State))
		}
	}
	if len(entries) > 0 {
		batch.Queue(closeEntriesSQL, orgs, entries, states)
	}
}

func (b *book) queuePostings(batch *pgx.Batch) {
	n := len(b.postings)
	orgs, entries, debits, credits := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	numbers, origins, phases := make([]int32, n), make([]int32, n), make([]string, n)
	effective := make([]*time.Time, n)
	var figures [11][]int64
	flat := make([]int64, len(figures)*n)
	for k := range figures {
		figures[k] = flat[k*n : (k+1)*n]
	}
	for i := range b.postings {
		p := &b.postings[i]
		orgs[i], entries[i], debits[i], credits[i] = p.entry.OrgID, p.entry.ID, p.line.debit.ID, p.line.credit.ID
		numbers[i], origins[i], phases[i] = int32(p.line.number), int32(p.line.origin), string(p.line.phase)
		effective[i] = optional(p.line.effectiveAt)
		for k, v := range [11]int64{
			p.line.amount,
			p.debitVersion, p.debitAfter.DebitsPosted, p.debitAfter.CreditsPosted, p.debitAfter.DebitsPending, p.debitAfter.CreditsPending,
			p.creditVersion, p.creditAfter.DebitsPosted, p.creditAfter.CreditsPosted, p.creditAfter.DebitsPending, p.creditAfter.CreditsPending,
		} {
			figures[k][i] = v
		}
	}
	batch.Queue(insertPostingsSQL, orgs, entries, numbers, origins, phases, figures[0], effective,
		debits, figures[1], figures[2], figures[3], figures[4], figures[5],
		credits, figures[6], figures[7], figures[8], figures[9], figures[10], b.now)
}

func (b *book) queueAccounts(batch *pgx.Batch) {
	n := len(b.touched)
	d1, c1, d2, c2, versions := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	if b.guessed() {
		slices.SortFunc(b.touched, func(a, b *accountState) int { return ids.Compare(a.ID, b.ID) })
	}
	for i, a := range b.touched {
		d1[i], c1[i] = a.Balance.DebitsPosted, a.Balance.CreditsPosted
		d2[i], c2[i] = a.Balance.DebitsPending, a.Balance.CreditsPending
		versions[i] = a.Version
	}
	if !b.guessed() {
		places := make([]pgtype.TID, n)
		for i, a := range b.touched {
			places[i] = a.place
		}
		batch.Queue(updateLockedSQL, places, d1, c1, d2, c2, versions, b.now)
		return
	}
	orgs, accounts, found, foundAt := make([]ids.ID, n), make([]ids.ID, n), make([]int64, n), make([]*time.Time, n)
	for i, a := range b.touched {
		orgs[i], accounts[i], found[i], foundAt[i] = a.OrgID, a.ID, a.loaded, &a.RecordedAt
	}
	batch.Queue(updateGuessedSQL, accounts, d1, c1, d2, c2, versions, b.now, orgs, found, foundAt, b.reckoned)
}
