package payments_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// everyEnd leaves payments in every status that lasts, one that is under way, and one whose refund is.
func everyEnd(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, worldConfig{providerTimeout: 300 * time.Millisecond})
	var creations sync.WaitGroup
	tokens := []string{
		"tok_approved", "tok_declined", "tok_requires_time", "tok_requires_time_declined",
		"tok_timeout_after_charge", "tok_error_before_charge", "tok_rate_limited_once",
	}
	for _, token := range tokens {
		creations.Go(func() { w.create(token, payments.CaptureAutomatic) })
	}
	creations.Wait()
	manual := func() string {
		_, p := w.create("tok_approved", payments.CaptureManual)
		return p.ID
	}
	manual() // stays authorised
	w.change(payments.KindVoid, manual(), 0, false)
	refunded := manual()
	w.change(payments.KindCapture, refunded, 300, false)
	w.change(payments.KindCapture, refunded, 200, true)
	w.change(payments.KindRefund, refunded, 100, false)
	w.change(payments.KindRefund, refunded, 0, false)
	partly := manual()
	w.change(payments.KindCapture, partly, 600, false)
	w.change(payments.KindRefund, partly, 100, false)
	w.change(payments.KindCapture, manual(), 400, false) // the rest stays capturable
	w.lapse(manual(), partly)                            // the one has expired, the other what was left of it
	w.begun("tok_approved", nil)
	w.begun("tok_approved", func(p ids.ID) payments.Change {
		return payments.Change{OrgID: w.org, PaymentID: p, Kind: payments.KindRefund, Amount: 50}
	})
	w.first.stop() // lest it take up what is under way
	db, err := postgres.Open(t.Context(), w.url, postgres.Options{ConnectionsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w.first = &node{db: db}
	return w
}

// lapse lets authorisations expire.
func (w *world) lapse(shown ...string) {
	w.t.Helper()
	for _, s := range shown {
		id, err := ids.Parse(payments.PaymentPrefix, s)
		if err != nil {
			w.t.Fatal(err)
		}
		const lapseSQL = `update payment set authorisation_expires_at = now() where org_id = $1 and id = $2`
		if _, err := w.first.db.Pool().Exec(w.t.Context(), lapseSQL, w.org, id); err != nil {
			w.t.Fatal(err)
		}
	}
	if n, err := w.first.payments.Expire(w.t.Context()); err != nil || n > len(shown) {
		w.t.Fatalf("%d expired, %v", n, err)
	}
}

// begun leaves an attempt that is committed under a key and not carried out yet: a payment's first, or, once that is final,
// a change to it.
func (w *world) begun(token string, change func(payment ids.ID) payments.Change) {
	w.t.Helper()
	runner := command.NewRunner(w.first.db, func(error, string) command.Answer { return command.Answer{Status: 409} })
	under := func(key string, body func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error)) payments.Begun {
		var begun []payments.Begun
		meta := command.Meta{OrgID: w.org, Key: key}
		_, err := runner.Once(w.t.Context(), meta, func(ctx context.Context, tx postgres.Tx) command.Outcome {
			var err error
			if begun, err = body(ctx, tx); err == nil {
				err = begun[0].Err
			}
			if err != nil {
				return command.Outcome{Err: err}
			}
			return command.Outcome{Answer: command.Answer{Status: 202, SubjectID: begun[0].AttemptID}}
		})
		if err != nil {
			w.t.Fatal(err)
		}
		return begun[0]
	}
	key := ids.Format("key", w.source.New())
	first := under(key, func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
		return w.first.payments.Create(ctx, tx, []payments.Create{{
			OrgID: w.org, Provider: "sandbox", Currency: "EUR", Amount: 1000, CaptureMethod: payments.CaptureAutomatic,
			PaymentMethod: token, IdempotencyKey: key, RequestID: "req_1",
		}})
	})
	if change == nil {
		return
	}
	w.first.payments.Start([]payments.Begun{first})
	w.await(w.first, first.AttemptID)
	key += "-change"
	under(key, func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
		c := change(first.PaymentID)
		c.IdempotencyKey = key
		return w.first.payments.Change(ctx, tx, []payments.Change{c})
	})
}
