package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const accountSQL = `
	select org_id, id, code, type, asset, scale, available_min, available_max,
		debits_posted, credits_posted, debits_pending, credits_pending, version, metadata, recorded_at, created_at
	from ledger_account where org_id = $1 and id = $2`

// Account reads one account.
func (l *Ledger) Account(ctx context.Context, orgID, id ids.ID) (Account, error) {
	rows, err := l.db.Pool().Query(ctx, accountSQL, orgID, id)
	if err != nil {
		return Account{}, fmt.Errorf("read an account: %w", err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, scanAccount)
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrAccountNotFound
	}
	return a, err
}

// AccountFilter narrows a list of accounts; an empty field does not.
type AccountFilter struct {
	Code       string
	CodePrefix string
}

const listAccountsSQL = `
	select org_id, id, code, type, asset, scale, available_min, available_max,
		debits_posted, credits_posted, debits_pending, credits_pending, version, metadata, recorded_at, created_at
	from ledger_account where org_id = $1 and id > $2
	order by id limit $3`

const listAccountsByCodeSQL = `
	select a.org_id, a.id, a.code, a.type, a.asset, a.scale, a.available_min, a.available_max,
		a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending, a.version, a.metadata, a.recorded_at, a.created_at
	from ledger_account a
	where a.org_id = $1 and a.code > coalesce((select b.code from ledger_account b where b.org_id = $1 and b.id = $2), '')
		and a.code >= $4 and a.code < $5
	order by a.code limit $3`

// ListAccounts lists accounts, by their making, or by code where the filter names one.
func (l *Ledger) ListAccounts(ctx context.Context, orgID ids.ID, f AccountFilter, after paging.Cursor, limit int) ([]Account, paging.Cursor, error) {
	statement, args := listAccountsSQL, []any{orgID, after.ID, limit + 1}
	switch {
	case f.Code != "":
		statement, args = listAccountsByCodeSQL, append(args, f.Code, f.Code+"\x01")
	case f.CodePrefix != "":
		statement, args = listAccountsByCodeSQL, append(args, f.CodePrefix, f.CodePrefix+"\x7f")
	}
	rows, err := l.db.Pool().Query(ctx, statement, args...)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list accounts: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return nil, paging.Cursor{}, fmt.Errorf("list accounts: %w", err)
	}
	list, next := paging.Cut(list, limit, func(last *Account) paging.Cursor { return paging.Cursor{ID: last.ID} })
	return list, next, nil
}

// The balance after the last posting recorded by then: one look-up on each side of the account. Ordered by the index alone, with all
// that was recorded at the same time: to order by the version as well, PostgreSQL may sort the account's whole history.
const balanceAtSQL = `
	select b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending
	from (
		(select p.debit_version as version, p.debit_debits_posted as debits_posted, p.debit_credits_posted as credits_posted,
			p.debit_debits_pending as debits_pending, p.debit_credits_pending as credits_pending
		from ledger_posting p
		where p.org_id = $1 and p.debit_account_id = $2 and p.recorded_at <= $3
		order by p.recorded_at desc fetch first 1 row with ties)
		union all
		(select p.credit_version, p.credit_debits_posted, p.credit_credits_posted, p.credit_debits_pending, p.credit_credits_pending
		from ledger_posting p
		where p.org_id = $1 and p.credit_account_id = $2 and p.recorded_at <= $3
		order by p.recorded_at desc fetch first 1 row with ties)
	) as b
	order by b.version desc limit 1`

// What the postings with a date of their own change: those recorded by then but effective later come off, those recorded later but
// effective by then come on. All others are effective when recorded.
const effectiveShiftSQL = `
	select
		coalesce(sum(s.sign) filter (where s.side = 'debit' and s.phase in ('posted', 'settled')), 0)::text,
		coalesce(sum(s.sign) filter (where s.side = 'credit' and s.phase in ('posted', 'settled')), 0)::text,
		coalesce(sum(case s.phase when 'pending' then s.sign when 'posted' then 0 else -s.sign end) filter (where s.side = 'debit'), 0)::text,
		coalesce(sum(case s.phase when 'pending' then s.sign when 'posted' then 0 else -s.sign end) filter (where s.side = 'credit'), 0)::text
	from (
		select 'debit' as side, p.phase, case when p.recorded_at <= $3 then -p.amount else p.amount end as sign
		from ledger_posting p
		where p.org_id = $1 and p.debit_account_id = $2 and p.effective_at is not null
			and (p.recorded_at <= $3) <> (p.effective_at <= $3)
		union all
		select 'credit', p.phase, case when p.recorded_at <= $3 then -p.amount else p.amount end
		from ledger_posting p
		where p.org_id = $1 and p.credit_account_id = $2 and p.effective_at is not null
			and (p.recorded_at <= $3) <> (p.effective_at <= $3)
	) as s`

// Basis says by which date a past balance is asked for.
type Basis string

// The bases.
const (
	BasisRecorded  Basis = "recorded"
	BasisEffective Basis = "effective"
)

// BalanceAt tells an account's balance as it stood at a moment: by what was recorded until then, or by what took effect until then
// as far as is known today. The zero time stands for now, by the database's clock; it returns the moment.
func (l *Ledger) BalanceAt(ctx context.Context, orgID, accountID ids.ID, at time.Time, basis Basis) (Balance, time.Time, error) {
	var b Balance
	if at.IsZero() {
		var err error
		if at, err = postgres.Now(ctx, l.db.Pool()); err != nil {
			return b, at, fmt.Errorf("read the clock: %w", err)
		}
	}
	shift := [4]string{"0", "0", "0", "0"}
	batch := &pgx.Batch{}
	batch.Queue(balanceAtSQL, orgID, accountID, at).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&b.DebitsPosted, &b.CreditsPosted, &b.DebitsPending, &b.CreditsPending)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // nothing yet
		}
		return err
	})
	if basis == BasisEffective {
		batch.Queue(effectiveShiftSQL, orgID, accountID, at).QueryRow(func(row pgx.Row) error {
			return row.Scan(&shift[0], &shift[1], &shift[2], &shift[3])
		})
	}
	if err := l.db.Pool().SendBatch(ctx, batch).Close(); err != nil {
		return b, at, fmt.Errorf("read a past balance: %w", err)
	}
	return Balance{
		DebitsPosted: shifted(b.DebitsPosted, shift[0]), CreditsPosted: shifted(b.CreditsPosted, shift[1]),
		DebitsPending: shifted(b.DebitsPending, shift[2]), CreditsPending: shifted(b.CreditsPending, shift[3]),
	}, at, nil
}

// shifted adds a sum that may itself be out of range; what it comes to is not.
func shifted(total int64, by string) int64 {
	sum, ok := new(big.Int).SetString(by, 10)
	if !ok {
		return total // PostgreSQL wrote it: it is a number
	}
	return sum.Add(sum, big.NewInt(total)).Int64()
}
