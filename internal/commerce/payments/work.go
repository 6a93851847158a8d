package payments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const taskKind = "payments.attempt"

// args are the task's arguments.
type args struct {
	AttemptID string `json:"attempt_id"`
}

func attemptArgs(attemptID ids.ID) []byte {
	return []byte(`{"attempt_id":"` + ids.Format(AttemptPrefix, attemptID) + `"}`)
}

// call is one call to the provider and its answer, kept in the task's history.
type call struct {
	Call        string `json:"call"` // one of the call constants
	Result      Result `json:"result"`
	HTTPStatus  int    `json:"http_status,omitempty"`
	ChargeID    string `json:"charge_id,omitempty"`
	FailureCode string `json:"failure_code,omitempty"`
	Detail      string `json:"detail,omitempty"`
	DurationMS  int64  `json:"duration_ms"`
}

// The calls to a provider.
const (
	callSend   = "send"
	callLookUp = "look_up"
)

// work carries an attempt one step on: it asks the provider, outside any transaction, and hands the answer to the lane
// that books it.
func (p *Payments) work(ctx context.Context, t tasks.Task) tasks.Verdict {
	w, err := p.open(ctx, t)
	if err != nil {
		return tasks.Retry("attempt_unreadable", err)
	}
	if !w.attempt.State.live() {
		return tasks.Succeeded()
	}
	provider := p.providers[w.payment.Provider]
	if provider == nil {
		return tasks.Retry("provider_unknown", fmt.Errorf("no provider %q is configured", w.payment.Provider))
	}
	o := outcome{task: t, attemptID: w.attempt.ID, paymentID: w.payment.ID, settleWithin: provider.SettleWithin()}
	o.decision, o.answer, o.calls = p.ask(ctx, provider, w, t.Interrupted)
	p.metrics.observe(provider.Name(), &w, o)
	if err := p.book(ctx, o); err != nil {
		return tasks.Retry("outcome_not_booked", err)
	}
	return tasks.Finished()
}

