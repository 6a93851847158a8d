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

// recordsPage is how many payments are read at once.
const recordsPage = 1000

const recordsSQL = `
	select p.id, p.status, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded, p.amount_fee,
		coalesce(p.failure_code, ''), coalesce(p.charge_id, ''), coalesce(p.reference, '')
	from payment p
	where p.org_id = $1 and p.id > $2
	order by p.id
	limit $3`

const attemptsSQL = `
	select a.payment_id, a.id, a.kind, a.state, a.amount, a.fee, coalesce(a.idempotency_key, '')
	from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
	join payment_attempt a on a.org_id = k.org_id and a.payment_id = k.id
	order by a.payment_id, a.id`

// readRecords reads all payments of the organisation, as they are at one moment, by their shown ids.
func (s *simulation) readRecords(ctx context.Context) (map[string]*record, error) {
	var all map[string]*record
	err := s.db.Snapshot(ctx, func(ctx context.Context, tx postgres.Tx) error {
		all = map[string]*record{}
		var after ids.ID
		for {
			page, err := s.readPage(ctx, tx, after)
			if err != nil {
				return err
			}
			for i := range page {
				all[page[i].shown()] = page[i]
			}
			if len(page) < recordsPage {
				return nil
			}
			after = page[len(page)-1].ID
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the payments: %w", err)
	}
	return all, nil
}

func (s *simulation) readPage(ctx context.Context, tx postgres.Tx, after ids.ID) ([]*record, error) {
	rows, err := tx.Query(ctx, recordsSQL, s.org, after, recordsPage)
	if err != nil {
		return nil, err
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*record, error) {
		var r record
		err := row.Scan(&r.ID, &r.Status, &r.Currency, &r.Amount, &r.Capturable, &r.Captured, &r.Refunded, &r.Fee, &r.Failure, &r.Charge, &r.Reference)
		return &r, err
	})
	if err != nil {
		return nil, err
	}
	orgs, payments := make([]ids.ID, len(page)), make([]ids.ID, len(page))
	byID := make(map[ids.ID]*record, len(page))
	for i, r := range page {
		orgs[i], payments[i], byID[r.ID] = s.org, r.ID, r
	}
	if rows, err = tx.Query(ctx, attemptsSQL, orgs, payments); err != nil {
		return nil, err
	}
	attempts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[attempt])
	if err != nil {
		return nil, err
	}
	for _, a := range attempts {
		r := byID[a.PaymentID]
		r.attempts = append(r.attempts, a)
	}
	return page, nil
}
