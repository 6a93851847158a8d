package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

const entrySQL = `
	select org_id, id, state, code, reference, reversal_of, subject_id, effective_at, recorded_at, expires_at, metadata, false
	from ledger_entry where org_id = $1 and id = $2`

const entryLinesSQL = `
	select p.entry_id, p.number, p.origin, p.phase, d.code, c.code, p.amount, p.recorded_at
	from unnest($2::uuid[]) as e (id)
	join ledger_posting p on p.org_id = $1 and p.entry_id = e.id
	join ledger_account d on d.org_id = $1 and d.id = p.debit_account_id
	join ledger_account c on c.org_id = $1 and c.id = p.credit_account_id
	order by p.entry_id, p.number`

// Entry reads one entry with its lines.
func (l *Ledger) Entry(ctx context.Context, orgID, id ids.ID) (Recorded, error) {
	rows, err := l.db.Pool().Query(ctx, entrySQL, orgID, id)
	if err != nil {
		return Recorded{}, fmt.Errorf("read an entry: %w", err)
	}
	stored, err := pgx.CollectExactlyOneRow(rows, scanEntry)
	if errors.Is(err, pgx.ErrNoRows) {
		return Recorded{}, ErrEntryNotFound
	}
	if err != nil {
		return Recorded{}, fmt.Errorf("read an entry: %w", err)
	}
	list := []Recorded{stored.recorded()}
	err = l.addLines(ctx, orgID, list)
	return list[0], err
}

