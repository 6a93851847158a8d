package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// One payment from its authorisation to the last refund; then the books, the events and the provider tell the same.
func TestTheLifeOfAPayment(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	n := h.start("one")
	id := decode[client.Payment](h, h.want(n.pay("authorise", manual(1000)), 201, "")).ID
	held := n.balances("provider/sandbox/clearing/")["provider/sandbox/clearing/EUR"]
	if held.DebitsPending != 1000 || held.Posted != 0 {
		t.Errorf("authorised: %+v", held)
	}
	h.want(n.refund("early", id, client.RefundRequest{}), 409, "payment_not_refundable")
	h.want(n.capture("part", id, client.CaptureRequest{Amount: ptr[int64](400)}), 200, "")
	h.want(n.refund("part back", id, client.RefundRequest{Amount: ptr[int64](150)}), 201, "")
	h.want(n.capture("rest", id, client.CaptureRequest{Amount: ptr[int64](500), Final: ptr(true)}), 200, "")
	h.want(n.capture("late", id, client.CaptureRequest{}), 409, "payment_not_capturable")
	end := decode[client.Payment](h, h.want(n.refund("rest back", id, client.RefundRequest{}), 201, ""))
	if end.Status != client.PaymentStatusRefunded || end.AmountCaptured != 900 || end.AmountRefunded != 900 || end.AmountCapturable != 0 {
		t.Errorf("at the end: %+v", end)
	}
	if now := n.payment(id); now.Status != end.Status || !now.UpdatedAt.Equal(end.UpdatedAt) {
		t.Errorf("told %+v, found %+v", end, now)
	}
	want := []string{
		"payment.created", "payment.authorised", "payment.capture_requested", "payment.captured", "payment.refund_requested", "payment.refunded",
		"payment.capture_requested", "payment.captured", "payment.refund_requested", "payment.refunded",
	}
	if got := n.eventsAbout(id); !slices.Equal(got, want) {
		t.Errorf("the events are %q", got)
	}
	truth := h.provider.Summary()
	if truth.AmountCaptured != 900 || truth.AmountRefunded != 900 || truth.Fees != end.AmountFee {
		t.Errorf("the provider has %+v", truth)
	}
	books := n.balances("p")
	for code, posted := range map[string]int64{
		"payments/received/EUR": 0, "provider/sandbox/fees/EUR": truth.Fees, "provider/sandbox/clearing/EUR": -truth.Fees,
	} {
		if a := books[code]; a.Posted != posted || a.DebitsPending != 0 || a.CreditsPending != 0 {
			t.Errorf("%s has %+v, want %d", code, a, posted)
		}
	}
}

func TestNobodyHasToWait(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{SettleDelay: 200 * time.Millisecond})
	n := h.start("one")
	r := approved(700)
	r.PaymentMethod = "tok_requires_time"
	soon := h.want(n.pay("slow", r, "respond-async"), 202, "")
	id := decode[client.Payment](h, soon).ID
	if soon.location != "/v1/payments/"+id || decode[client.Payment](h, soon).Status != client.PaymentStatusProcessing {
		t.Errorf("answered at once: %+v", soon)
	}
	h.eventually("the event", func() bool { return slices.Contains(n.eventsAbout(id), "payment.captured") })
	if p := n.payment(id); p.Status != client.PaymentStatusCaptured {
		t.Errorf("after its event: %+v", p)
	}
	last := h.want(n.pay("slow", r), 201, "")
	if got := decode[client.Payment](h, last); !last.replayed || got.ID != id || got.Status != client.PaymentStatusCaptured {
		t.Errorf("asked for again: %+v", last)
	}
	h.same(last, n.pay("slow", r, "wait=1"))
}