// book hands the outcome to its lane, and again while the database is away: the answer is known only here, and asking
// the provider a second time is worse than waiting.
func (p *Payments) book(ctx context.Context, o outcome) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		_, err := p.outcomes.Do(context.WithoutCancel(ctx), o)
		if err == nil || errors.Is(err, errLeaseLost) {
			return nil
		}
		p.Logger.WarnContext(ctx, "an outcome could not be booked; trying again", "attempt", ids.Format(AttemptPrefix, o.attemptID), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// open finds the attempt: in memory when this node has just begun it, else in the database.
func (p *Payments) open(ctx context.Context, t tasks.Task) (work, error) {
	var a args
	if err := json.Unmarshal(t.Args, &a); err != nil {
		return work{}, fmt.Errorf("read the task's arguments: %w", err)
	}
	id, err := ids.Parse(AttemptPrefix, a.AttemptID)
	if err != nil {
		return work{}, fmt.Errorf("read the task's arguments: %w", err)
	}
	if t.Attempt == 1 && !t.Interrupted {
		if w, ok := p.flights.begun(id); ok {
			return w, nil
		}
	}
	return p.read(ctx, t.OrgID, id)
}

const readPaymentOfAttemptSQL = `
	select p.org_id, p.id, p.status, p.provider, p.currency, p.amount, p.amount_capturable, p.amount_captured, p.amount_refunded,
		p.amount_fee, p.capture_method, p.token, p.reference, p.description, p.metadata, p.charge_id, p.hold_entry_id, p.failure_code,
		p.authorisation_expires_at, p.created_at, p.updated_at
	from payment p
	where p.org_id = $1 and p.id = (select a.payment_id from payment_attempt a where a.org_id = $1 and a.id = $2)`

func (p *Payments) read(ctx context.Context, orgID, attemptID ids.ID) (work, error) {
	var w work
	var err error
	batch := &pgx.Batch{}
	batch.Queue(readPaymentOfAttemptSQL, orgID, attemptID).Query(func(rows pgx.Rows) error {
		w.payment, err = pgx.CollectExactlyOneRow(rows, scanPayment)
		return err
	})
	batch.Queue(readAttemptsSQL, []ids.ID{orgID}, []ids.ID{attemptID}).Query(func(rows pgx.Rows) error {
		w.attempt, err = pgx.CollectExactlyOneRow(rows, scanAttempt)
		return err
	})
	if err := p.DB.Pool().SendBatch(ctx, batch).Close(); err != nil {
		return work{}, fmt.Errorf("read an attempt: %w", err)
	}
	return w, nil
}

// decision is what is to be recorded after asking the provider.
type decision int

const (
	decideFinal   decision = iota // the answer is final: book it
	decideUnknown                 // it may have happened: the time to settle starts now
	decideWait                    // nothing new is known; ask again later
)

// ask decides what may be asked and asks it. Whoever may have reached the provider before looks up first; only when it is proven that
// nothing happened is anything sent again.
func (p *Payments) ask(ctx context.Context, provider Provider, w work, interrupted bool) (decision, ProviderAnswer, []call) {
	var calls []call
	maybeSent := interrupted || w.attempt.State == AttemptUnknown || w.attempt.OperationID != ""
	if maybeSent {
		answer := p.lookUp(ctx, provider, w, &calls)
		switch {
		case answer.Result == ResultSucceeded || answer.Result == ResultDeclined:
			return decideFinal, answer, calls
		case interrupted && answer.Result != ResultPending && (w.attempt.State != AttemptUnknown || w.attempt.Settled):
			// Whoever was interrupted may have sent it a moment ago. While the time to settle runs, nobody sends: then
			// there is nothing to wait for anew, and a node that dies again and again delays nothing.
			return decideUnknown, answer, calls
		case answer.Result != ResultNotFound || !w.attempt.Settled:
			return decideWait, answer, calls
		}
	}
	if w.attempt.Age > p.cfg.GiveUpAfter { // and it is certain that nothing happened
		answer := ProviderAnswer{Result: ResultDeclined, FailureCode: "provider_unavailable", Detail: "The provider could not be reached in time."}
		return decideFinal, answer, calls
	}
	answer := p.send(ctx, provider, w, &calls)
	switch answer.Result {
	case ResultSucceeded, ResultDeclined:
		return decideFinal, answer, calls
	case ResultPending, ResultLimited, ResultNotSent:
		return decideWait, answer, calls
	default:
		return decideUnknown, answer, calls
	}
}

func (p *Payments) send(ctx context.Context, provider Provider, w work, calls *[]call) ProviderAnswer {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ProviderTimeout)
	defer cancel()
	started := time.Now() //nolint:forbidigo // a stopwatch
	answer := provider.Send(ctx, ProviderRequest{
		Kind: w.attempt.Kind, Reference: ids.Format(AttemptPrefix, w.attempt.ID), OrgID: w.payment.OrgID,
		PaymentID: ids.Format(PaymentPrefix, w.payment.ID), ChargeID: w.payment.ChargeID, Amount: w.attempt.Amount,
		Currency: w.payment.Currency, Token: w.payment.Token, Capture: w.payment.CaptureMethod == CaptureAutomatic, Final: w.attempt.Final,
	})
	*calls = append(*calls, record(callSend, answer, time.Since(started)))
	return p.checked(ctx, w, answer)
}

func (p *Payments) lookUp(ctx context.Context, provider Provider, w work, calls *[]call) ProviderAnswer {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ProviderTimeout)
	defer cancel()
	started := time.Now() //nolint:forbidigo // a stopwatch
	answer := provider.LookUp(ctx, ids.Format(AttemptPrefix, w.attempt.ID))
	*calls = append(*calls, record(callLookUp, answer, time.Since(started)))
	return p.checked(ctx, w, answer)
}

// checked refuses to believe a provider that says it moved another amount than was asked for: such an attempt stays unknown
// until a person has looked at it. Nothing untrue is booked.
func (p *Payments) checked(ctx context.Context, w work, answer ProviderAnswer) ProviderAnswer {
	if answer.Effects > 1 {
		p.metrics.duplicates.Inc()
		p.Logger.ErrorContext(ctx, "the provider carried one reference out more than once",
			"attempt", ids.Format(AttemptPrefix, w.attempt.ID), "effects", answer.Effects)
	}
	if answer.Result == ResultSucceeded && w.attempt.Kind != KindVoid && answer.Amount != w.attempt.Amount {
		p.metrics.mismatches.Inc()
		p.Logger.ErrorContext(ctx, "the provider moved another amount than was asked for",
			"attempt", ids.Format(AttemptPrefix, w.attempt.ID), "asked", w.attempt.Amount, "moved", answer.Amount)
		answer.Result = ResultUnknown
		answer.Detail = "amount_mismatch: the provider moved another amount than was asked for"
	}
	return answer
}

func record(name string, a ProviderAnswer, took time.Duration) call {
	return call{
		Call: name, Result: a.Result, HTTPStatus: a.HTTPStatus, ChargeID: a.ChargeID, FailureCode: a.FailureCode, Detail: a.Detail,
		DurationMS: took.Milliseconds(),
	}
}
