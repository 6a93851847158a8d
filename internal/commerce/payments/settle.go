package payments

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// outcome is what asking the provider came to, on its way into the books.
type outcome struct {
	task         tasks.Task
	attemptID    ids.ID
	paymentID    ids.ID
	decision     decision
	answer       ProviderAnswer
	calls        []call
	settleWithin time.Duration
}

// errLeaseLost says that another node has the task by now: its word counts, ours does not.
var errLeaseLost = fault.New(fault.Conflict, "lease_lost", "Another node has taken the task over.")

// settled is one outcome within a batch.
type settled struct {
	outcome
	work
	trigger Trigger
	event   string
	moved   bool // the payment or the attempt changed
}

// settle books a batch of outcomes: the tasks' fences first, then the payments, the ledger and the events, each by one statement.
func (p *Payments) settle(ctx context.Context, batch []outcome) ([]lane.Result[struct{}], error) {
	var results []lane.Result[struct{}]
	var done []*settled
	err := p.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		results, done = make([]lane.Result[struct{}], len(batch)), done[:0]
		completions := make([]tasks.Completion, len(batch))
		for i := range batch {
			completions[i] = completion(&batch[i])
		}
		held, err := p.Tasks.Finish(ctx, tx, completions)
		if err != nil {
			return err
		}
		for i := range batch {
			if !held[i] {
				results[i].Err = errLeaseLost
				continue
			}
			done = append(done, &settled{outcome: batch[i]})
		}
		return p.apply(ctx, tx, done)
	})
	if err != nil {
		return nil, err
	}
	for _, s := range done {
		if s.moved && !s.attempt.State.live() {
			p.flights.land(s.attempt.ID, s.final())
		}
	}
	return results, nil
}

// completion is how the task goes on after an outcome.
func completion(o *outcome) tasks.Completion {
	detail, err := json.Marshal(map[string]any{"calls": o.calls})
	if err != nil {
		detail = nil // strings and integers always can be written
	}
	c := tasks.Completion{Task: o.task, Detail: detail, ErrorCode: string(o.answer.Result)}
	if o.decision == decideFinal {
		c.Outcome, c.Done, c.ErrorCode = tasks.OutcomeSucceeded, true, o.answer.FailureCode
		return c
	}
	c.Outcome, c.Next = tasks.OutcomeSnoozed, lookUpPause(o.task.Attempt)
	if o.answer.Result == ResultLimited {
		c.Outcome, c.Next = tasks.OutcomeRateLimited, max(c.Next, o.answer.RetryAfter)
	}
	return c
}

// lookUpPause is how long to wait before asking again: 100 ms, doubled each time, at most 30 s.
func lookUpPause(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(attempt-1, 9), 30*time.Second)
}

