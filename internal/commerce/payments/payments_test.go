package payments_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

var pagingStart = paging.Cursor{}

func TestTheOutcomesOfACreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldConfig{})
	for _, c := range []struct {
		token, status, failure string
		charged                bool
	}{
		{"tok_approved", "captured", "", true},
		{"tok_declined", "declined", "card_declined", false},
		{"tok_insufficient_funds", "declined", "insufficient_funds", false},
		{"tok_requires_time", "captured", "", true},
		{"tok_timeout_after_charge", "captured", "", true},
		{"tok_timeout_before_charge", "captured", "", true},
		{"tok_error_after_charge", "captured", "", true},
		{"tok_error_before_charge", "captured", "", true},
		{"tok_rate_limited_once", "captured", "", true},
	} {
		t.Run(c.token, func(t *testing.T) {
			t.Parallel()
			w := *w
			w.t = t
			code, p := w.create(c.token, payments.CaptureAutomatic)
			if code != 201 || p.Status != c.status || (p.AmountCaptured == 1000) != c.charged {
				t.Fatalf("%d %+v", code, p)
			}
			if c.failure != "" && p.FailureCode == "" {
				t.Fatalf("no failure code: %+v", p)
			}
		})
	}
	t.Cleanup(func() {
		if n := w.witness.Summary().DoubleCharges; n != 0 {
			t.Errorf("%d double charges", n)
		}
	})
}

func TestCapturesRefundsAndTheBooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldConfig{})
	code, p := w.create("tok_approved", payments.CaptureManual)
	if code != 201 || p.Status != "authorised" || p.AmountCapturable != 1000 {
		t.Fatalf("%d %+v", code, p)
	}
	if posted, pending := w.balance("provider/sandbox/clearing/EUR"); posted != 0 || pending != 1000 {
		t.Fatalf("authorised: posted %d, pending %d", posted, pending)
	}
	if code, p = w.change(payments.KindCapture, p.ID, 300, false); code != 200 || p.AmountCaptured != 300 || p.AmountCapturable != 700 {
		t.Fatalf("%d %+v", code, p)
	}
	if code, p = w.change(payments.KindCapture, p.ID, 200, false); code != 200 || p.AmountCaptured != 500 || p.AmountCapturable != 500 {
		t.Fatalf("%d %+v", code, p)
	}
	if code, p = w.change(payments.KindVoid, p.ID, 0, false); code != 200 || p.Status != "captured" || p.AmountCapturable != 0 {
		t.Fatalf("%d %+v", code, p)
	}
	if code, p = w.change(payments.KindRefund, p.ID, 100, false); code != 201 || p.Status != "captured" || p.AmountRefunded != 100 {
		t.Fatalf("%d %+v", code, p)
	}
	if code, p = w.change(payments.KindRefund, p.ID, 0, false); code != 201 || p.Status != "refunded" || p.AmountRefunded != 500 {
		t.Fatalf("%d %+v", code, p)
	}
	if posted, pending := w.balance("payments/received/EUR"); posted != 0 || pending != 0 {
		t.Fatalf("received: posted %d, pending %d", posted, pending)
	}
	if posted, _ := w.balance("provider/sandbox/fees/EUR"); posted != p.AmountFee || posted == 0 {
		t.Fatalf("fees: %d, the payment says %d", posted, p.AmountFee)
	}
	if posted, _ := w.balance("provider/sandbox/clearing/EUR"); posted != -p.AmountFee {
		t.Fatalf("clearing: %d", posted)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldConfig{})
	_, authorised := w.create("tok_approved", payments.CaptureManual)
	_, captured := w.create("tok_approved", payments.CaptureAutomatic)
	_, declined := w.create("tok_declined", payments.CaptureAutomatic)
	for _, c := range []struct {
		kind   payments.Kind
		id     string
		amount int64
		want   error
	}{
		{payments.KindCapture, authorised.ID, 1001, payments.ErrExceedsCapturable},
		{payments.KindRefund, authorised.ID, 1, payments.ErrNotRefundable},
		{payments.KindCapture, captured.ID, 1, payments.ErrNotCapturable},
		{payments.KindVoid, captured.ID, 0, payments.ErrNotVoidable},
		{payments.KindRefund, captured.ID, 1001, payments.ErrExceedsRefundable},
		{payments.KindRefund, captured.ID, -1, payments.ErrAmountNotPositive},
		{payments.KindCapture, declined.ID, 1, payments.ErrNotCapturable},
		{payments.KindRefund, ids.Format("pay", w.source.New()), 1, payments.ErrNotFound},
	} {
		id, err := ids.Parse(payments.PaymentPrefix, c.id)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.commit(func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
			return w.first.payments.Change(ctx, tx, []payments.Change{{OrgID: w.org, PaymentID: id, Kind: c.kind, Amount: c.amount}})
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s of %d: %v, want %v", c.kind, c.amount, err, c.want)
		}
	}
}

