package sandbox_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// hasty is how long an adapter waits that is meant to meet a hanging provider: long enough for a busy machine.
const hasty = time.Second

// adapter makes a Provider for a bench.
func adapter(t testing.TB, url string, timeout time.Duration) *sandbox.Provider {
	t.Helper()
	p := sandbox.NewProvider(sandbox.ProviderConfig{BaseURL: url, APIKey: "key", WebhookSecret: secret, Timeout: timeout})
	t.Cleanup(p.Close)
	return p
}

func authorise(reference, token string, capture bool) payments.ProviderRequest {
	return payments.ProviderRequest{
		Kind: payments.KindAuthorise, Reference: reference, PaymentID: "pay-of-" + reference,
		Amount: 1000, Currency: "EUR", Token: token, Capture: capture,
	}
}

func TestAdapterCarriesAPaymentThrough(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	p, ctx := adapter(t, b.url, 0), t.Context()
	opened := p.Send(ctx, authorise("a", "tok_approved", false))
	if opened.Result != payments.ResultSucceeded || opened.ChargeID == "" || opened.OperationID != opened.ChargeID ||
		opened.Amount != 1000 || opened.Fee != 0 || opened.HTTPStatus != 201 || opened.ExpiresAt.Before(clock.System()) {
		t.Fatalf("%+v", opened)
	}
	if found := p.LookUp(ctx, "a"); found.Result != opened.Result || found.ChargeID != opened.ChargeID || found.Effects != 1 ||
		found.OperationID != opened.OperationID || found.Amount != 1000 || !found.ExpiresAt.Equal(opened.ExpiresAt) {
		t.Errorf("%+v", found)
	}
	for _, row := range []struct {
		kind   payments.Kind
		amount int64
		result payments.Result
		moved  int64
		fee    int64
		code   string
	}{
		{payments.KindCapture, 5000, payments.ResultDeclined, 0, 0, "amount_exceeds_capturable"},
		{payments.KindCapture, 600, payments.ResultSucceeded, 600, 33, ""},
		{payments.KindVoid, 0, payments.ResultSucceeded, 400, 0, ""},
		{payments.KindVoid, 0, payments.ResultDeclined, 0, 0, "charge_not_voidable"},
		{payments.KindRefund, 200, payments.ResultSucceeded, 200, 0, ""},
	} {
		r := payments.ProviderRequest{
			Kind: row.kind, Reference: ids.Format("att", ids.NewSource(clock.System).New()), ChargeID: opened.ChargeID, Amount: row.amount,
		}
		sent, found := p.Send(ctx, r), p.LookUp(ctx, r.Reference)
		for _, a := range []payments.ProviderAnswer{sent, found} {
			if a.Result != row.result || a.Amount != row.moved || a.Fee != row.fee || a.FailureCode != row.code || a.ChargeID != opened.ChargeID {
				t.Errorf("%s of %d: %+v", row.kind, row.amount, a)
			}
		}
	}
	if !b.witnessed("pay-of-a") {
		t.Error("the witness does not know the payment by our id")
	}
}

func (b *bench) witnessed(payment string) bool {
	b.t.Helper()
	var page sandbox.PaymentPage
	b.do("GET", "/witness/payments?limit=1000", "").into(b.t, &page)
	for _, p := range page.Payments {
		if p.Payment == payment {
			return true
		}
	}
	return false
}

func TestAdapterOnOrdinaryOutcomes(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	p, ctx := adapter(t, b.url, 0), t.Context()
	if a := p.Send(ctx, authorise("auto", "tok_approved", true)); a.Result != payments.ResultSucceeded || a.Fee != 39 || !a.ExpiresAt.IsZero() {
		t.Errorf("captured at once: %+v", a)
	}
	if a := p.Send(ctx, authorise("d", "tok_fraud", true)); a.Result != payments.ResultDeclined || a.FailureCode != "suspected_fraud" || a.Amount != 0 {
		t.Errorf("declined: %+v", a)
	}
	if a := p.LookUp(ctx, "d"); a.Result != payments.ResultDeclined || a.FailureCode != "suspected_fraud" || a.Effects != 0 {
		t.Errorf("declined, looked up: %+v", a)
	}
	if a := p.Send(ctx, authorise("w", "tok_requires_time", true)); a.Result != payments.ResultPending || a.ChargeID == "" || a.HTTPStatus != 202 {
		t.Errorf("pending: %+v", a)
	}
	if a := p.LookUp(ctx, "w"); a.Result != payments.ResultPending || a.Effects != 1 {
		t.Errorf("pending, looked up: %+v", a)
	}
	if a := p.LookUp(ctx, "nobody"); a.Result != payments.ResultNotFound || a.HTTPStatus != 404 {
		t.Errorf("nobody: %+v", a)
	}
	if a := p.Send(ctx, authorise("l", "tok_rate_limited_once", true)); a.Result != payments.ResultLimited || a.RetryAfter != time.Second {
		t.Errorf("limited: %+v", a)
	}
	for _, r := range []payments.ProviderRequest{{Kind: "dance", Reference: "x"}, {Kind: payments.KindVoid, Reference: "x"}} {
		if a := p.Send(ctx, r); a.Result != payments.ResultDeclined || a.HTTPStatus != 0 {
			t.Errorf("impossible: %+v", a)
		}
	}
}

// TestAdapterOnTokensThatMislead: the first send is unknown, a look-up tells the truth, and the same attempt again
// ends with one charge.
func TestAdapterOnTokensThatMislead(t *testing.T) {
	t.Parallel()
	for token, truth := range map[string]payments.Result{
		"tok_timeout_after_charge":  payments.ResultSucceeded,
		"tok_timeout_before_charge": payments.ResultNotFound,
		"tok_error_after_charge":    payments.ResultSucceeded,
		"tok_error_before_charge":   payments.ResultNotFound,
	} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			b := open(t, sandbox.ServerConfig{})
			p := adapter(t, b.url, 0)
			if a := adapter(t, b.url, hasty).Send(t.Context(), authorise("r", token, true)); a.Result != payments.ResultUnknown {
				t.Fatalf("first send: %+v", a)
			}
			if a := p.LookUp(t.Context(), "r"); a.Result != truth {
				t.Errorf("looked up: %+v", a)
			}
			if a := p.Send(t.Context(), authorise("r", token, true)); a.Result != payments.ResultSucceeded {
				t.Errorf("second send: %+v", a)
			}
			if sum := b.server.Summary(); sum.Charges != 1 || sum.DoubleCharges != 0 {
				t.Errorf("%+v", sum)
			}
		})
	}
}

// TestAdapterOnEachFault: what an adapter makes of it, and whether the effect was made behind its back.
func TestAdapterOnEachFault(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		faults string
		result payments.Result
		made   bool
	}{
		{"none,rate_limited=1", payments.ResultLimited, false},
		{"none,error_before=1", payments.ResultUnknown, false},
		{"none,error_after=1", payments.ResultUnknown, true},
		{"none,reset_before=1", payments.ResultUnknown, false},
		{"none,reset_after=1", payments.ResultUnknown, true},
		{"none,hang_before=1", payments.ResultUnknown, false},
		{"none,hang_after=1", payments.ResultUnknown, true},
	} {
		t.Run(row.faults, func(t *testing.T) {
			t.Parallel()
			b := open(t, sandbox.ServerConfig{})
			p := adapter(t, b.url, hasty)
			if a := p.Send(t.Context(), authorise("warm-up", "tok_approved", true)); a.Result != payments.ResultSucceeded {
				t.Fatalf("%+v", a)
			}
			b.do("PUT", "/witness/faults", row.faults)
			before := b.server.Summary().Requests
			if a := p.Send(t.Context(), authorise("r", "tok_approved", true)); a.Result != row.result {
				t.Errorf("sent: %+v", a)
			}
			// The connection was a used one: the transport would have repeated the request by itself.
			if n := b.server.Summary().Requests - before; n != 1 {
				t.Errorf("%d requests for one send", n)
			}
			b.do("PUT", "/witness/faults", "none")
			want := payments.ResultNotFound
			if row.made {
				want = payments.ResultSucceeded
			}
			if a := adapter(t, b.url, 0).LookUp(t.Context(), "r"); a.Result != want {
				t.Errorf("looked up: %+v", a)
			}
		})
	}
}

func TestLookUpUnderFaultsIsNeverFinal(t *testing.T) {
	t.Parallel()
	for faults, want := range map[string]payments.Result{
		"none,rate_limited=1": payments.ResultLimited,
		"none,error_before=1": payments.ResultUnknown,
		"none,reset_after=1":  payments.ResultUnknown,
	} {
		b := open(t, sandbox.ServerConfig{})
		b.do("PUT", "/witness/faults", faults)
		if a := adapter(t, b.url, 0).LookUp(t.Context(), "nobody"); a.Result != want {
			t.Errorf("%s: %+v", faults, a)
		}
	}
}

func TestLookUpCountsADoubleEffect(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{Faults: sandbox.Faults{IgnoreIdempotencyKeys: true}})
	p := adapter(t, b.url, 0)
	first := p.Send(t.Context(), authorise("r", "tok_approved", true))
	p.Send(t.Context(), authorise("r", "tok_approved", true))
	if a := p.LookUp(t.Context(), "r"); a.Effects != 2 || a.ChargeID != first.ChargeID || a.Result != payments.ResultSucceeded {
		t.Errorf("%+v", a)
	}
}

// TestPersistentClientChargesOnceUnderHeavyFaults is the sandbox and its adapter as Kontor uses them.
func TestPersistentClientChargesOnceUnderHeavyFaults(t *testing.T) {
	t.Parallel()
	f, err := sandbox.ParseFaults("heavy,seed=5,rate_limited=0,error_before=0.1,error_after=0.1,reset_before=0.1,reset_after=0.1")
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, sandbox.ServerConfig{Faults: f})
	p := adapter(t, b.url, 400*time.Millisecond)
	const n = 200
	var sending sync.WaitGroup
	for i := range n {
		reference := ids.Format("att", ids.ID{15: byte(i + 1)})
		sending.Go(func() {
			for attempt := 0; attempt < 50; attempt++ {
				if p.Send(context.Background(), authorise(reference, "tok_approved", true)).Result == payments.ResultSucceeded {
					return
				}
			}
			t.Errorf("%s never succeeded", reference)
		})
	}
	sending.Wait()
	if sum := b.server.Summary(); sum.Charges != n || sum.DoubleCharges != 0 || sum.AmountCaptured != 1000*n {
		t.Errorf("%+v", sum)
	}
}

func TestAdapterReadsWebhooks(t *testing.T) {
	t.Parallel()
	type delivery struct {
		header http.Header
		body   []byte
	}
	deliveries := make(chan delivery, 1)
	target := handle(t, func(_ http.ResponseWriter, r *http.Request) {
		deliveries <- delivery{r.Header.Clone(), readAll(t, r.Body)}
	})
	b := open(t, sandbox.ServerConfig{WebhookURL: target, WebhookSecret: secret})
	p := adapter(t, b.url, 0)
	r := authorise("r", "tok_approved", true)
	r.OrgID = ids.NewSource(clock.System).New()
	p.Send(t.Context(), r)
	got := <-deliveries
	read, err := p.ParseWebhook(got.header, got.body)
	if err != nil || read.ID == "" || read.Type != sandbox.EventCaptured || read.OrgID != r.OrgID ||
		read.PaymentID != r.PaymentID || read.Reference != "r" || read.OccurredAt.IsZero() {
		t.Errorf("%+v, %v", read, err)
	}
	spoilt := append([]byte{' '}, got.body...)
	if _, err := p.ParseWebhook(got.header, spoilt); codeOf(err) != "webhook_signature_invalid" {
		t.Errorf("spoilt: %v", err)
	}
	if _, err := p.ParseWebhook(http.Header{}, got.body); codeOf(err) != "webhook_signature_invalid" {
		t.Errorf("unsigned: %v", err)
	}
	for _, body := range []string{`{`, `{}`, `{"type":"charge.captured"}`} {
		if _, err := p.ParseWebhook(signed(t, body), []byte(body)); codeOf(err) != "webhook_malformed" {
			t.Errorf("%s: %v", body, err)
		}
	}
	unable := sandbox.NewProvider(sandbox.ProviderConfig{BaseURL: b.url})
	if _, err := unable.ParseWebhook(got.header, got.body); codeOf(err) != "webhook_secret_invalid" {
		t.Errorf("without a secret: %v", err)
	}
}

// signed makes the header of a webhook from somebody who has the secret.
func signed(t *testing.T, body string) http.Header {
	t.Helper()
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.System()
	signature, err := signer.Sign("msg_1", now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", "msg_1")
	h.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("webhook-signature", signature)
	return h
}