// addLines fills in the postings of entries of one organisation.
func (l *Ledger) addLines(ctx context.Context, orgID ids.ID, list []Recorded) error {
	index := make(map[ids.ID]int, len(list))
	wanted := make([]ids.ID, len(list))
	for i := range list {
		index[list[i].ID], wanted[i] = i, list[i].ID
	}
	rows, err := l.db.Pool().Query(ctx, entryLinesSQL, orgID, wanted)
	if err != nil {
		return fmt.Errorf("read the postings of entries: %w", err)
	}
	var entryID ids.ID
	var p RecordedPosting
	_, err = pgx.ForEachRow(rows, []any{&entryID, &p.Number, &p.Origin, &p.Phase, &p.Debit, &p.Credit, &p.Amount, &p.RecordedAt}, func() error {
		p.RecordedAt = p.RecordedAt.UTC()
		i := index[entryID]
		list[i].Postings = append(list[i].Postings, p)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the postings of entries: %w", err)
	}
	return nil
}

// EntryFilter narrows a list of entries; an empty field does not, and all that are given must hold. Account is a code and
// Subject the id of what the entry is about. The search follows the first given of Reference, Subject, Account and State ==
// pending.
type EntryFilter struct {
	Account      string
	State        State
	Reference    string
	SubjectID    ids.ID
	RecordedFrom time.Time
	RecordedTo   time.Time
}

const listEntriesSQL = `
	select org_id, id, state, code, reference, reversal_of, subject_id, effective_at, recorded_at, expires_at, metadata, false
	from ledger_entry
	where org_id = $1 and id < $2 and ($4 = '' or state = $4) and recorded_at >= $5 and recorded_at < $6
	order by id desc limit $3`

const listPendingEntriesSQL = `
	select org_id, id, state, code, reference, reversal_of, subject_id, effective_at, recorded_at, expires_at, metadata, false
	from ledger_entry
	where org_id = $1 and id < $2 and state = 'pending' and ($4 = '' or state = $4) and recorded_at >= $5 and recorded_at < $6
	order by id desc limit $3`

const listEntriesBySubjectSQL = `
	select e.org_id, e.id, e.state, e.code, e.reference, e.reversal_of, e.subject_id, e.effective_at, e.recorded_at, e.expires_at, e.metadata, false
	from ledger_entry e
	where e.org_id = $1 and e.subject_id = $7 and e.id < $2 and ($4 = '' or e.state = $4) and e.recorded_at >= $5 and e.recorded_at < $6
		and ($8 = '' or (
			select count(*) from ledger_posting p
			where p.org_id = $1 and p.entry_id = e.id
				and (select a.id from ledger_account a where a.org_id = $1 and a.code = $8) in (p.debit_account_id, p.credit_account_id)) > 0)
	order by e.id desc limit $3`

const listEntriesByReferenceSQL = `
	select e.org_id, e.id, e.state, e.code, e.reference, e.reversal_of, e.subject_id, e.effective_at, e.recorded_at, e.expires_at, e.metadata, false
	from ledger_entry e
	where e.org_id = $1 and e.reference = $7 and e.id < $2 and ($4 = '' or e.state = $4) and e.recorded_at >= $5 and e.recorded_at < $6
		and ($8 = '' or (
			select count(*) from ledger_posting p
			where p.org_id = $1 and p.entry_id = e.id
				and (select a.id from ledger_account a where a.org_id = $1 and a.code = $8) in (p.debit_account_id, p.credit_account_id)) > 0)
		and ($9::uuid is null or e.subject_id = $9)
	order by e.id desc limit $3`

// Entries that touch an account, newest first: read from the account's two indexes, backwards from the cursor. Their order is
// that of the account's chain, not of the ids, which are only as good as the clocks of the nodes that made them. An entry
// has up to a hundred postings on an account.
const listEntriesByAccountSQL = `
	with touched as (
		(select p.entry_id, p.recorded_at
		from ledger_posting p
		where p.org_id = $1 and p.debit_account_id = (select a.id from ledger_account a where a.org_id = $1 and a.code = $7)
			and p.recorded_at >= $5 and p.recorded_at < $6 and p.recorded_at <= $8 and (p.recorded_at < $8 or p.entry_id < $2)
			and p.number = p.origin
			and ($4 = '' or (select e.state from ledger_entry e where e.org_id = $1 and e.id = p.entry_id) = $4)
		order by p.recorded_at desc fetch first ($3 * 100) rows with ties)
		union
		(select p.entry_id, p.recorded_at
		from ledger_posting p
		where p.org_id = $1 and p.credit_account_id = (select a.id from ledger_account a where a.org_id = $1 and a.code = $7)
			and p.recorded_at >= $5 and p.recorded_at < $6 and p.recorded_at <= $8 and (p.recorded_at < $8 or p.entry_id < $2)
			and p.number = p.origin
			and ($4 = '' or (select e.state from ledger_entry e where e.org_id = $1 and e.id = p.entry_id) = $4)
		order by p.recorded_at desc fetch first ($3 * 100) rows with ties)
	)
	select e.org_id, e.id, e.state, e.code, e.reference, e.reversal_of, e.subject_id, e.effective_at, e.recorded_at, e.expires_at, e.metadata, false
	from touched t
	join ledger_entry e on e.org_id = $1 and e.id = t.entry_id
	order by t.recorded_at desc, t.entry_id desc limit $3`

// ListEntries lists entries with their lines, newest first.
func (l *Ledger) ListEntries(ctx context.Context, orgID ids.ID, f EntryFilter, after paging.Cursor, limit int) ([]Recorded, paging.Cursor, error) {
	before := after.ID
	if before.IsZero() {
		for i := range before {
			before[i] = 0xff
		}
	}
	if f.RecordedTo.IsZero() {
		f.RecordedTo = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	statement, args := listEntriesSQL, []any{orgID, before, limit + 1, string(f.State), f.RecordedFrom, f.RecordedTo}
	switch {
	case f.Reference != "":
		statement, args = listEntriesByReferenceSQL, append(args, f.Reference, f.Account, optional(f.SubjectID))
	case !f.SubjectID.IsZero():
		statement, args = listEntriesBySubjectSQL, append(args, f.SubjectID, f.Account)
	case f.Account != "":
		statement, args = listEntriesByAccountSQL, append(args, f.Account, recordedUntil(after, f.RecordedTo))
	case f.State == StatePending:
		statement = listPendingEntriesSQL
	}
	rows, err := l.db.Pool().Query(ctx, statement, args...)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list entries: %w", err)
	}
	stored, err := pgx.CollectRows(rows, scanEntry)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list entries: %w", err)
	}
	stored, next := paging.Cut(stored, limit, func(last *storedEntry) paging.Cursor {
		return paging.Cursor{Number: last.RecordedAt.UnixMicro(), ID: last.ID}
	})
	list := make([]Recorded, len(stored))
	for i := range stored {
		list[i] = stored[i].recorded()
	}
	return list, next, l.addLines(ctx, orgID, list)
}

// recordedUntil is where an account's entries go on: at the time of the last one of the page before.
func recordedUntil(after paging.Cursor, end time.Time) time.Time {
	if after.Number == 0 {
		return end
	}
	return time.UnixMicro(after.Number).UTC()
}