func (p *Payments) apply(ctx context.Context, tx postgres.Tx, list []*settled) error {
	if len(list) == 0 {
		return nil
	}
	now, err := p.lockForOutcome(ctx, tx, list)
	if err != nil {
		return err
	}
	var entries []ledger.Entry
	var changed []work
	for _, s := range list {
		if !s.attempt.State.live() {
			continue // finished by someone who held the lease before us
		}
		if err := p.decide(s, now); err != nil {
			return err
		}
		if s.moved {
			entries = append(entries, s.entries()...)
		}
	}
	posted, err := p.Ledger.Post(ctx, tx, entries)
	if err != nil {
		return err
	}
	for i := range posted {
		if posted[i].Err != nil {
			return fmt.Errorf("book the outcome of payment %s: %w", ids.Format(PaymentPrefix, entries[i].SubjectID), posted[i].Err)
		}
	}
	names := make([]string, 0, len(list))
	var moved []*settled
	for _, s := range list {
		if s.moved {
			moved, changed, names = append(moved, s), append(changed, s.work), append(names, s.event)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	out := &pgx.Batch{}
	queueOutcomes(out, moved, now)
	position := 0
	p.Events.Queue(out, p.announce(changed, func(*work) string { position++; return names[position-1] }))
	return postgres.SendLater(ctx, tx, out, func(err error) error { return fmt.Errorf("write payment outcomes: %w", err) })
}

// decide carries the rule out in memory: what the outcome makes of the payment and of the attempt.
func (p *Payments) decide(s *settled, now time.Time) error {
	a, pay := &s.attempt, &s.payment
	switch s.decision {
	case decideWait:
		s.moved = s.answer.Result == ResultPending && a.OperationID == ""
		if s.moved { // from now on it is looked up, not sent
			a.OperationID, pay.ChargeID = s.answer.OperationID, keep(pay.ChargeID, s.answer.ChargeID)
			s.event = "pending"
		}
		return nil
	case decideUnknown:
		s.trigger, s.event, a.State = ChangeUnknown, string(a.Kind)+"_unknown", AttemptUnknown
		if a.Kind == KindAuthorise {
			s.trigger, s.event = AnswerLost, "unknown"
		}
	case decideFinal:
		p.conclude(s, now)
	}
	s.moved = true
	pay.UpdatedAt = now
	return pay.advance(s.trigger, a)
}

// conclude takes a final answer into the attempt.
func (p *Payments) conclude(s *settled, now time.Time) {
	a, pay := &s.attempt, &s.payment
	a.OperationID = keep(a.OperationID, s.answer.OperationID)
	if s.answer.Result == ResultDeclined {
		a.State, a.FailureCode = AttemptDeclined, s.answer.FailureCode
		s.trigger, s.event = ChangeDeclined, string(a.Kind)+"_declined"
		if a.Kind == KindAuthorise {
			s.trigger, s.event, pay.FailureCode = Declined, "declined", s.answer.FailureCode
		}
		return
	}
	a.State, a.Fee = AttemptSucceeded, s.answer.Fee
	pay.ChargeID = keep(pay.ChargeID, s.answer.ChargeID)
	pay.AmountFee += s.answer.Fee
	switch a.Kind {
	case KindAuthorise:
		s.trigger, s.event = Authorised, "authorised"
		if pay.CaptureMethod == CaptureAutomatic {
			s.trigger, s.event = CapturedAtOnce, "captured"
			return
		}
		pay.AuthorisationExpiresAt = s.answer.ExpiresAt.UTC().Truncate(time.Microsecond)
		if s.answer.ExpiresAt.IsZero() {
			pay.AuthorisationExpiresAt = now.Add(p.cfg.AuthorisationTTL)
		}
	case KindCapture:
		s.trigger, s.event = CaptureSucceeded, "captured"
	case KindRefund:
		s.trigger, s.event = RefundSucceeded, "refunded"
	case KindVoid:
		s.trigger, s.event = VoidSucceeded, "voided"
	}
}

func keep(have, got string) string {
	if have != "" {
		return have
	}
	return got
}

// entries are what a final outcome books.
func (s *settled) entries() []ledger.Entry {
	a, pay := &s.attempt, &s.payment
	about := ledger.Entry{OrgID: pay.OrgID, SubjectID: pay.ID, Target: a.EntryID}
	var out []ledger.Entry
	switch s.trigger {
	case CapturedAtOnce, RefundSucceeded:
		about.Action = ledger.ActionSettle
		out = append(out, about)
	case CaptureSucceeded:
		about.Action, about.Amounts, about.Keep = ledger.ActionSettle, []int64{a.Amount}, !a.Final
		out = append(out, about)
	case Declined, VoidSucceeded:
		about.Action = ledger.ActionRelease
		out = append(out, about)
	case ChangeDeclined:
		if a.Kind == KindRefund {
			about.Action = ledger.ActionRelease
			out = append(out, about)
		}
	}
	if a.State == AttemptSucceeded && a.Fee > 0 {
		out = append(out, ledger.Entry{
			OrgID: pay.OrgID, Action: ledger.ActionPost, Code: "payment.fee", SubjectID: pay.ID,
			Postings: []ledger.Posting{{Debit: fees(pay.Provider, pay.Currency), Credit: clearing(pay.Provider, pay.Currency), Amount: a.Fee}},
		})
	}
	return out
}

// lockForOutcome locks the payments, then reads the attempts as they are under the lock, and the database's clock.
func (p *Payments) lockForOutcome(ctx context.Context, tx postgres.Tx, list []*settled) (now time.Time, err error) {
	orgs, payments, attempts := make([]ids.ID, len(list)), make([]ids.ID, len(list)), make([]ids.ID, len(list))
	for i, s := range list {
		orgs[i], payments[i], attempts[i] = s.task.OrgID, s.paymentID, s.attemptID
	}
	byPayment := make(map[paymentKey]Payment, len(list))
	byAttempt := make(map[paymentKey]Attempt, len(list))
	batch := &pgx.Batch{}
	batch.Queue(lockPaymentsSQL, orgs, payments).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanPayment)
		for _, pay := range found {
			byPayment[paymentKey{pay.OrgID, pay.ID}] = pay
		}
		return err
	})
	batch.Queue(readAttemptsSQL, orgs, attempts).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanAttempt)
		for _, a := range found {
			byAttempt[paymentKey{a.OrgID, a.ID}] = a
		}
		return err
	})
	postgres.QueueNow(batch, &now)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return now, fmt.Errorf("lock payments: %w", err)
	}
	for _, s := range list {
		var paymentFound, attemptFound bool
		s.payment, paymentFound = byPayment[paymentKey{s.task.OrgID, s.paymentID}]
		s.attempt, attemptFound = byAttempt[paymentKey{s.task.OrgID, s.attemptID}]
		if !paymentFound || !attemptFound {
			return now, fmt.Errorf("the attempt %s or its payment is gone", ids.Format(AttemptPrefix, s.attemptID))
		}
	}
	return now, nil
}

