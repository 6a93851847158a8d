// Package providertest is what every payment provider's adapter must do, whatever stands behind it. Kontor charges once because adapters
// say no more than they know: these are the ways in which one can say too much. It owns no tables.
//
//	for _, flaw := range providertest.Flaws(t.Context(), providertest.Bench{…}) {
//		t.Error(flaw)
//	}
package providertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Bench is a provider to try an adapter on: a test account of a real one, or a stand-in.
type Bench struct {
	URL      string                             // where the provider is
	At       func(url string) payments.Provider // makes an adapter for a provider that is there
	Currency string                             // in which 10.00 can be charged
	Approved string                             // a payment method that is approved
	Declined string                             // one that is not
	IDs      *ids.Source                        // of references
}

// trial is one run.
type trial struct {
	Bench
	payments.Provider
	mu    sync.Mutex
	flaws []string
}

// Flaws tries the adapter and tells everything that it does wrong.
func Flaws(ctx context.Context, b Bench) []string {
	t := &trial{Bench: b, Provider: b.At(b.URL)}
	if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(t.Name()) {
		t.wrong("its name %q is no word of small letters: it is a part of account codes", t.Name())
	}
	if t.SettleWithin() <= 0 {
		t.wrong("it does not say how long an effect may take to appear")
	}
	t.nobody(ctx)
	t.whole(ctx)
	t.declined(ctx)
	t.repeated(ctx)
	t.lost(ctx)
	t.unreachable(ctx)
	t.nonsense(ctx)
	t.forged()
	return t.flaws
}

func (t *trial) wrong(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flaws = append(t.flaws, fmt.Sprintf(format, args...))
}

// among wants one of the results.
func (t *trial) among(what string, a payments.ProviderAnswer, wanted ...payments.Result) bool {
	if slices.Contains(wanted, a.Result) {
		return true
	}
	t.wrong("%s: it says %q, not one of %q (%+v)", what, a.Result, wanted, a)
	return false
}

func (t *trial) reference() string { return ids.Format("att", t.IDs.New()) }

func (t *trial) charge(token string, capture bool) payments.ProviderRequest {
	return payments.ProviderRequest{
		Kind: payments.KindAuthorise, Reference: t.reference(), OrgID: t.IDs.New(), PaymentID: ids.Format("pay", t.IDs.New()),
		Amount: 1000, Currency: t.Currency, Token: token, Capture: capture,
	}
}

func (t *trial) nobody(ctx context.Context) {
	t.among("a reference that was never sent, looked up", t.LookUp(ctx, t.reference()), payments.ResultNotFound)
}

// whole takes a charge through everything that can be done with it.
func (t *trial) whole(ctx context.Context) {
	r := t.charge(t.Approved, false)
	opened := t.Send(ctx, r)
	if !t.among("an authorisation", opened, payments.ResultSucceeded) {
		return
	}
	if opened.ChargeID == "" || opened.Amount != r.Amount {
		t.wrong("an authorisation: it does not say which charge it is, or another amount: %+v", opened)
	}
	t.found(ctx, "an authorisation", r.Reference, opened)
	for _, step := range []struct {
		kind          payments.Kind
		amount, moves int64
		final         payments.Result
	}{
		{payments.KindCapture, 5000, 0, payments.ResultDeclined},
		{payments.KindCapture, 600, 600, payments.ResultSucceeded},
		{payments.KindVoid, 0, 400, payments.ResultSucceeded},
		{payments.KindRefund, 200, 200, payments.ResultSucceeded},
		{payments.KindRefund, 5000, 0, payments.ResultDeclined},
	} {
		what := fmt.Sprintf("%s of %d", step.kind, step.amount)
		s := payments.ProviderRequest{
			Kind: step.kind, Reference: t.reference(), OrgID: r.OrgID, PaymentID: r.PaymentID, ChargeID: opened.ChargeID, Amount: step.amount, Currency: t.Currency,
		}
		answer := t.Send(ctx, s)
		if !t.among(what, answer, step.final) {
			continue
		}
		if answer.Amount != step.moves {
			t.wrong("%s: it says that %d moved, not %d", what, answer.Amount, step.moves)
		}
		if step.final == payments.ResultSucceeded {
			t.found(ctx, what, s.Reference, answer)
		}
	}
}

