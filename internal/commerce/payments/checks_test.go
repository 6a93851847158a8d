package payments_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
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
	w.lapse(manual(), partly) // the one has expired, the other what was left of it
	w.begun("tok_approved", nil)
	w.begun("tok_approved", func(p ids.ID) payments.Change {
		return payments.Change{OrgID: w.org, PaymentID: p, Kind: payments.KindRefund, Amount: 50}
	})
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

// failed damages the database, names the checks of all modules that find something, and takes the damage back.
func (w *world) failed(damage ...string) (names []string, report proof.Report) {
	w.t.Helper()
	parts := []proof.Part{ledger.Proof(), payments.Proof(), tasks.Proof(), events.Proof(), command.Proof()}
	err := w.first.db.DryRun(w.t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		for _, statement := range damage {
			tag, err := tx.Exec(ctx, statement)
			if err == nil && tag.RowsAffected() == 0 && tag.String() != "ALTER TABLE" && tag.String() != "DROP INDEX" {
				err = errors.New("it damages nothing")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		var err error
		report, err = proof.RunIn(ctx, tx, clock.System, parts, nil)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range report.Failed() {
		names = append(names, c.Name)
		w.t.Logf("%s: %d, such as %s %s", c.Name, c.Violations, c.First[0].ID, c.First[0].Detail)
	}
	return names, report
}

// Statements that find one of a kind.
const (
	aPayment      = ` where id = (select id from payment where status = '%s' order by id limit 1)`
	anAttempt     = ` where id = (select id from payment_attempt where kind = '%s' and state = '%s' order by id limit 1)`
	anEvent       = `delete from event where id = (select id from event where type = '%s' order by id limit 1)`
	noPaymentRule = `alter table payment drop constraint payment_amounts_ordered`
	noAnswerRule  = `alter table payment_attempt drop constraint payment_attempt_finished_has_answer`
)

func TestDamagedPaymentsAreReported(t *testing.T) {
	t.Parallel()
	w := everyEnd(t)
	for _, c := range []struct {
		name   string
		damage []string
		want   []string
	}{
		{"nothing", nil, nil},
		{
			"a captured amount",
			[]string{fmt.Sprintf(`update payment set amount_captured = amount_captured - 1`+aPayment, "captured")},
			[]string{"payments.books.equal", "payments.status.true"},
		},
		{
			"a refunded amount",
			[]string{fmt.Sprintf(`update payment set amount_refunded = amount_refunded + 1`+aPayment, "captured")},
			[]string{"payments.books.equal", "payments.status.true"},
		},
		{
			"a fee",
			[]string{fmt.Sprintf(`update payment set amount_fee = amount_fee + 1`+aPayment, "captured")},
			[]string{"payments.books.equal", "payments.status.true"},
		},
		{
			"a capturable amount",
			[]string{fmt.Sprintf(`update payment set amount_capturable = amount_capturable - 1`+aPayment, "authorised")},
			[]string{"payments.books.equal", "payments.status.true"},
		},
		{
			"a status that says more than happened",
			[]string{fmt.Sprintf(`update payment set status = 'refunded'`+aPayment, "captured")},
			[]string{"payments.status.true"},
		},
		{
			"a status that says less than happened",
			[]string{fmt.Sprintf(`update payment set status = 'voided'`+aPayment, "expired")},
			[]string{"payments.status.true"},
		},
		{
			"an attempt that did not happen",
			[]string{noAnswerRule, fmt.Sprintf(`update payment_attempt set state = 'declined'`+anAttempt, "capture", "succeeded")},
			[]string{"payments.status.true", "payments.events.complete"},
		},
		{
			"a refund that ended otherwise than its entry",
			[]string{fmt.Sprintf(`update ledger_entry set state = 'voided' where id = (select entry_id from payment_attempt where kind = 'refund' and state = '%s' order by id limit 1)`, "succeeded")},
			[]string{"ledger.entries.state", "payments.attempts.booked"},
		},
		{
			"an attempt on another payment's entry",
			[]string{fmt.Sprintf(`update payment_attempt set entry_id = (select hold_entry_id from payment where status = 'voided')`+anAttempt, "capture", "succeeded")},
			[]string{"payments.attempts.booked"},
		},
		{
			"two attempts under way",
			[]string{
				`drop index payment_attempt_live_key`,
				`insert into payment_attempt (org_id, id, payment_id, task_id, kind, state, amount, entry_id, created_at)
				select org_id, gen_random_uuid(), payment_id, task_id, kind, state, amount, entry_id, created_at
				from payment_attempt where kind = 'refund' and state = 'processing'`,
			},
			[]string{"payments.books.equal", "payments.attempts.single", "payments.tasks.grounded", "payments.events.complete"},
		},
		{
			"an attempt that nobody carries out",
			[]string{
				`delete from task_live where task_id = (select task_id from payment_attempt where kind = 'refund' and state = 'processing')`,
			},
			[]string{"payments.attempts.carried", "tasks.end.recorded"},
		},
		{
			"an attempt without a task",
			[]string{fmt.Sprintf(`update payment_attempt set task_id = gen_random_uuid()`+anAttempt, "refund", "processing")},
			[]string{"payments.attempts.carried", "payments.tasks.grounded"},
		},
		{
			"a task that carries out another payment's attempt",
			[]string{
				`update task set subject_id = (select k.subject_id from payment p
					join payment_attempt a on a.org_id = p.org_id and a.payment_id = p.id
					join task k on k.org_id = a.org_id and k.id = a.task_id where p.status = 'voided' limit 1)
				where id = (select task_id from payment_attempt where kind = 'refund' and state = 'processing')`,
			},
			[]string{"payments.tasks.grounded"},
		},
		{
			"an answer that is gone",
			[]string{noAnswerRule, fmt.Sprintf(`update payment_attempt set answer = null`+anAttempt, "capture", "succeeded")},
			[]string{"payments.attempts.carried"},
		},
		{
			"a record under a key that is gone",
			[]string{`delete from idempotency_record where key = (select idempotency_key from payment_attempt where state = 'processing' and kind = 'refund')`},
			[]string{"payments.attempts.keyed"},
		},
		{
			"a record that names another attempt",
			[]string{`update idempotency_record set subject_id = gen_random_uuid() where key = (select min(key) from idempotency_record)`},
			[]string{"payments.attempts.keyed"},
		},
		{
			"a posting to a strange account",
			[]string{
				`update ledger_account set code = 'elsewhere' where code = 'provider/sandbox/fees/EUR'`,
			},
			[]string{"payments.books.accounts"},
		},
		{
			"a fee that was booked twice",
			[]string{
				`update ledger_entry set code = 'payment.fee', subject_id = (select id from payment where status = 'captured' order by id limit 1)
				where id = (select entry_id from payment_attempt where kind = 'refund' and state = 'succeeded' order by id limit 1)`,
			},
			[]string{"payments.books.equal", "payments.books.accounts", "payments.attempts.booked"},
		},
		{"the event of a creation", []string{fmt.Sprintf(anEvent, "payment.created")}, []string{"payments.events.complete"}},
		{"the event of an authorisation", []string{fmt.Sprintf(anEvent, "payment.authorised")}, []string{"payments.events.complete"}},
		{"the event of a capture", []string{fmt.Sprintf(anEvent, "payment.captured")}, []string{"payments.events.complete"}},
		{"the event of a refund's request", []string{fmt.Sprintf(anEvent, "payment.refund_requested")}, []string{"payments.events.complete"}},
		{"the event of a refund", []string{fmt.Sprintf(anEvent, "payment.refunded")}, []string{"payments.events.complete"}},
		{"the event of a decline", []string{fmt.Sprintf(anEvent, "payment.declined")}, []string{"payments.events.complete"}},
		{"the event of a void", []string{fmt.Sprintf(anEvent, "payment.voided")}, []string{"payments.events.complete"}},
		{
			"the event of an expiry",
			[]string{`delete from event where type = 'payment.expired' and aggregateid = (select id from payment where status = 'expired')`},
			[]string{"payments.events.complete"},
		},
		{"the events of lost answers", []string{`delete from event where type = 'payment.unknown'`}, []string{"payments.events.complete"}},
		{
			"an event that is told twice",
			[]string{`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
				select org_id, (left(id::text, 24) || 'ffffffffffff')::uuid, aggregatetype, aggregateid, type, payload, recorded_at
				from event where type = 'payment.captured' limit 1`},
			[]string{"payments.events.complete"},
		},
		{
			"an event about no payment",
			[]string{`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
				select org_id, (left(id::text, 24) || 'ffffffffffff')::uuid, aggregatetype, gen_random_uuid(), type, payload, recorded_at
				from event where type = 'payment.captured' limit 1`},
			[]string{"payments.events.grounded"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := *w
			w.t = t
			if got, _ := w.failed(c.damage...); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