func queueOutcomes(batch *pgx.Batch, list []*settled, now time.Time) {
	n := len(list)
	orgs, payments, attempts := make([]ids.ID, n), make([]ids.ID, n), make([]ids.ID, n)
	statuses, states := make([]string, n), make([]string, n)
	capturable, captured, refunded, paymentFees := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	charges, failures, expires := make([]*string, n), make([]*string, n), make([]*time.Time, n)
	attemptFees, settles := make([]int64, n), make([]int64, n)
	operations, attemptFailures := make([]*string, n), make([]*string, n)
	answerStatuses, answers := make([]*int16, n), make([][]byte, n)
	for i, s := range list {
		pay, a := &s.payment, &s.attempt
		orgs[i], payments[i], attempts[i], statuses[i], states[i] = pay.OrgID, pay.ID, a.ID, string(pay.Status), string(a.State)
		capturable[i], captured[i], refunded[i], paymentFees[i] = pay.AmountCapturable, pay.AmountCaptured, pay.AmountRefunded, pay.AmountFee
		charges[i], failures[i], expires[i] = optional(pay.ChargeID), optional(pay.FailureCode), optional(pay.AuthorisationExpiresAt)
		attemptFees[i], operations[i], attemptFailures[i] = a.Fee, optional(a.OperationID), optional(a.FailureCode)
		if s.decision == decideUnknown {
			settles[i] = s.settleWithin.Milliseconds() + 1
		}
		if !a.State.live() {
			f := s.final()
			status := int16(f.Status)
			answerStatuses[i], answers[i] = &status, f.Body
		}
	}
	batch.Queue(updatePaymentsSQL, orgs, payments, statuses, capturable, captured, refunded, paymentFees, charges, failures, expires, now)
	batch.Queue(updateAttemptsSQL, orgs, attempts, states, attemptFees, operations, attemptFailures, settles, answerStatuses, answers, now)
}
