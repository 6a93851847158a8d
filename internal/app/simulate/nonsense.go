package simulate

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// folly is a request that must be refused, with what must be answered.
type folly struct {
	name   string
	send   request
	status int
	code   string
}

// follies are drawn from at random.
func follies(nobody string) []folly {
	raw := func(contentType, body string) request {
		return func(ctx context.Context, to client.ClientInterface, key string, _ *string) (*http.Response, error) {
			return to.CreatePaymentWithBody(ctx, &client.CreatePaymentParams{IdempotencyKey: key}, contentType, strings.NewReader(body))
		}
	}
	const jsonType = "application/json"
	nowhere := "nowhere"
	return []folly{
		{"no JSON", raw(jsonType, `{"amount": 10`), 400, "malformed_json"},
		{"a key twice", raw(jsonType, `{"amount":1,"amount":2,"currency":"EUR","payment_method":"tok_approved"}`), 400, "malformed_json"},
		{"no JSON at all", raw("text/plain", "please"), 415, "unsupported_media_type"},
		{"a negative amount", create(client.PaymentRequest{Amount: -100, Currency: "EUR", PaymentMethod: "tok_approved"}), 400, "invalid_request"},
		{"no amount", raw(jsonType, `{"currency":"EUR","payment_method":"tok_approved"}`), 400, "invalid_request"},
		{"half a cent", raw(jsonType, `{"amount":10.5,"currency":"EUR","payment_method":"tok_approved"}`), 400, "invalid_request"},
		{"a field too many", raw(jsonType, `{"amount":10,"currency":"EUR","payment_method":"tok_approved","amout":12}`), 400, "invalid_request"},
		{"no currency", create(client.PaymentRequest{Amount: 100, Currency: "euro", PaymentMethod: "tok_approved"}), 400, "invalid_request"},
		{"no such provider", create(client.PaymentRequest{
			Amount: 100, Currency: "EUR", PaymentMethod: "tok_approved", Provider: &nowhere,
		}), 422, "provider_unknown"},
		{"an unknown payment", look(nobody), 404, "payment_not_found"},
		{"a capture of nothing", (&move{kind: client.PaymentAttemptKindCapture}).change(nobody), 404, "payment_not_found"},
		{"a refund of nothing", (&move{kind: client.PaymentAttemptKindRefund, amount: 5}).change(nobody), 404, "payment_not_found"},
		{"a void of nothing", (&move{kind: client.PaymentAttemptKindVoid}).change(nobody), 404, "payment_not_found"},
		{"a refund of less than nothing", (&move{kind: client.PaymentAttemptKindRefund, amount: -5}).change(nobody), 400, "invalid_request"},
		{"a stranger", func(ctx context.Context, to client.ClientInterface, key string, _ *string) (*http.Response, error) {
			return to.CreatePayment(ctx, &client.CreatePaymentParams{IdempotencyKey: key},
				client.PaymentRequest{Amount: 100, Currency: "EUR", PaymentMethod: "tok_approved"},
				func(_ context.Context, r *http.Request) error {
					r.Header.Set("Authorization", "Bearer ktr_test_nobody")
					return nil
				})
		}, 401, "key_malformed"},
	}
}

// nonsense asks for something that must be refused.
func (t *talk) nonsense(ctx context.Context) error {
	var random ids.ID
	for i := range random {
		random[i] = byte(t.r.UintN(256))
	}
	random[0] &= 0x7f
	all := follies(ids.Format("pay", random))
	f := all[t.r.IntN(len(all))]
	a, err := t.untilAnswered(ctx, t.out.key+"-nonsense", f.send)
	if err != nil {
		return err
	}
	if a.status != f.status || a.code() != f.code {
		return fmt.Errorf("%s must be answered %d %s, and is %s", f.name, f.status, f.code, a)
	}
	t.counts.nonsense.Add(1)
	return nil
}

// reuse asks for another amount under the key of the payment.
func (t *talk) reuse(ctx context.Context) error {
	other := t.out.script
	other.amount++
	a, err := t.untilAnswered(ctx, t.out.key, other.creation())
	if err != nil {
		return err
	}
	if a.status != http.StatusUnprocessableEntity || a.code() != "idempotency_key_reused" {
		return fmt.Errorf("another amount under the key %s must be answered 422 idempotency_key_reused, and is %s", t.out.key, a)
	}
	t.counts.reused.Add(1)
	return nil
}