// found wants a look-up to tell what the send told.
func (t *trial) found(ctx context.Context, what, reference string, sent payments.ProviderAnswer) {
	found := t.LookUp(ctx, reference)
	if t.among(what+", looked up", found, sent.Result) && (found.ChargeID != sent.ChargeID || found.Amount != sent.Amount || found.Effects > 1) {
		t.wrong("%s: sent, it says %+v, looked up %+v", what, sent, found)
	}
}

func (t *trial) declined(ctx context.Context) {
	r := t.charge(t.Declined, true)
	if a := t.Send(ctx, r); t.among("a method that is declined", a, payments.ResultDeclined) && (a.FailureCode == "" || a.Amount != 0) {
		t.wrong("a method that is declined: it does not say why, or that money moved: %+v", a)
	}
	t.among("what was declined, looked up", t.LookUp(ctx, r.Reference), payments.ResultDeclined, payments.ResultNotFound)
}

// repeated sends one request several times, at once and again.
func (t *trial) repeated(ctx context.Context) {
	r := t.charge(t.Approved, true)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { // while the first is at work the others may be turned away, or not know
			t.among("one reference several times at once", t.Send(ctx, r), payments.ResultSucceeded, payments.ResultPending, payments.ResultLimited, payments.ResultUnknown)
		})
	}
	all.Wait()
	a := t.Send(ctx, r)
	if !t.among("one reference again", a, payments.ResultSucceeded) {
		return
	}
	t.found(ctx, "one reference several times", r.Reference, a)
}

// lost has the provider do what it is asked for, and its answer lost.
func (t *trial) lost(ctx context.Context) {
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.pass(r)
		if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = connection.Close()
		}
	}))
	defer between.Close()
	r := t.charge(t.Approved, true)
	deaf := t.At(between.URL)
	t.among("an answer that is lost", deaf.Send(ctx, r), payments.ResultUnknown)
	t.among("a look-up whose answer is lost", deaf.LookUp(ctx, r.Reference), payments.ResultUnknown)
	found := t.LookUp(ctx, r.Reference)
	if t.among("what was done and its answer lost, looked up", found, payments.ResultSucceeded) && found.Effects > 1 {
		t.wrong("an answer that is lost: the request was carried out %d times; the adapter, or its HTTP client, repeats it by itself", found.Effects)
	}
	if a := t.Send(ctx, r); t.among("what was done, again", a, payments.ResultSucceeded) && a.ChargeID != found.ChargeID {
		t.wrong("what was done, again: another charge, %s and %s", found.ChargeID, a.ChargeID)
	}
}

// pass hands a request on to the provider.
func (t *trial) pass(r *http.Request) {
	onward, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, t.URL+r.URL.RequestURI(), r.Body)
	if err != nil {
		t.wrong("hand a request on: %v", err)
		return
	}
	onward.Header, onward.ContentLength = r.Header, r.ContentLength
	answer, err := http.DefaultClient.Do(onward)
	if err != nil {
		t.wrong("hand a request on: %v", err)
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
}

// unreachable has nobody listen.
func (t *trial) unreachable(ctx context.Context) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.wrong("take a port: %v", err)
		return
	}
	_ = listener.Close()
	away := t.At("http://" + listener.Addr().String())
	t.among("nobody listens", away.Send(ctx, t.charge(t.Approved, true)), payments.ResultNotSent, payments.ResultUnknown)
	t.among("nobody listens to a look-up", away.LookUp(ctx, t.reference()), payments.ResultNotSent, payments.ResultUnknown)
}

// nonsense has something answer that is not the provider.
func (t *trial) nonsense(ctx context.Context) {
	for _, status := range []int{http.StatusOK, http.StatusCreated, http.StatusNotFound, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable} {
		for _, body := range []string{"", "<html>gateway</html>", "{}", `{"id":"x"`, "null"} {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}))
			what := fmt.Sprintf("something else answers %d %q", status, body)
			adapter := t.At(other.URL)
			open := []payments.Result{payments.ResultUnknown, payments.ResultLimited, payments.ResultNotSent}
			t.among(what, adapter.Send(ctx, t.charge(t.Approved, true)), open...)
			t.among(what+" to a look-up", adapter.LookUp(ctx, t.reference()), open...)
			other.Close()
		}
	}
}

// forged shows it webhooks that nobody has signed.
func (t *trial) forged() {
	for _, body := range []string{"", "{}", `{"id":"evt_1","type":"charge.succeeded","data":{}}`} {
		if w, err := t.ParseWebhook(http.Header{"Content-Type": {"application/json"}}, []byte(body)); err == nil {
			t.wrong("a webhook without a signature is believed: %+v", w)
		}
	}
}
