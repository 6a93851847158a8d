package simulate

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// record is a payment as the database has it, with all its attempts.
type record struct {
	ID         ids.ID
	Status     string
	Currency   string
	Amount     int64
	Capturable int64
	Captured   int64
	Refunded   int64
	Fee        int64
	Failure    string
	Charge     string
	Reference  string

	attempts []attempt
}

// shown is the payment's id as everybody sees it.
func (r *record) shown() string { return ids.Format("pay", r.ID) }

// attempt is one request to the provider, as the database has it.
type attempt struct {
	PaymentID ids.ID
	ID        ids.ID
	Kind      string
	State     string
	Amount    int64
	Fee       int64
	Key       string
}

// pageSize is how many rows are read at once.
const pageSize = 2000

const recordsSQL = `
	select p.id, p.status, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded, p.amount_fee,
		coalesce(p.failure_code, ''), coalesce(p.charge_id, ''), coalesce(p.reference, '')
	from payment p
	where p.org_id = $1 and p.id > $2
	order by p.id
	limit $3`

const attemptsSQL = `
	select a.payment_id, a.id, a.kind, a.state, a.amount, a.fee, coalesce(a.idempotency_key, '')
	from payment_attempt a
	where a.org_id = $1 and a.id > $2
	order by a.id
	limit $3`

// readRecords reads all payments of the organisation, as they are at one moment, by their shown ids.
func (s *simulation) readRecords(ctx context.Context) (map[string]*record, error) {
	var all map[string]*record
	err := s.db.Snapshot(ctx, func(ctx context.Context, tx postgres.Tx) error {
		all = map[string]*record{}
		byID := map[ids.ID]*record{}
		err := eachRow(ctx, tx, recordsSQL, s.org, func(row pgx.CollectableRow) (ids.ID, error) {
			var r record
			err := row.Scan(&r.ID, &r.Status, &r.Currency, &r.Amount, &r.Capturable, &r.Captured, &r.Refunded, &r.Fee, &r.Failure, &r.Charge, &r.Reference)
			all[r.shown()], byID[r.ID] = &r, &r
			return r.ID, err
		})
		if err != nil {
			return err
		}
		return eachRow(ctx, tx, attemptsSQL, s.org, func(row pgx.CollectableRow) (ids.ID, error) {
			a, err := pgx.RowToStructByPos[attempt](row)
			if err != nil {
				return ids.ID{}, err
			}
			if r := byID[a.PaymentID]; r != nil { // a foreign key sees to that; kontor verify too
				r.attempts = append(r.attempts, a)
			}
			return a.ID, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the payments: %w", err)
	}
	return all, nil
}

// eachRow reads a list page by page, in the order of its ids. use gives the id of its row.
func eachRow(ctx context.Context, tx postgres.Tx, statement string, org ids.ID, use func(pgx.CollectableRow) (ids.ID, error)) error {
	var after ids.ID
	for {
		rows, err := tx.Query(ctx, statement, org, after, pageSize)
		if err != nil {
			return err
		}
		page, err := pgx.CollectRows(rows, use)
		if err != nil {
			return err
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1]
	}
}
