package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

func payment(token, more string) string {
	return fmt.Sprintf(`{"amount":1000,"currency":"EUR","payment_method":%q%s}`, token, more)
}

func TestPaymentsOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	body := payment("tok_approved", `,"reference":"order-42","description":"Tea","metadata":{"shop":"1"}`)
	made := n.must(201, n.post("/v1/payments", body, "Idempotency-Key", "order-42"))
	id := text(made.json, "id")
	if text(made.json, "status") != "captured" || made.header.Get("Location") != "/v1/payments/"+id || text(made.json, "metadata.shop") != "1" {
		t.Errorf("captured: %s %v", made, made.header)
	}
	again := n.must(201, n.post("/v1/payments", body, "Idempotency-Key", "order-42"))
	if string(again.body) != string(made.body) || again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("Location") != made.header.Get("Location") {
		t.Errorf("the repeat: %s %v", again, again.header)
	}
	n.refused("idempotency_key_reused", n.post("/v1/payments", payment("tok_approved", ""), "Idempotency-Key", "order-42"))
	declined := n.must(201, n.post("/v1/payments", payment("tok_insufficient_funds", "")))
	if text(declined.json, "status") != "declined" || text(declined.json, "failure_code") != "insufficient_funds" {
		t.Errorf("declined: %s", declined)
	}
	read := n.must(200, n.get("/v1/payments/"+id))
	if string(read.body) != string(made.body) {
		t.Errorf("read %s, made %s", read, made)
	}
	n.refused("payment_not_found", n.get("/v1/payments/"+id, "Authorization", "Bearer "+n.otherKey))
	n.refused("payment_not_found", n.post("/v1/payments/"+id+"/refunds", ``, "Authorization", "Bearer "+n.otherKey))
	n.refused("provider_unknown", n.post("/v1/payments", payment("tok_approved", `,"provider":"nobody"`)))
	n.refused("payment_not_capturable", n.post("/v1/payments/"+id+"/capture", `{}`))
	n.refused("payment_not_voidable", n.post("/v1/payments/"+id+"/void", `{}`))
	n.refused("payment_not_refundable", n.post("/v1/payments/"+text(declined.json, "id")+"/refunds", ``))
	n.refused("exceeds_refundable", n.post("/v1/payments/"+id+"/refunds", `{"amount":1001}`))

	part := n.must(201, n.post("/v1/payments/"+id+"/refunds", `{"amount":250}`, "Idempotency-Key", "refund-1"))
	if text(part.json, "amount_refunded") != "250" || text(part.json, "status") != "captured" || part.header.Get("Location") != "/v1/payments/"+id {
		t.Errorf("refunded in part: %s", part)
	}
	rest := n.must(201, n.post("/v1/payments/"+id+"/refunds", ``))
	if text(rest.json, "amount_refunded") != "1000" || text(rest.json, "status") != "refunded" {
		t.Errorf("refunded: %s", rest)
	}
	once := n.must(201, n.post("/v1/payments/"+id+"/refunds", `{"amount":250}`, "Idempotency-Key", "refund-1"))
	if string(once.body) != string(part.body) {
		t.Errorf("the first refund again: %s, want %s", once, part)
	}
}

func TestAuthorisationsOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	manual := func() string {
		a := n.must(201, n.post("/v1/payments", payment("tok_approved", `,"capture_method":"manual","reference":"held"`)))
		if text(a.json, "status") != "authorised" || text(a.json, "amount_capturable") != "1000" || text(a.json, "authorisation_expires_at") == "<nil>" {
			t.Errorf("authorised: %s", a)
		}
		return "/v1/payments/" + text(a.json, "id")
	}
	first := manual()
	n.refused("exceeds_capturable", n.post(first+"/capture", `{"amount":1001}`))
	if a := n.must(200, n.post(first+"/capture", `{"amount":400}`)); text(a.json, "amount_captured") != "400" || text(a.json, "amount_capturable") != "600" {
		t.Errorf("captured in part: %s", a)
	}
	if a := n.must(200, n.post(first+"/capture", `{"amount":100,"final":true}`)); text(a.json, "amount_captured") != "500" || text(a.json, "amount_capturable") != "0" {
		t.Errorf("captured for good: %s", a)
	}
	second := manual()
	if a := n.must(200, n.post(second+"/void", ``)); text(a.json, "status") != "voided" {
		t.Errorf("voided: %s", a)
	}
	for query, want := range map[string]int{"": 2, "&status=voided": 1, "&reference=held": 2, "&created_from=2099-01-01T00:00:00Z": 0, "&status=voided&reference=x": 0} {
		if got := pageThrough(n, "/v1/payments?limit=1"+query, "id"); len(got) != want {
			t.Errorf("%q: listed %v", query, got)
		}
	}
}

