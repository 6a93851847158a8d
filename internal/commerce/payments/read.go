package payments

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

const paymentSQL = `
	select p.org_id, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.reference, p.description, p.metadata, p.charge_id, p.hold_entry_id, p.failure_code,
		p.authorisation_expires_at, p.created_at, p.updated_at
	from payment p where p.org_id = $1 and p.id = $2`

// Get returns a payment as JSON.
func (p *Payments) Get(ctx context.Context, orgID, id ids.ID) ([]byte, error) {
	list, err := p.collect(ctx, orgID, paymentSQL, orgID, id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNotFound
	}
	return list[0].encode(), nil
}

// Filter narrows a list of payments; an empty field does not. CreatedFrom is inclusive, CreatedTo exclusive.
type Filter struct {
	Status      Status
	Reference   string
	CreatedFrom time.Time
	CreatedTo   time.Time
}

const listPaymentsSQL = `
	select p.org_id, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.reference, p.description, p.metadata, p.charge_id, p.hold_entry_id, p.failure_code,
		p.authorisation_expires_at, p.created_at, p.updated_at
	from payment p
	where p.org_id = $1 and p.id < $2 and p.created_at >= $4 and p.created_at < $5
	order by p.id desc limit $3`

const listPaymentsByStatusSQL = `
	select p.org_id, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.reference, p.description, p.metadata, p.charge_id, p.hold_entry_id, p.failure_code,
		p.authorisation_expires_at, p.created_at, p.updated_at
	from payment p
	where p.org_id = $1 and p.status = $6 and p.id < $2 and p.created_at >= $4 and p.created_at < $5
	order by p.id desc limit $3`

const listPaymentsByReferenceSQL = `
	select p.org_id, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.reference, p.description, p.metadata, p.charge_id, p.hold_entry_id, p.failure_code,
		p.authorisation_expires_at, p.created_at, p.updated_at
	from payment p
	where p.org_id = $1 and p.reference = $7 and ($6 = '' or p.status = $6) and p.id < $2 and p.created_at >= $4 and p.created_at < $5
	order by p.id desc limit $3`

// List returns payments as JSON, newest first.
func (p *Payments) List(ctx context.Context, orgID ids.ID, f Filter, after paging.Cursor, limit int) ([]json.RawMessage, paging.Cursor, error) {
	before := newestBelow(after.ID, f.CreatedTo)
	if f.CreatedTo.IsZero() {
		f.CreatedTo = farFuture()
	}
	statement, args := listPaymentsSQL, []any{orgID, before, limit + 1, f.CreatedFrom, f.CreatedTo}
	switch {
	case f.Reference != "":
		statement, args = listPaymentsByReferenceSQL, append(args, string(f.Status), f.Reference)
	case f.Status != "":
		statement, args = listPaymentsByStatusSQL, append(args, string(f.Status))
	}
	list, err := p.collect(ctx, orgID, statement, args...)
	if err != nil {
		return nil, paging.Cursor{}, err
	}
	list, next := paging.Cut(list, limit, func(last *work) paging.Cursor { return paging.Cursor{ID: last.payment.ID} })
	out := make([]json.RawMessage, len(list))
	for i := range list {
		out[i] = list[i].encode()
	}
	return out, next, nil
}

// newestBelow is where a list that goes backwards in time begins: at the cursor, or where ids of the given time begin (ids carry
// their time, a minute is allowed for clocks that differ), so that what is newer than asked for is not walked through.
func newestBelow(cursor ids.ID, to time.Time) ids.ID {
	if !cursor.IsZero() {
		return cursor
	}
	if to.IsZero() {
		to = farFuture()
	}
	return ids.Before(to.Add(time.Minute))
}

// collect runs a query for payments and adds the latest attempt of each, keeping the order.
func (p *Payments) collect(ctx context.Context, orgID ids.ID, statement string, args ...any) ([]work, error) {
	rows, err := p.DB.Pool().Query(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanPayment)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	works := make([]work, len(found))
	orgs, payments := make([]ids.ID, len(found)), make([]ids.ID, len(found))
	position := make(map[ids.ID]int, len(found))
	for i, pay := range found {
		works[i].payment, orgs[i], payments[i], position[pay.ID] = pay, orgID, pay.ID, i
	}
	rows, err = p.DB.Pool().Query(ctx, latestAttemptsSQL, orgs, payments)
	if err != nil {
		return nil, fmt.Errorf("read the attempts of payments: %w", err)
	}
	attempts, err := pgx.CollectRows(rows, scanAttempt)
	if err != nil {
		return nil, fmt.Errorf("read the attempts of payments: %w", err)
	}
	for _, a := range attempts {
		works[position[a.PaymentID]].attempt = a
	}
	return works, nil
}
