package sandbox_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// TestTokens: what each test token answers to the first send, and what the provider then really did.
func TestTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		token   string
		status  int
		failure string
		charge  sandbox.ChargeStatus
		made    bool
	}{
		{"tok_approved", 201, "", sandbox.ChargeAuthorised, true},
		{"tok_declined", 402, "card_declined", sandbox.ChargeDeclined, false},
		{"tok_insufficient_funds", 402, "insufficient_funds", sandbox.ChargeDeclined, false},
		{"tok_expired_card", 402, "expired_card", sandbox.ChargeDeclined, false},
		{"tok_fraud", 402, "suspected_fraud", sandbox.ChargeDeclined, false},
		{"tok_of_nobody", 402, "unknown_token", sandbox.ChargeDeclined, false},
		{"tok_requires_time", 202, "", sandbox.ChargePending, true},
		{"tok_requires_time_declined", 202, "", sandbox.ChargePending, true},
		{"tok_error_after_charge", 500, "", "", true},
		{"tok_error_before_charge", 500, "", "", false},
		{"tok_rate_limited_once", 429, "", "", false},
	} {
		t.Run(row.token, func(t *testing.T) {
			t.Parallel()
			b := open(t, sandbox.ServerConfig{SettleDelay: time.Hour})
			a := b.charge("r", row.token, false)
			if a.status != row.status {
				t.Fatalf("status %d, want %d: %s", a.status, row.status, a.body)
			}
			if c := a.charge(t); c.Status != row.charge || c.FailureCode != row.failure {
				t.Errorf("charge %q %q", c.Status, c.FailureCode)
			}
			if a.status == 429 && a.header.Get("Retry-After") != "1" {
				t.Error("no Retry-After")
			}
			if made := b.server.Summary().Charges == 1; made != row.made {
				t.Errorf("made = %v, want %v", made, row.made)
			}
			if row.charge == "" { // the second send succeeds, and there is one charge
				if again := b.charge("r", row.token, false); again.status != 201 {
					t.Errorf("second send: %d %s", again.status, again.body)
				}
				if n := b.server.Summary().Charges; n != 1 {
					t.Errorf("%d charges", n)
				}
			}
		})
	}
}

func TestPendingSettlesByItself(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		token   string
		capture bool
		charge  sandbox.ChargeStatus
		op      sandbox.OperationStatus
	}{
		{"tok_requires_time", false, sandbox.ChargeAuthorised, sandbox.OperationSucceeded},
		{"tok_requires_time", true, sandbox.ChargeCaptured, sandbox.OperationSucceeded},
		{"tok_requires_time_declined", true, sandbox.ChargeDeclined, sandbox.OperationDeclined},
	} {
		now := newHandClock()
		b := open(t, sandbox.ServerConfig{Clock: now.now})
		b.charge("r", row.token, row.capture)
		now.turn(sandbox.SettleDelayDefault - time.Millisecond)
		if found := b.lookUp("r"); found.Charge.Status != sandbox.ChargePending {
			t.Errorf("%s settled early: %+v", row.token, found)
		}
		now.turn(time.Millisecond)
		found := b.lookUp("r")
		if found.Charge.Status != row.charge || found.Operations[0].Status != row.op {
			t.Errorf("%s became %+v", row.token, found)
		}
	}
}

// TestMovements is the matrix of where a charge stands against what is asked of it.
func TestMovements(t *testing.T) {
	t.Parallel()
	arrange := map[string]func(*bench, *handClock) string{
		"pending":    func(b *bench, _ *handClock) string { return b.charge("r", "tok_requires_time", false).charge(b.t).ID },
		"authorised": func(b *bench, _ *handClock) string { return b.charge("r", "tok_approved", false).charge(b.t).ID },
		"partly captured": func(b *bench, _ *handClock) string {
			id := b.charge("r", "tok_approved", false).charge(b.t).ID
			b.do("POST", "/v1/charges/"+id+"/captures", `{"reference":"part","amount":400}`)
			return id
		},
		"captured": func(b *bench, _ *handClock) string { return b.charge("r", "tok_approved", true).charge(b.t).ID },
		"refunded": func(b *bench, _ *handClock) string {
			id := b.charge("r", "tok_approved", true).charge(b.t).ID
			b.do("POST", "/v1/charges/"+id+"/refunds", `{"reference":"all","amount":1000}`)
			return id
		},
		"declined": func(b *bench, _ *handClock) string { return b.charge("r", "tok_declined", false).charge(b.t).ID },
		"voided": func(b *bench, _ *handClock) string {
			id := b.charge("r", "tok_approved", false).charge(b.t).ID
			b.do("POST", "/v1/charges/"+id+"/voids", `{"reference":"void"}`)
			return id
		},
		"expired": func(b *bench, now *handClock) string {
			id := b.charge("r", "tok_approved", false).charge(b.t).ID
			now.turn(sandbox.AuthorisationTTLDefault)
			return id
		},
	}
	for _, row := range [][4]string{ // "" means it is done
		{"pending", "charge_not_capturable", "charge_not_refundable", "charge_not_voidable"},
		{"authorised", "", "charge_not_refundable", ""},
		{"partly captured", "", "", ""},
		{"captured", "charge_not_capturable", "", "charge_not_voidable"},
		{"refunded", "charge_not_capturable", "amount_exceeds_refundable", "charge_not_voidable"},
		{"declined", "charge_not_capturable", "charge_not_refundable", "charge_not_voidable"},
		{"voided", "charge_not_capturable", "charge_not_refundable", "already_voided"},
		{"expired", "charge_not_capturable", "charge_not_refundable", "charge_not_voidable"},
	} {
		for i, movement := range []string{"captures", "refunds", "voids"} {
			t.Run(row[0]+" "+movement, func(t *testing.T) {
				t.Parallel()
				now := newHandClock()
				b := open(t, sandbox.ServerConfig{Clock: now.now, SettleDelay: time.Hour})
				id := arrange[row[0]](b, now)
				body := `{"reference":"m","amount":100}`
				if movement == "voids" {
					body = `{"reference":"m"}`
				}
				a := b.do("POST", "/v1/charges/"+id+"/"+movement, body)
				want := row[i+1]
				if want == "" && a.status != 201 || want != "" && a.code(t) != want {
					t.Fatalf("answered %d %s, want %q", a.status, a.body, want)
				}
				op := b.lookUp("m").Operations[0]
				if (op.Status == sandbox.OperationSucceeded) != (want == "") || op.FailureCode != want {
					t.Errorf("recorded %+v, want %q", op, want)
				}
			})
		}
	}
}

