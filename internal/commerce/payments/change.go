package payments

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Change asks for a capture, a refund or a void of a payment.
type Change struct {
	OrgID          ids.ID
	PaymentID      ids.ID
	Kind           Kind
	Amount         int64 // 0: all that is possible
	Final          bool  // capture: release the rest
	IdempotencyKey string
	RequestID      string
	TraceParent    string // of the W3C: the attempt's spans belong to it
}

// Change begins captures, refunds and voids: one Begun each, in order. A payment has at most one attempt under way; where there is
// one, the change is turned away.
func (p *Payments) Change(ctx context.Context, tx postgres.Tx, list []Change) ([]Begun, error) {
	locked, err := p.lockForChange(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	begun := make([]Begun, len(list))
	var entries []ledger.Entry
	var works []work
	var specs []tasks.Spec
	for i := range list {
		c := &list[i]
		pay, ok := locked[paymentKey{c.OrgID, c.PaymentID}]
		switch {
		case !ok:
			begun[i].Err = ErrNotFound
		case pay.live:
			begun[i].Err = ErrAttemptInProgress
		default:
			begun[i].Err = pay.refusal(c)
		}
		if begun[i].Err != nil {
			continue
		}
		pay.live = true // for the next change in this batch
		w := work{payment: pay.Payment, attempt: p.draftChange(pay, c), traceParent: c.TraceParent}
		if c.Kind == KindRefund {
			entries = append(entries, ledger.Entry{
				OrgID: c.OrgID, ID: w.attempt.EntryID, Action: ledger.ActionHold, Code: "payment.refund", SubjectID: pay.ID,
				Postings: []ledger.Posting{{Debit: received(pay.Currency), Credit: clearing(pay.Provider, pay.Currency), Amount: c.Amount}},
			})
		}
		begun[i].work = w
	}
	if err := p.holdRefunds(ctx, tx, begun, entries); err != nil {
		return nil, err
	}
	for i := range begun {
		if begun[i].Err == nil {
			works = append(works, begun[i].work)
			specs = append(specs, taskFor(&begun[i].work))
		}
	}
	return begun, p.queueBegin(ctx, tx, &pgx.Batch{}, begun, works, specs, "")
}

func (p *Payments) draftChange(pay *lockedPayment, c *Change) Attempt {
	entry := pay.HoldEntryID
	if c.Kind == KindRefund {
		entry = p.IDs.New()
	}
	return Attempt{
		OrgID: c.OrgID, ID: p.IDs.New(), PaymentID: pay.ID, TaskID: p.IDs.New(), Kind: c.Kind, State: AttemptProcessing, Amount: c.Amount,
		Final: c.Final || (c.Kind == KindCapture && c.Amount == pay.AmountCapturable), EntryID: entry,
		IdempotencyKey: c.IdempotencyKey, RequestID: c.RequestID, began: stopwatch(),
	}
}

// holdRefunds takes the refunds out of what is available before the provider hears of them. A refund that an account's bound
// does not allow is refused.
func (p *Payments) holdRefunds(ctx context.Context, tx postgres.Tx, begun []Begun, entries []ledger.Entry) error {
	results, err := p.Ledger.Post(ctx, tx, entries)
	if err != nil {
		return err
	}
	n := 0
	for i := range begun {
		if begun[i].Err == nil && begun[i].work.attempt.Kind == KindRefund {
			begun[i].Err = results[n].Err
			n++
		}
	}
	return nil
}

type paymentKey struct{ org, id ids.ID }

// lockedPayment is a payment whose row is locked; live tells whether an attempt is under way.
type lockedPayment struct {
	Payment
	live bool
}

// The offset keeps the planner from joining the payments with the whole index of live attempts.

// hot
const liveAttemptsSQL = `
	select a.org_id, a.payment_id
	from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
	cross join lateral (
		select l.org_id, l.payment_id
		from payment_attempt l
		where l.org_id = k.org_id and l.payment_id = k.id and l.state in ('processing', 'unknown')
		offset 0
	) as a`

func (p *Payments) lockForChange(ctx context.Context, tx postgres.Tx, list []Change) (map[paymentKey]*lockedPayment, error) {
	locked := make(map[paymentKey]*lockedPayment, len(list))
	seen := make(map[paymentKey]bool, len(list))
	var orgs, payments []ids.ID
	for i := range list {
		if k := (paymentKey{list[i].OrgID, list[i].PaymentID}); !seen[k] {
			seen[k] = true
			orgs, payments = append(orgs, k.org), append(payments, k.id)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(lockPaymentsSQL, orgs, payments).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanPayment)
		for _, pay := range found {
			locked[paymentKey{pay.OrgID, pay.ID}] = &lockedPayment{Payment: pay}
		}
		return err
	})
	batch.Queue(liveAttemptsSQL, orgs, payments).Query(func(rows pgx.Rows) error {
		var k paymentKey
		_, err := pgx.ForEachRow(rows, []any{&k.org, &k.id}, func() error {
			if pay := locked[k]; pay != nil {
				pay.live = true
			}
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("lock payments: %w", err)
	}
	return locked, nil
}
