package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

// StatementFilter bounds a statement by recorded date: From inclusive, To exclusive; zero means unbounded.
type StatementFilter struct {
	From time.Time
	To   time.Time
}

// StatementLine is one posting as one of its accounts sees it.
type StatementLine struct {
	EntryID     ids.ID
	EntryCode   string
	Number      int
	Phase       Phase
	Side        string // debit or credit
	Counterpart string // the other account's code
	Amount      int64
	Balance     Balance // after it
	Version     int64
	RecordedAt  time.Time
	EffectiveAt time.Time // zero: when recorded
}

// Both sides are read in the order of their index, no more of each than a page and what was recorded at the same time as
// its last line, and merged.
const statementSQL = `
	select s.entry_id, (select e.code from ledger_entry e where e.org_id = $1 and e.id = s.entry_id), s.number, s.phase, s.side,
		(select c.code from ledger_account c where c.org_id = $1 and c.id = s.counterpart), s.amount, s.d1, s.c1, s.d2, s.c2, s.version, s.recorded_at, s.effective_at
	from (
		(select p.entry_id, p.number, p.phase, 'debit' as side, p.credit_account_id as counterpart, p.amount,
			p.debit_debits_posted as d1, p.debit_credits_posted as c1, p.debit_debits_pending as d2, p.debit_credits_pending as c2,
			p.debit_version as version, p.recorded_at, p.effective_at
		from ledger_posting p
		where p.org_id = $1 and p.debit_account_id = $2 and p.recorded_at >= $3 and p.recorded_at < $4
			and p.recorded_at >= $5 and (p.recorded_at, p.debit_version) > ($5, $6)
		order by p.recorded_at fetch first $7 rows with ties)
		union all
		(select p.entry_id, p.number, p.phase, 'credit', p.debit_account_id, p.amount,
			p.credit_debits_posted, p.credit_credits_posted, p.credit_debits_pending, p.credit_credits_pending,
			p.credit_version, p.recorded_at, p.effective_at
		from ledger_posting p
		where p.org_id = $1 and p.credit_account_id = $2 and p.recorded_at >= $3 and p.recorded_at < $4
			and p.recorded_at >= $5 and (p.recorded_at, p.credit_version) > ($5, $6)
		order by p.recorded_at fetch first $7 rows with ties)
		order by recorded_at, version limit $7
	) as s
	order by s.recorded_at, s.version`

// Statement lists an account's postings in their order, oldest first.
func (l *Ledger) Statement(ctx context.Context, orgID, accountID ids.ID, f StatementFilter, after paging.Cursor, limit int) ([]StatementLine, paging.Cursor, error) {
	if f.To.IsZero() {
		f.To = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	at, version := statementPosition(after)
	rows, err := l.db.Pool().Query(ctx, statementSQL, orgID, accountID, f.From, f.To, at, version, limit+1)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("read a statement: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (StatementLine, error) {
		var s StatementLine
		var effective *time.Time
		err := row.Scan(&s.EntryID, &s.EntryCode, &s.Number, &s.Phase, &s.Side, &s.Counterpart, &s.Amount, &s.Balance.DebitsPosted,
			&s.Balance.CreditsPosted, &s.Balance.DebitsPending, &s.Balance.CreditsPending, &s.Version, &s.RecordedAt, &effective)
		if effective != nil {
			s.EffectiveAt = effective.UTC()
		}
		s.RecordedAt = s.RecordedAt.UTC()
		return s, err
	})
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("read a statement: %w", err)
	}
	list, next := paging.Cut(list, limit, statementCursor)
	return list, next, nil
}

// A statement's cursor is the time and the version of its last line.
func statementCursor(last *StatementLine) paging.Cursor {
	c := paging.Cursor{Number: last.Version}
	binary.BigEndian.PutUint64(c.ID[:8], uint64(last.RecordedAt.UnixMicro()))
	return c
}

func statementPosition(c paging.Cursor) (time.Time, int64) {
	if c.IsZero() {
		return time.Time{}, 0
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(c.ID[:8]))).UTC(), c.Number
}
