package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/money"
)

// story is the first run of kontor dev: a few payments, asked for over HTTP like anybody's, each compared with what
// the sandbox says it really charged.
type story struct {
	api     *client.ClientWithResponses
	witness string // base URL of the sandbox
	now     clock.Clock
	say     func(format string, args ...any)

	captured client.Payment // the first chapter's, refunded in part later
}

// told is one chapter's outcome: what happened and what that shows.
type told struct{ happened, shows string }

const (
	storyAmount   = 1000
	storyRefund   = 250
	storyCurrency = "EUR"
)

// play tells all chapters, also after one that did not go as it should, and returns what went wrong.
func (s *story) play(ctx context.Context) error {
	var errs []error
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) (told, error)
	}{
		{"a payment", s.capture},
		{"a declined card", s.decline},
		{"a timeout after charging", s.timeout},
		{"the same request twice at once", s.twice},
		{"a partial refund", s.refund},
		{"the books", s.balance},
	} {
		began := s.now()
		t, err := chapter.tell(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", chapter.title, err))
			s.say("  ✗ %-31s %s\n", chapter.title, oneLine(err.Error()))
			continue
		}
		took := s.now().Sub(began)
		s.say("  ✓ %-31s %s (%d ms)\n    %-31s %s\n", chapter.title, t.happened, took.Milliseconds(), "", t.shows)
	}
	return errors.Join(errs...)
}

func (s *story) capture(ctx context.Context) (told, error) {
	p, err := s.pay(ctx, client.NewKey(), "tok_approved", client.PaymentStatusCaptured)
	if err != nil {
		return told{}, err
	}
	s.captured = p
	truth, err := s.charged(ctx, p.ID, 1, p.AmountCaptured)
	if err != nil {
		return told{}, err
	}
	return told{
		fmt.Sprintf("%s captured, %s", amountOf(p.AmountCaptured, p.Currency), p.ID),
		fmt.Sprintf("the provider's own record has %s, and keeps %s of it",
			amountOf(truth.AmountCaptured, p.Currency), amountOf(p.AmountFee, p.Currency)),
	}, nil
}

func (s *story) decline(ctx context.Context) (told, error) {
	p, err := s.pay(ctx, client.NewKey(), "tok_insufficient_funds", client.PaymentStatusDeclined)
	if err != nil {
		return told{}, err
	}
	if _, err := s.charged(ctx, p.ID, 0, 0); err != nil {
		return told{}, err
	}
	reason := ""
	if p.FailureCode != nil {
		reason = *p.FailureCode
	}
	return told{
		fmt.Sprintf("declined: %s, %s", reason, p.ID),
		"a refusal is an answer too: nothing was charged, nothing stays held",
	}, nil
}

func (s *story) timeout(ctx context.Context) (told, error) {
	p, err := s.pay(ctx, client.NewKey(), "tok_timeout_after_charge", client.PaymentStatusCaptured)
	if err != nil {
		return told{}, err
	}
	if _, err := s.charged(ctx, p.ID, 1, p.AmountCaptured); err != nil {
		return told{}, err
	}
	path, err := s.path(ctx, p.ID)
	if err != nil {
		return told{}, err
	}
	return told{
		fmt.Sprintf("%s, %s", path, p.ID),
		"the answer was lost, so Kontor looked before it repeated: the provider's record has 1 charge",
	}, nil
}

func (s *story) twice(ctx context.Context) (told, error) {
	key := client.NewKey()
	var both [2]client.Payment
	var errs [2]error
	var callers sync.WaitGroup
	for i := range both {
		callers.Go(func() { both[i], errs[i] = s.pay(ctx, key, "tok_approved", client.PaymentStatusCaptured) })
	}
	callers.Wait()
	if err := errors.Join(errs[0], errs[1]); err != nil {
		return told{}, err
	}
	if both[0].ID != both[1].ID {
		return told{}, fmt.Errorf("two payments were made: %s and %s", both[0].ID, both[1].ID)
	}
	if _, err := s.charged(ctx, both[0].ID, 1, both[0].AmountCaptured); err != nil {
		return told{}, err
	}
	return told{
		fmt.Sprintf("both callers were told of %s", both[0].ID),
		"one idempotency key is one payment: the provider's record has 1 charge",
	}, nil
}

func (s *story) refund(ctx context.Context) (told, error) {
	if s.captured.ID == "" {
		return told{}, errors.New("there is no captured payment to refund")
	}
	amount := int64(storyRefund)
	answer, err := s.api.RefundPaymentWithResponse(ctx, s.captured.ID,
		&client.RefundPaymentParams{IdempotencyKey: client.NewKey()}, client.RefundRequest{Amount: &amount})
	switch {
	case err != nil:
		return told{}, err
	case answer.JSON201 == nil:
		return told{}, refusedWith(answer.Status(), answer.ApplicationProblemJSONDefault)
	}
	p := answer.JSON201
	truth, err := s.charged(ctx, p.ID, 1, p.AmountCaptured)
	if err != nil {
		return told{}, err
	}
	if truth.AmountRefunded != amount || p.AmountRefunded != amount {
		return told{}, fmt.Errorf("the provider refunded %d, Kontor says %d, we asked for %d", truth.AmountRefunded, p.AmountRefunded, amount)
	}
	return told{
		fmt.Sprintf("%s of %s given back, %s", amountOf(p.AmountRefunded, p.Currency), amountOf(p.AmountCaptured, p.Currency), p.ID),
		"a refund is an entry of its own: nothing that was booked is changed",
	}, nil
}