func TestWhatTheProviderDeclinesIsAProblem(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	made := n.must(201, n.post("/v1/payments", payment("tok_approved", "")))
	// Somebody gives the money back behind Kontor's back, so the provider has nothing left to refund.
	charges := charge(t, n)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.sandbox.URL+"/v1/charges/"+charges+"/refunds", strings.NewReader(`{"reference":"other","amount":1000}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer key")
	r.Header.Set("Idempotency-Key", "other")
	w, err := http.DefaultClient.Do(r)
	if err != nil || w.StatusCode >= 300 {
		t.Fatalf("the sandbox answers %v, %v", w, err)
	}
	_ = w.Body.Close()
	path := "/v1/payments/" + text(made.json, "id")
	first := n.refused("refund_declined", n.post(path+"/refunds", ``, "Idempotency-Key", "r"))
	if text(first.json, "failure_code") == "<nil>" {
		t.Errorf("declined without a reason: %s", first)
	}
	again := n.refused("refund_declined", n.post(path+"/refunds", ``, "Idempotency-Key", "r"))
	if again.header.Get("Idempotent-Replayed") != "true" || text(again.json, "failure_code") != text(first.json, "failure_code") {
		t.Errorf("again: %s", again)
	}
}

// charge is the id of the sandbox's only charge.
func charge(t *testing.T, n *node) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.sandbox.URL+"/v1/charges", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer key")
	var page sandbox.ChargePage
	fetch(t, r, &page)
	if len(page.Charges) != 1 {
		t.Fatalf("the sandbox has %d charges", len(page.Charges))
	}
	return page.Charges[0].ID
}

func TestAPaymentThatTakesItsTime(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	body := payment("tok_requires_time", "")
	soon := n.must(202, n.post("/v1/payments", body, "Idempotency-Key", "slow", "Prefer", "respond-async"))
	path := soon.header.Get("Location")
	if text(soon.json, "status") != "processing" || path != "/v1/payments/"+text(soon.json, "id") {
		t.Errorf("answered at once: %s", soon)
	}
	later := n.must(202, n.post("/v1/payments", body, "Idempotency-Key", "slow", "Prefer", "wait=1"))
	if later.header.Get("Location") != path || later.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("again: %s %v", later, later.header)
	}
	busy := n.refused("attempt_in_progress", n.post(path+"/void", ``, "Idempotency-Key", "too-early"))
	if busy.header.Get("Retry-After") != "1" {
		t.Errorf("no word on when to come back: %v", busy.header)
	}
	if again := n.refused("attempt_in_progress", n.post(path+"/void", ``, "Idempotency-Key", "too-early")); again.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("a passing refusal was recorded: %v", again.header)
	}
}

func TestEqualPaymentsAtOnceChargeOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	const callers = 16
	answers := make([]answer, callers)
	var together sync.WaitGroup
	for i := range callers {
		together.Go(func() { answers[i] = n.post("/v1/payments", payment("tok_approved", ""), "Idempotency-Key", "same") })
	}
	together.Wait()
	for _, a := range answers {
		if n.must(201, a); text(a.json, "id") != text(answers[0].json, "id") || text(a.json, "status") != "captured" {
			t.Errorf("%s and %s", a, answers[0])
		}
	}
	_ = charge(t, n)
}
