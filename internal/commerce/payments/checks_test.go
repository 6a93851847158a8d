package payments_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

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
			[]string{"payments.books.equal", "payments.status.true", "payments.answers.true"},
		},
		{
			"a refunded amount",
			[]string{fmt.Sprintf(`update payment set amount_refunded = amount_refunded + 1`+aPayment, "captured")},
			[]string{"payments.books.equal", "payments.status.true", "payments.answers.true"},
		},
		{
			"a fee",
			[]string{fmt.Sprintf(`update payment set amount_fee = amount_fee + 1`+aPayment, "captured")},
			[]string{"payments.books.equal", "payments.status.true", "payments.answers.true"},
		},
		{
			"a capturable amount",
			[]string{fmt.Sprintf(`update payment set amount_capturable = amount_capturable - 1`+aPayment, "authorised")},
			[]string{"payments.books.equal", "payments.status.true", "payments.answers.true"},
		},
		{
			"a status that says more than happened",
			[]string{fmt.Sprintf(`update payment set status = 'refunded'`+aPayment, "captured")},
			[]string{"payments.status.true", "payments.answers.true"},
		},
		{
			"a status that says less than happened",
			[]string{fmt.Sprintf(`update payment set status = 'voided'`+aPayment, "expired")},
			[]string{"payments.status.true"},
		},
		{
			"an attempt that did not happen",
			[]string{noAnswerRule, fmt.Sprintf(`update payment_attempt set state = 'declined'`+anAttempt, "capture", "succeeded")},
			[]string{"payments.books.lines", "payments.status.true", "payments.answers.told", "payments.events.complete"},
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
			[]string{"payments.books.equal", "payments.attempts.single", "payments.tasks.grounded", "payments.refunds.single", "payments.events.complete"},
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
			[]string{"ledger.events.opened", "payments.books.accounts"},
		},
		{
			"a fee that was booked twice",
			[]string{
				`update ledger_entry set code = 'payment.fee', subject_id = (select id from payment where status = 'captured' order by id limit 1)
				where id = (select entry_id from payment_attempt where kind = 'refund' and state = 'succeeded' order by id limit 1)`,
			},
			[]string{"payments.books.equal", "payments.books.accounts", "payments.books.lines", "payments.attempts.booked"},
		},
		{
			"captures that took from each other",
			[]string{`update payment_attempt a set amount = a.amount + case when a.id = two.ids[1] then 1 else -1 end
				from (select array_agg(id order by id) as ids from payment_attempt where kind = 'capture' and state = 'succeeded'
					group by payment_id having count(*) = 2) two
				where a.id = any(two.ids)`},
			[]string{"payments.books.lines"},
		},
		{
			"two refunds on one entry",
			[]string{`update payment_attempt a set entry_id = two.entry_id, amount = two.amount
				from (select (array_agg(id order by id))[2] as id, (array_agg(entry_id order by id))[1] as entry_id, (array_agg(amount order by id))[1] as amount
					from payment_attempt where kind = 'refund' and state = 'succeeded' group by payment_id having count(*) = 2) two
				where a.id = two.id`},
			[]string{"payments.books.lines", "payments.status.true", "payments.refunds.single"},
		},
		{
			"two refunds that are one at the provider",
			[]string{`update payment_attempt set operation_id = (select max(operation_id) from payment_attempt where kind = 'refund')
				where id = (select id from payment_attempt where kind = 'refund' and state = 'succeeded' order by operation_id limit 1)`},
			[]string{"payments.refunds.single"},
		},
		{
			"another amount of a payment that was captured in part",
			[]string{`update payment set amount = amount + 1 where id = (select id from payment where amount_captured = 600)`},
			[]string{"payments.terms.kept"},
		},
		{
			"a charge that is gone",
			[]string{fmt.Sprintf(`update payment set charge_id = null`+aPayment, "captured")},
			[]string{"payments.terms.kept"},
		},
		{
			"another reason of a decline",
			[]string{fmt.Sprintf(`update payment set failure_code = 'stolen'`+aPayment, "declined")},
			[]string{"payments.terms.kept", "payments.answers.true"},
		},
		{
			"an authorisation that never expires",
			[]string{fmt.Sprintf(`update payment set authorisation_expires_at = null`+aPayment, "authorised")},
			[]string{"payments.terms.kept", "payments.answers.true"},
		},
		{
			"a void of less than there was",
			[]string{fmt.Sprintf(`update payment_attempt set amount = amount - 1`+anAttempt, "void", "succeeded")},
			[]string{"payments.terms.kept"},
		},
		{
			"a last capture that was not the last",
			[]string{`update payment_attempt set final = true where kind = 'capture' and state = 'succeeded'
				and payment_id = (select id from payment where status = 'captured' and amount_capturable > 0 limit 1)`},
			[]string{"payments.terms.kept"},
		},
		{
			"a payment that is gone from beside its books",
			[]string{
				`alter table payment_attempt drop constraint payment_attempt_payment_id_fkey`,
				`with gone as (delete from payment where status = 'voided' returning id), attempts as (
					delete from payment_attempt where payment_id in (select id from gone) returning id, task_id
				), tasks as (delete from task where id in (select task_id from attempts)
				), tries as (delete from task_attempt where task_id in (select task_id from attempts)
				), records as (delete from idempotency_record where subject_id in (select id from attempts)
				) delete from event where aggregateid in (select id from gone)`,
			},
			[]string{"payments.books.accounts"},
		},
		{
			"a task of another kind",
			[]string{fmt.Sprintf(`update task set kind = 'other' where id = (select task_id from payment_attempt`+anAttempt+`)`, "refund", "processing")},
			[]string{"payments.attempts.carried"},
		},
		{
			"a task that is gone with its history",
			[]string{fmt.Sprintf(`with a as (select task_id from payment_attempt`+anAttempt+`), h as (delete from task_attempt where task_id = (select task_id from a))
				delete from task where id = (select task_id from a)`, "void", "succeeded")},
			[]string{"payments.attempts.carried"},
		},
		{
			"a key that is recorded for another's attempt",
			[]string{`insert into idempotency_record (org_id, key, period, fingerprint, status, answer, subject_id)
				select org_id, 'another', period, fingerprint, status, answer, subject_id from idempotency_record where subject_id is not null order by key limit 1`},
			[]string{"payments.attempts.keyed"},
		},
		{
			"an answer that says something else",
			[]string{fmt.Sprintf(`update payment_attempt set answer = replace(answer::text, '"amount_refunded":', '"amount_refunded":1')::json`+anAttempt, "refund", "succeeded")},
			[]string{"payments.answers.told"},
		},
		{
			"an answer of another status",
			[]string{fmt.Sprintf(`update payment_attempt set answer_status = 402`+anAttempt, "refund", "succeeded")},
			[]string{"payments.answers.told"},
		},
		{
			"an event that says something else",
			[]string{`update event set payload = replace(payload::text, '"amount_captured":', '"amount_captured":1')::json
				where id = (select id from event where type = 'payment.captured' order by id limit 1)`},
			[]string{"payments.answers.told"},
		},
		{"the event of a creation", []string{fmt.Sprintf(anEvent, "payment.created")}, []string{"payments.events.complete"}},
		{"the event of an authorisation", []string{fmt.Sprintf(anEvent, "payment.authorised")}, []string{"payments.answers.told", "payments.events.complete"}},
		{"the event of a capture", []string{fmt.Sprintf(anEvent, "payment.captured")}, []string{"payments.answers.told", "payments.events.complete"}},
		{"the event of a refund's request", []string{fmt.Sprintf(anEvent, "payment.refund_requested")}, []string{"payments.events.complete"}},
		{"the event of a refund", []string{fmt.Sprintf(anEvent, "payment.refunded")}, []string{"payments.answers.told", "payments.events.complete"}},
		{"the event of a decline", []string{fmt.Sprintf(anEvent, "payment.declined")}, []string{"payments.answers.told", "payments.events.complete"}},
		{"the event of a void", []string{fmt.Sprintf(anEvent, "payment.voided")}, []string{"payments.answers.told", "payments.events.complete"}},
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
