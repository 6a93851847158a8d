package sandbox_test

import (
	"bytes"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

func TestKeyRepeatsTheAnswer(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for _, token := range []string{"tok_approved", "tok_declined", "tok_requires_time"} {
		first, again := b.charge(token, token, true), b.charge(token, token, true)
		if first.header.Get("Idempotent-Replayed") != "" || again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: the marks are %q, %q", token, first.header, again.header)
		}
		if first.status != again.status || !bytes.Equal(first.body, again.body) {
			t.Errorf("%s: %s, then %s", token, first.body, again.body)
		}
	}
	other := b.do("POST", "/v1/charges", chargeBody("tok_approved", "tok_approved", false), "Idempotency-Key", "tok_approved")
	if other.status != http.StatusUnprocessableEntity || other.code(t) != "idempotency_key_reused" {
		t.Errorf("other body: %d %s", other.status, other.body)
	}
	if sum := b.server.Summary(); sum.Charges != 2 || sum.Declined != 1 {
		t.Errorf("%+v", sum)
	}
}

func TestKeyRepeatsARefusedMovement(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	id := b.charge("r", "tok_approved", true).charge(t).ID
	refund := func() answered {
		return b.do("POST", "/v1/charges/"+id+"/refunds", `{"reference":"f","amount":5000}`, "Idempotency-Key", "f")
	}
	if first, again := refund(), refund(); !bytes.Equal(first.body, again.body) || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s, then %s", first.body, again.body)
	}
	if n := len(b.lookUp("f").Operations); n != 1 {
		t.Errorf("%d operations", n)
	}
}

func TestKeyHoldsForConcurrentRequests(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{Faults: sandbox.Faults{LatencyMax: 5 * time.Millisecond}})
	var sending sync.WaitGroup
	answers := make([]answered, 32)
	for i := range answers {
		sending.Go(func() { answers[i] = b.charge("r", "tok_approved", true) })
	}
	sending.Wait()
	first := 0
	for _, a := range answers {
		if a.status != 201 || !bytes.Equal(a.body, answers[0].body) {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a.header.Get("Idempotent-Replayed") == "" {
			first++
		}
	}
	if sum := b.server.Summary(); first != 1 || sum.Charges != 1 || sum.DoubleCharges != 0 {
		t.Errorf("%d first answers, %+v", first, sum)
	}
}

func TestIgnoredKeysChargeTwiceAndTheWitnessSeesIt(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{Faults: sandbox.Faults{IgnoreIdempotencyKeys: true}})
	id := b.charge("single", "tok_approved", true).charge(t).ID
	if sum := b.server.Summary(); sum.DoubleCharges != 0 {
		t.Fatalf("too early: %+v", sum)
	}
	b.charge("twice", "tok_approved", true)
	b.charge("twice", "tok_approved", true)
	if n := len(b.lookUp("twice").Operations); n != 2 {
		t.Errorf("%d operations of the charge", n)
	}
	for range 2 {
		b.do("POST", "/v1/charges/"+id+"/refunds", `{"reference":"f","amount":100}`, "Idempotency-Key", "f")
	}
	sum := b.server.Summary()
	if sum.DoubleCharges != 2 || sum.Charges != 3 || sum.Refunds != 2 || sum.FaultsInjected["key_ignored"] != 2 {
		t.Errorf("%+v", sum)
	}
}