func TestCapturesAndRefundsInParts(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	id := b.charge("r", "tok_approved", false).charge(t).ID
	step := func(path, body string, status int, code string) {
		t.Helper()
		if a := b.do("POST", "/v1/charges/"+id+path, body); a.status != status || code != "" && a.code(t) != code {
			t.Errorf("%s %s: %d %s", path, body, a.status, a.body)
		}
	}
	step("/captures", `{"reference":"c1","amount":300}`, 201, "")
	step("/captures", `{"reference":"c2","amount":701}`, 422, "amount_exceeds_capturable")
	step("/captures", `{"reference":"c3","amount":200,"final":true}`, 201, "")
	step("/captures", `{"reference":"c4","amount":1}`, 409, "charge_not_capturable")
	step("/refunds", `{"reference":"f1","amount":500}`, 201, "")
	step("/refunds", `{"reference":"f2","amount":1}`, 422, "amount_exceeds_refundable")
	c := b.lookUp("r").Charge
	if c.AmountCaptured != 500 || c.AmountRefunded != 500 || c.Status != sandbox.ChargeCaptured || !c.ExpiresAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if want := int64(4 + 25 + 3 + 25); c.Fee != want { // 1.4 % of 300 is 4.2, of 200 is 2.8
		t.Errorf("fee %d, want %d", c.Fee, want)
	}
	sum := b.server.Summary()
	if sum.Captures != 2 || sum.Refunds != 1 || sum.AmountCaptured != 500 || sum.AmountRefunded != 500 || sum.DoubleCharges != 0 {
		t.Errorf("%+v", sum)
	}
}

func TestVoidReleasesOnlyWhatIsLeft(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	id := b.charge("r", "tok_approved", false).charge(t).ID
	b.do("POST", "/v1/charges/"+id+"/captures", `{"reference":"c","amount":400}`)
	var op sandbox.Operation
	b.do("POST", "/v1/charges/"+id+"/voids", `{"reference":"v"}`).into(t, &op)
	if c := b.lookUp("r").Charge; op.Amount != 600 || c.Status != sandbox.ChargeCaptured || c.AmountCaptured != 400 {
		t.Errorf("released %d of %+v", op.Amount, c)
	}
}

func TestFeeIsRoundedHalfUp(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for amount, fee := range map[int]int64{1: 25, 35: 25, 36: 26, 107: 26, 108: 27, 1000: 39, 250: 29} { // 250 is 3.5
		body := fmt.Sprintf(`{"reference":"r%d","amount":%d,"currency":"EUR","token":"tok_approved","capture":true}`, amount, amount)
		if c := b.do("POST", "/v1/charges", body).charge(t); c.Fee != fee {
			t.Errorf("fee of %d is %d, want %d", amount, c.Fee, fee)
		}
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for body, code := range map[string]string{
		`{`:                              "invalid_json",
		`{"amont":1}`:                    "invalid_json",
		`{"reference":"r","amount":1.5}`: "invalid_json",
		`{"amount":1}`:                   "reference_invalid",
		`{"reference":"r","amount":0}`:   "amount_invalid",
		`{"reference":"r","amount":-1}`:  "amount_invalid",
		`{"reference":"r","amount":1000000000001}`:                              "amount_invalid",
		`{"reference":"r","amount":1,"currency":"eur"}`:                         "currency_invalid",
		`{"reference":"r","amount":1,"currency":"EUR","token":"4111111111111"}`: "token_invalid",
	} {
		if a := b.do("POST", "/v1/charges", body); a.status/100 != 4 || a.code(t) != code {
			t.Errorf("%s: %d %s, want %s", body, a.status, a.body, code)
		}
	}
	if a := b.do("POST", "/v1/charges", "{}", "Authorization", ""); a.status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", a.status)
	}
	if a := b.do("POST", "/v1/charges/ch_none/captures", `{"reference":"r","amount":1}`); a.code(t) != "charge_not_found" {
		t.Errorf("no charge: %s", a.body)
	}
	if a := b.do("GET", "/v1/operations/nobody", ""); a.status != 404 || a.code(t) != "operation_not_found" {
		t.Errorf("no operation: %s", a.body)
	}
	if sum := b.server.Summary(); sum.Charges+sum.Declined != 0 {
		t.Errorf("%+v", sum)
	}
}

func TestChargesAreListedInPages(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for i := range 7 {
		b.charge(fmt.Sprint("r", i), "tok_approved", true)
	}
	var seen []string
	for after, more := "", true; more; {
		var page sandbox.ChargePage
		b.do("GET", "/v1/charges?limit=3&after="+after, "").into(t, &page)
		for _, c := range page.Charges {
			seen = append(seen, c.Reference)
		}
		after, more = page.NextAfter, page.NextAfter != ""
	}
	if fmt.Sprint(seen) != "[r0 r1 r2 r3 r4 r5 r6]" {
		t.Error(seen)
	}
}