// The provider's answer is lost after it charged: the payment is unknown, its money stays held, and it is charged once.
func TestALostAnswerIsFoundOut(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{Faults: sandbox.Faults{SettleWithin: time.Second}})
	h.cfg.ProviderTimeoutSeconds = 1
	n := h.start("one")
	r := approved(800)
	r.PaymentMethod = "tok_timeout_after_charge"
	unknown := h.want(n.pay("lost", r, "respond-async"), 202, "")
	id := decode[client.Payment](h, unknown).ID
	last := h.want(n.pay("lost", r), 201, "")
	if got := decode[client.Payment](h, last); got.ID != id || got.Status != client.PaymentStatusCaptured {
		t.Errorf("found out: %s", last.body)
	}
	if got := n.eventsAbout(id); !slices.Equal(got, []string{"payment.created", "payment.unknown", "payment.captured"}) {
		t.Errorf("the events are %q", got)
	}
	if truth := h.provider.Summary(); truth.Charges != 1 {
		t.Errorf("the provider has %+v", truth)
	}
}

// Every kind of refusal, with its status and code, and the same again under the same key.
func TestRefusalsHaveTheirCodes(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	n := h.start("one")
	paid := decode[client.Payment](h, h.want(n.pay("paid", approved(1000)), 201, ""))
	h.refundBehindOurBack(paid.ID, 1000)
	stranger := *n
	var err error
	if stranger.api, err = client.New(n.url, strings.TrimSpace(h.kontor("keys", "create", "--organisation", "other", "--database-url", h.cfg.DatabaseURL))); err != nil {
		t.Fatal(err)
	}
	nobody := *n
	if nobody.api, err = client.New(n.url, "ktr_test_of_nobody"); err != nil {
		t.Fatal(err)
	}
	unknown := "pay_01k4x9d2rzfqe8s5v0m3t7a1bc"
	for _, c := range []struct {
		status int
		code   string
		ask    func(key string) answer
		passes bool // a refusal that is not recorded
	}{
		{400, "invalid_request", func(key string) answer { return n.pay(key, approved(-1)) }, true},
		{401, "key_malformed", func(key string) answer { return nobody.pay(key, approved(1)) }, true},
		{402, "refund_declined", func(key string) answer { return n.refund(key, paid.ID, client.RefundRequest{}) }, false},
		{404, "payment_not_found", func(key string) answer { return n.capture(key, unknown, client.CaptureRequest{}) }, false},
		{404, "payment_not_found", func(key string) answer { return stranger.refund(key, paid.ID, client.RefundRequest{}) }, false},
		{409, "payment_not_capturable", func(key string) answer { return n.capture(key, paid.ID, client.CaptureRequest{}) }, false},
		{409, "exceeds_refundable", func(key string) answer { return n.refund(key, paid.ID, client.RefundRequest{Amount: ptr[int64](1001)}) }, false},
		{422, "currency_invalid", func(key string) answer {
			return n.pay(key, client.PaymentRequest{Amount: 1, Currency: "EUT", PaymentMethod: "tok_approved"})
		}, false},
		{422, "idempotency_key_reused", func(string) answer { return n.pay("paid", approved(1001)) }, true},
	} {
		key := client.NewKey()
		first := c.ask(key)
		if first.status != c.status || first.code != c.code || first.replayed {
			t.Errorf("want %d %s, got %d %s", c.status, c.code, first.status, first.body)
			continue
		}
		again := c.ask(key)
		if again.status != c.status || again.code != c.code || again.replayed == c.passes {
			t.Errorf("%s again: %+v", c.code, again)
		}
	}
}

// refundBehindOurBack has the provider refund a payment without Kontor, so that it has nothing left to refund.
func (h *house) refundBehindOurBack(payment string, amount int64) {
	h.Helper()
	var charge string
	for _, truth := range h.truths() {
		if truth.Payment == payment {
			charge = truth.Charges[0].ID
		}
	}
	body := strings.NewReader(`{"reference":"behind","amount":` + itoa(amount) + `}`)
	r, err := http.NewRequestWithContext(h.Context(), http.MethodPost, h.providerURL+"/v1/charges/"+charge+"/refunds", body)
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer somebody")
	r.Header.Set("Idempotency-Key", "behind")
	w, err := http.DefaultClient.Do(r)
	if err != nil || w.StatusCode >= 300 {
		h.Fatalf("the sandbox answers %v, %v", w, err)
	}
	_ = w.Body.Close()
}
