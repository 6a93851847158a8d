package payments

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/money"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// AmountMax is the largest amount of a payment, in minor units. All payments of a provider and currency go through one clearing account,
// whose totals are counted in 63 bits: a single slip of the keyboard near that would leave no room for those that follow.
const AmountMax = 999_999_999_999

// Create asks for a payment.
type Create struct {
	OrgID          ids.ID
	Provider       string
	Currency       string
	Amount         int64
	CaptureMethod  string // automatic or manual
	PaymentMethod  string // the provider's token
	Reference      string
	Description    string
	Metadata       []byte // JSON object of strings, or nil
	IdempotencyKey string
	RequestID      string
	TraceParent    string // of the W3C: the attempt's spans belong to it
}

// Begun is an attempt whose intent is written; Err says why there is none. Hand it to Start after the commit.
type Begun struct {
	PaymentID ids.ID
	AttemptID ids.ID
	Task      tasks.Task
	Err       error

	work work
}

// work is an attempt with its payment, as its handler needs them.
type work struct {
	payment     Payment
	attempt     Attempt
	traceParent string
}

// Create writes payments with their first attempt: the money held in the ledger, and the task that will ask the provider. One
// Begun each, in order; one that fails does not disturb the others.
func (p *Payments) Create(ctx context.Context, tx postgres.Tx, list []Create) ([]Begun, error) {
	begun := make([]Begun, len(list))
	entries := make([]ledger.Entry, 0, len(list))
	var chosen []int
	for i := range list {
		if begun[i].Err = p.validate(&list[i]); begun[i].Err == nil {
			chosen = append(chosen, i)
		}
	}
	if err := p.ensureAccounts(ctx, tx, list, chosen); err != nil {
		return nil, err
	}
	for _, i := range chosen {
		begun[i].work = p.draft(&list[i])
		pay := &begun[i].work.payment
		entries = append(entries, ledger.Entry{
			OrgID: pay.OrgID, ID: pay.HoldEntryID, Action: ledger.ActionHold, Code: "payment.authorise", SubjectID: pay.ID,
			Postings: []ledger.Posting{{Debit: clearing(pay.Provider, pay.Currency), Credit: received(pay.Currency), Amount: pay.Amount}},
		})
	}
	results, err := p.Ledger.Post(ctx, tx, entries)
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	var works []work
	var specs []tasks.Spec
	for n, i := range chosen {
		if ledger.ErrAccountNotFound.Is(results[n].Err) {
			p.accounts.Delete(setOf(&list[i])) // the transaction that made them was rolled back
			return nil, postgres.ErrAgain
		}
		if results[n].Err != nil {
			begun[i] = Begun{Err: results[n].Err}
			continue
		}
		pay := &begun[i].work.payment
		pay.CreatedAt = results[n].Entry.RecordedAt // the database's clock
		pay.UpdatedAt = pay.CreatedAt
		works = append(works, begun[i].work)
		specs = append(specs, taskFor(&begun[i].work))
	}
	p.queuePayments(batch, works)
	return begun, p.queueBegin(ctx, tx, batch, begun, works, specs, "created")
}

func (p *Payments) validate(c *Create) error {
	if _, ok := money.Scale(c.Currency); !ok {
		return ErrCurrencyInvalid
	}
	switch {
	case p.providers[c.Provider] == nil:
		return ErrProviderUnknown
	case c.Amount <= 0:
		return ErrAmountNotPositive
	case c.Amount > AmountMax:
		return ErrAmountTooLarge
	case c.CaptureMethod != CaptureAutomatic && c.CaptureMethod != CaptureManual:
		return ErrCaptureMethod
	default:
		return nil
	}
}

// draft makes the payment and its first attempt, with ids that rise in the order of the list.
func (p *Payments) draft(c *Create) work {
	pay := Payment{
		OrgID: c.OrgID, ID: p.IDs.New(), Status: StatusProcessing, Provider: c.Provider, Currency: c.Currency, Amount: c.Amount,
		CaptureMethod: c.CaptureMethod, Token: c.PaymentMethod, Reference: c.Reference, Description: c.Description,
		Metadata: c.Metadata, HoldEntryID: p.IDs.New(),
	}
	return work{payment: pay, attempt: Attempt{
		OrgID: c.OrgID, ID: p.IDs.New(), PaymentID: pay.ID, TaskID: p.IDs.New(), Kind: KindAuthorise, State: AttemptProcessing,
		Amount: c.Amount, EntryID: pay.HoldEntryID, IdempotencyKey: c.IdempotencyKey, RequestID: c.RequestID, began: stopwatch(),
	}, traceParent: c.TraceParent}
}

// queueBegin writes the attempts, their tasks and the events of what was asked for.
func (p *Payments) queueBegin(ctx context.Context, tx postgres.Tx, batch *pgx.Batch, begun []Begun, works []work, specs []tasks.Spec, event string) error {
	if len(works) == 0 {
		return nil
	}
	p.queueAttempts(batch, works)
	queued := p.Tasks.EnqueueIn(batch, specs)
	p.Events.Queue(batch, p.announce(works, func(w *work) string {
		if event != "" {
			return event
		}
		return string(w.attempt.Kind) + "_requested"
	}))
	err := postgres.SendLater(ctx, tx, batch, func(err error) error {
		if postgres.Constraint(err) == "payment_attempt_live_key" {
			return postgres.ErrAgain // another transaction began one; the next run will see it
		}
		return fmt.Errorf("write payment attempts: %w", err)
	})
	if err != nil {
		return err
	}
	n := 0
	for i := range begun {
		if begun[i].Err != nil || n == len(works) {
			continue
		}
		w := &begun[i].work
		begun[i].PaymentID, begun[i].AttemptID, begun[i].Task = w.payment.ID, w.attempt.ID, queued[n]
		n++
	}
	return nil
}

func taskFor(w *work) tasks.Spec {
	return tasks.Spec{
		OrgID: w.payment.OrgID, ID: w.attempt.TaskID, Queue: "payments", Kind: taskKind, Args: attemptArgs(w.attempt.ID),
		SubjectType: "payment", SubjectID: ids.Format(PaymentPrefix, w.payment.ID), TraceParent: w.traceParent,
	}
}
