package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const expireMax = 500

// Payments with an attempt under way are left until it is final. The latest attempt comes along for the event.
const findExpiredSQL = `
	select p.org_id, p.id
	from payment p
	where p.amount_capturable > 0 and p.authorisation_expires_at <= now()
		and not exists (
			select from payment_attempt a
			where a.org_id = p.org_id and a.payment_id = p.id and a.state in ('processing', 'unknown')
			offset 0) -- a look for each payment, no join with all live attempts
	order by p.authorisation_expires_at limit $1
	for no key update skip locked`

// A payment has few attempts: all of them are fetched by their index, then sorted. Asked for by organisation and order at once, they
// would be sought among all of the organisation's, newest first.

// hot
const latestAttemptsSQL = `
	select a.org_id, a.id, a.payment_id, a.task_id, a.kind, a.state, a.amount, a.final, a.entry_id, a.fee, a.operation_id, a.failure_code,
		coalesce(a.settles_at <= now(), false), a.idempotency_key, a.request_id,
		extract(epoch from now() - a.created_at)::double precision
	from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
	cross join lateral (
		select o.org_id, o.id, o.payment_id, o.task_id, o.kind, o.state, o.amount, o.final, o.entry_id, o.fee, o.operation_id, o.failure_code,
			o.settles_at, o.idempotency_key, o.request_id, o.created_at
		from (select t.* from payment_attempt t where t.payment_id = k.id offset 0) as o
		where o.org_id = k.org_id
		order by o.id desc limit 1
	) as a`

const expirePaymentsSQL = `
	update payment p
	set status = u.status, amount_capturable = 0, updated_at = $4
	from unnest($1::uuid[], $2::uuid[], $3::text[]) as u (org_id, id, status)
	where p.org_id = u.org_id and p.id = u.id`

// Expire releases what is left of authorisations whose time is over, and tells how many. Any number of nodes may sweep at once.
func (p *Payments) Expire(ctx context.Context) (int, error) {
	total := 0
	for {
		n := 0
		err := p.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			rows, err := tx.Query(ctx, findExpiredSQL, expireMax)
			if err != nil {
				return fmt.Errorf("find expired authorisations: %w", err)
			}
			due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ OrgID, ID ids.ID }])
			if err != nil {
				return fmt.Errorf("find expired authorisations: %w", err)
			}
			n = len(due)
			orgs, payments := make([]ids.ID, n), make([]ids.ID, n)
			for i, d := range due {
				orgs[i], payments[i] = d.OrgID, d.ID
			}
			return p.expire(ctx, tx, orgs, payments)
		})
		total += n
		if err != nil || n < expireMax {
			return total, err
		}
	}
}

func (p *Payments) expire(ctx context.Context, tx postgres.Tx, orgs, payments []ids.ID) error {
	if len(orgs) == 0 {
		return nil
	}
	works, now, err := p.readLatest(ctx, tx, orgs, payments)
	if err != nil {
		return err
	}
	entries, statuses := make([]ledger.Entry, len(works)), make([]string, len(works))
	for i := range works {
		pay := &works[i].payment
		if err := pay.advance(AuthorisationExpired, nil); err != nil {
			return err
		}
		pay.UpdatedAt = now
		orgs[i], payments[i], statuses[i] = pay.OrgID, pay.ID, string(pay.Status)
		entries[i] = ledger.Entry{OrgID: pay.OrgID, Action: ledger.ActionRelease, Target: pay.HoldEntryID, SubjectID: pay.ID}
	}
	results, err := p.Ledger.Post(ctx, tx, entries)
	if err != nil {
		return err
	}
	for i := range results {
		if results[i].Err != nil {
			return fmt.Errorf("release the hold of %s: %w", ids.Format(PaymentPrefix, payments[i]), results[i].Err)
		}
	}
	out := &pgx.Batch{}
	out.Queue(expirePaymentsSQL, orgs[:len(works)], payments[:len(works)], statuses, now)
	p.Events.Queue(out, p.announce(works, func(*work) string { return "expired" }))
	return postgres.SendLater(ctx, tx, out, func(err error) error { return fmt.Errorf("expire authorisations: %w", err) })
}

// readLatest reads payments, locked, with the latest attempt of each, and the database's clock.
func (p *Payments) readLatest(ctx context.Context, tx postgres.Tx, orgs, payments []ids.ID) (works []work, now time.Time, err error) {
	latest := make(map[paymentKey]Attempt, len(orgs))
	batch := &pgx.Batch{}
	batch.Queue(lockPaymentsSQL, orgs, payments).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanPayment)
		for _, pay := range found {
			works = append(works, work{payment: pay})
		}
		return err
	})
	batch.Queue(latestAttemptsSQL, orgs, payments).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanAttempt)
		for _, a := range found {
			latest[paymentKey{a.OrgID, a.PaymentID}] = a
		}
		return err
	})
	postgres.QueueNow(batch, &now)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, now, fmt.Errorf("read payments: %w", err)
	}
	for i := range works {
		works[i].attempt = latest[paymentKey{works[i].payment.OrgID, works[i].payment.ID}]
	}
	return works, now, nil
}

// farFuture bounds a list that has no bound.
func farFuture() time.Time { return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }
