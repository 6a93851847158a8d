package sandbox_test

import (
	"fmt"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

func TestPlantedDuplicateIsSeen(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	b.charge("r", "tok_approved", true)
	if a := b.do("POST", "/witness/charges/r/duplicate", ""); a.status != 201 || a.charge(t).Reference != "r" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := b.do("POST", "/witness/charges/nobody/duplicate", ""); a.status != 404 {
		t.Errorf("nobody: %d", a.status)
	}
	if sum := b.server.Summary(); sum.DoubleCharges != 1 || sum.AmountCaptured != 2000 {
		t.Errorf("%+v", sum)
	}
	if n := len(b.lookUp("r").Operations); n != 2 {
		t.Errorf("%d operations", n)
	}
}

// TestDeclinesAreNoDoubleCharge: a payment may be tried again after a decline, also one that came late.
func TestDeclinesAreNoDoubleCharge(t *testing.T) {
	t.Parallel()
	now := newHandClock()
	b := open(t, sandbox.ServerConfig{Clock: now.now})
	post := func(reference, token string) {
		b.do("POST", "/v1/charges", fmt.Sprintf(
			`{"reference":%q,"amount":1000,"currency":"EUR","token":%q,"metadata":{"payment":"p"}}`, reference, token))
	}
	post("r1", "tok_declined")
	post("r2", "tok_requires_time_declined")
	post("r3", "tok_approved")
	if n := b.server.Summary().DoubleCharges; n != 1 {
		t.Errorf("while one is pending: %d", n)
	}
	now.turn(sandbox.SettleDelayDefault)
	if sum := b.server.Summary(); sum.DoubleCharges != 0 || sum.Charges != 1 || sum.Declined != 2 {
		t.Errorf("%+v", sum)
	}
}

func TestTruthOfPayments(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for i := range 3 {
		b.charge(fmt.Sprint("r", i), "tok_approved", i == 1)
	}
	id := b.lookUp("r0").Charge.ID
	b.do("POST", "/v1/charges/"+id+"/captures", `{"reference":"c","amount":600,"final":true}`)
	b.do("POST", "/v1/charges/"+id+"/refunds", `{"reference":"f","amount":100}`)
	b.do("POST", "/v1/charges/"+b.lookUp("r2").Charge.ID+"/voids", `{"reference":"v"}`)
	var all []sandbox.PaymentTruth
	for after, more := "", true; more; {
		var page sandbox.PaymentPage
		b.do("GET", "/witness/payments?limit=2&after="+after, "").into(t, &page)
		all = append(all, page.Payments...)
		after, more = page.NextAfter, page.NextAfter != ""
	}
	if len(all) != 3 {
		t.Fatalf("%d payments", len(all))
	}
	first := all[0]
	if first.Payment != "pay-of-r0" || first.AmountAuthorised != 1000 || first.AmountCaptured != 600 ||
		first.AmountRefunded != 100 || first.Fee != 33 || first.Voided || len(first.Operations) != 3 {
		t.Errorf("%+v", first)
	}
	if all[1].AmountCaptured != 1000 || all[1].Fee != 39 {
		t.Errorf("%+v", all[1])
	}
	if !all[2].Voided || all[2].AmountCaptured != 0 {
		t.Errorf("%+v", all[2])
	}
}

func TestFaultsChangeAtRunTime(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for body, want := range map[string]int{
		`none,error_before=1`:   500,
		`"none,rate_limited=1"`: 429,
		`{"error_after":1}`:     500,
		`none`:                  201,
	} {
		if a := b.do("PUT", "/witness/faults", body); a.status != 200 {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
		if a := b.charge(fmt.Sprint("r", want, len(body)), "tok_approved", true); a.status != want {
			t.Errorf("%s: %d, want %d", body, a.status, want)
		}
		if a := b.do("GET", "/witness/summary", ""); a.status != 200 {
			t.Errorf("the witness suffers: %d", a.status)
		}
	}
	if a := b.do("PUT", "/witness/faults", `{"eror_after":1}`); a.status != 400 {
		t.Errorf("misspelt: %d", a.status)
	}
	if a := b.do("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("healthz: %d", a.status)
	}
}