// balance adds up all accounts of one asset: whatever was debited somewhere was credited somewhere else.
func (s *story) balance(ctx context.Context) (told, error) {
	var debits, credits, pending int64
	accounts := 0
	limit := client.Limit(100)
	params := client.ListAccountsParams{Limit: &limit}
	for {
		answer, err := s.api.ListAccountsWithResponse(ctx, &params)
		if err != nil {
			return told{}, err
		}
		if answer.JSON200 == nil {
			return told{}, refusedWith(answer.Status(), answer.ApplicationProblemJSONDefault)
		}
		for _, a := range answer.JSON200.Data {
			if a.Asset != storyCurrency {
				continue
			}
			accounts++
			debits += a.DebitsPosted
			credits += a.CreditsPosted
			pending += a.DebitsPending - a.CreditsPending
		}
		if params.Cursor = answer.JSON200.NextCursor; params.Cursor == nil {
			break
		}
	}
	if debits != credits || pending != 0 || debits == 0 {
		return told{}, fmt.Errorf("debits are %d, credits %d, and holds differ by %d", debits, credits, pending)
	}
	return told{
		fmt.Sprintf("debits %s, credits %s, over %d accounts", amountOf(debits, storyCurrency), amountOf(credits, storyCurrency), accounts),
		"no cent came from nowhere and none is lost",
	}, nil
}

// pay asks for a payment and wants it to end in the given status.
func (s *story) pay(ctx context.Context, key, token string, want client.PaymentStatus) (client.Payment, error) {
	answer, err := s.api.CreatePaymentWithResponse(ctx, &client.CreatePaymentParams{IdempotencyKey: key},
		client.PaymentRequest{Amount: storyAmount, Currency: storyCurrency, PaymentMethod: token})
	switch {
	case err != nil:
		return client.Payment{}, err
	case answer.JSON201 == nil:
		return client.Payment{}, refusedWith(answer.Status(), answer.ApplicationProblemJSONDefault)
	case answer.JSON201.Status != want:
		return client.Payment{}, fmt.Errorf("%s is %s, not %s", answer.JSON201.ID, answer.JSON201.Status, want)
	}
	return *answer.JSON201, nil
}

// charged compares with what the provider really did: so many charges that were not declined, and so much captured.
func (s *story) charged(ctx context.Context, paymentID string, charges int, captured int64) (sandbox.PaymentTruth, error) {
	truth, err := s.truth(ctx, paymentID)
	if err != nil {
		return sandbox.PaymentTruth{}, fmt.Errorf("ask the witness: %w", err)
	}
	made := 0
	for _, c := range truth.Charges {
		if c.Status != sandbox.ChargeDeclined {
			made++
		}
	}
	if made != charges || truth.AmountCaptured != captured || truth.Double {
		return truth, fmt.Errorf("the provider's record of %s has %d charges and %d captured, and ought to have %d and %d",
			paymentID, made, truth.AmountCaptured, charges, captured)
	}
	return truth, nil
}

// truth is what the provider knows of a payment: nothing, if it was never asked.
func (s *story) truth(ctx context.Context, paymentID string) (sandbox.PaymentTruth, error) {
	for after := ""; ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.witness+"/witness/payments?limit=1000&after="+after, nil)
		if err != nil {
			return sandbox.PaymentTruth{}, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return sandbox.PaymentTruth{}, err
		}
		var page sandbox.PaymentPage
		err = json.NewDecoder(response.Body).Decode(&page)
		_ = response.Body.Close()
		if err != nil {
			return sandbox.PaymentTruth{}, err
		}
		for _, p := range page.Payments {
			if p.Payment == paymentID {
				return p, nil
			}
		}
		if after = page.NextAfter; after == "" {
			return sandbox.PaymentTruth{}, nil
		}
	}
}

// path is the states a payment went through, as its events tell.
func (s *story) path(ctx context.Context, paymentID string) (string, error) {
	answer, err := s.api.ListEventsWithResponse(ctx, &client.ListEventsParams{Subject: &paymentID})
	if err != nil {
		return "", err
	}
	if answer.JSON200 == nil {
		return "", refusedWith(answer.Status(), answer.ApplicationProblemJSONDefault)
	}
	var states []string
	for _, e := range answer.JSON200.Data {
		states = append(states, strings.TrimPrefix(e.Type, "payment."))
	}
	return strings.Join(states, " → "), nil
}

// refusedWith is an answer that was not the one we asked for, as an error.
func refusedWith(status string, problem *client.Problem) error {
	if problem == nil {
		return fmt.Errorf("the API answered %s", status)
	}
	return problem
}

// amountOf shows minor units for people: 12.50 EUR.
func amountOf(amount int64, currency string) string {
	scale, _ := money.Scale(currency)
	digits := fmt.Sprintf("%0*d", int(scale)+1, amount)
	if scale == 0 {
		return digits + " " + currency
	}
	point := len(digits) - int(scale)
	return digits[:point] + "." + digits[point:] + " " + currency
}