// Two refunds at once, in one batch and in two: one attempt at a time.
func TestOneAttemptAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldConfig{})
	_, p := w.create("tok_approved", payments.CaptureAutomatic)
	id, _ := ids.Parse(payments.PaymentPrefix, p.ID)
	refund := payments.Change{OrgID: w.org, PaymentID: id, Kind: payments.KindRefund, Amount: 600}
	var begun []payments.Begun
	err := w.first.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var err error
		begun, err = w.first.payments.Change(ctx, tx, []payments.Change{refund, refund})
		return err
	})
	if err != nil || begun[0].Err != nil || !errors.Is(begun[1].Err, payments.ErrAttemptInProgress) {
		t.Fatalf("%v %+v", err, begun)
	}
	_, err = w.commit(func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
		return w.first.payments.Change(ctx, tx, []payments.Change{refund})
	})
	if !errors.Is(err, payments.ErrAttemptInProgress) {
		t.Fatal(err)
	}
	w.first.payments.Start(begun[:1])
	if code, p := w.await(w.first, begun[0].AttemptID); code != 201 || p.AmountRefunded != 600 {
		t.Fatalf("%d %+v", code, p)
	}
}

// The node that began an attempt dies before it could call the provider, or after: another node takes over and the customer is
// charged once.
func TestAnotherNodeTakesOver(t *testing.T) {
	for name, died := range map[string]int{"the first node died": 0, "many nodes died, one after the other": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			takeOver(t, died)
		})
	}
}

func takeOver(t *testing.T, died int) {
	t.Helper()
	w := newWorld(t, worldConfig{lease: 900 * time.Millisecond})
	begun, err := w.commit(func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
		return w.first.payments.Create(ctx, tx, []payments.Create{{
			OrgID: w.org, Provider: "sandbox", Currency: "EUR", Amount: 700, CaptureMethod: payments.CaptureAutomatic, PaymentMethod: "tok_approved",
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.first.db.Pool().Exec(t.Context(), `update task_live set lost = $1`, died); err != nil {
		t.Fatal(err)
	}
	// Never started here: to everybody else, this node is dead. Its provider call may have gone out.
	answer := w.provider.Send(t.Context(), payments.ProviderRequest{
		Kind: payments.KindAuthorise, Reference: ids.Format(payments.AttemptPrefix, begun[0].AttemptID), OrgID: w.org,
		PaymentID: ids.Format(payments.PaymentPrefix, begun[0].PaymentID), Amount: 700, Currency: "EUR", Token: "tok_approved", Capture: true,
	})
	if answer.Result != payments.ResultSucceeded {
		t.Fatalf("%+v", answer)
	}
	second := w.node("second", worldConfig{lease: 900 * time.Millisecond, providerTimeout: time.Second})
	if code, p := w.await(second, begun[0].AttemptID); code != 201 || p.Status != "captured" {
		t.Fatalf("%d %+v", code, p)
	}
	if s := w.witness.Summary(); s.Charges != 1 || s.DoubleCharges != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestPaymentsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldConfig{})
	for _, c := range []struct {
		change func(*payments.Create)
		want   error
	}{
		{func(c *payments.Create) { c.Amount = payments.AmountMax }, nil},
		{func(c *payments.Create) { c.Amount = payments.AmountMax + 1 }, payments.ErrAmountTooLarge},
		{func(c *payments.Create) { c.Amount = 0 }, payments.ErrAmountNotPositive},
		{func(c *payments.Create) { c.Currency = "EUT" }, payments.ErrCurrencyInvalid},
		{func(c *payments.Create) { c.Provider = "nobody" }, payments.ErrProviderUnknown},
		{func(c *payments.Create) { c.CaptureMethod = "later" }, payments.ErrCaptureMethod},
	} {
		create := payments.Create{
			OrgID: w.org, Provider: "sandbox", Currency: "EUR", Amount: 1000, CaptureMethod: payments.CaptureManual, PaymentMethod: "tok_approved",
		}
		c.change(&create)
		_, err := w.commit(func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
			return w.first.payments.Create(ctx, tx, []payments.Create{create})
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", create, err, c.want)
		}
	}
}
