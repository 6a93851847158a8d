package app_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/app/why"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

// A payment whose answer is lost and which is then refunded in part: kontor why tells it, kontor verify finds it sound, and
// both notice when it is not.
func TestAPaymentIsExplainedAndProven(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.ProviderTimeoutSeconds = 1
	startSandbox(t, &cfg, sandbox.Faults{})
	node, stop := startNode(t, cfg)
	api := newClient(t, node, cfg)
	paid := <-pay(t, api, "tok_timeout_after_charge")
	if paid == nil || paid.JSON201 == nil {
		t.Fatalf("got %+v", paid)
	}
	id, amount := paid.JSON201.ID, int64(250)
	refund, err := api.RefundPaymentWithResponse(t.Context(), id, &client.RefundPaymentParams{IdempotencyKey: "k2"}, client.RefundRequest{Amount: &amount})
	if err != nil || refund.JSON201 == nil {
		t.Fatalf("got %+v, %v", refund, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	environ := []string{"KONTOR_DATABASE_URL=" + cfg.DatabaseURL}

	story := kontorJSON[why.Story](t, environ, "why", id)
	kinds := make([]why.Kind, len(story.Timeline))
	for i, m := range story.Timeline {
		kinds[i] = m.Kind
		if i > 0 && m.At.Before(story.Timeline[i-1].At) {
			t.Errorf("%q is told after what came later", m.Text)
		}
	}
	want := []why.Kind{
		why.KindAsked, why.KindTaken, why.KindRecorded, why.KindTaken, why.KindRecorded, why.KindAsked, why.KindTaken, why.KindRecorded,
	}
	if !slices.Equal(kinds, want) || !story.BooksAgree {
		t.Errorf("got %v", kinds)
	}
	code, told, errOut := kontor(t, environ, "why", id)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	inOrder(t, told,
		id+"  captured, 10.00 EUR through sandbox, organisation default",
		"a payment of 10.00 EUR is asked for, with tok_timeout_after_charge  att_",
		"by the request req_", "under the idempotency key k1, recorded with it", "by the task tsk_",
		"10.00 EUR is held by ent_", "debit provider/sandbox/clearing/EUR, credit payments/received/EUR",
		"told as ledger.entry.pending, payment.created",
		cfg.Node+" takes it up, try 1", "the provider is asked to do it: unknown",
		"the answer was lost", "told as payment.unknown",
		cfg.Node+" takes it up, try 2", "the provider is asked what became of it: succeeded, HTTP 200, ch_",
		"the authorisation has succeeded", "10.00 EUR of what was held is posted", "EUR is posted by ent_", "debit provider/sandbox/fees/EUR",
		"told as ledger.entry.settled, ledger.entry.posted, payment.captured",
		"a refund of 2.50 EUR is asked for", "under the idempotency key k2", "payment.refund_requested",
		"the refund has succeeded", "payment.refunded",
		"The customer was charged once: 10.00 EUR, and got 2.50 EUR back. The authorisation's answer was lost once;", "The books agree.")

	report := kontorJSON[proof.Report](t, environ, "verify")
	if !report.OK || len(report.Checks) < 30 {
		t.Errorf("got %+v", report)
	}
	if code, out, _ := kontor(t, environ, "verify"); code != 0 || !strings.Contains(out, "✓") || !strings.Contains(out, " checks hold\n") ||
		!strings.Contains(out, "1 payments, 2 payment attempts") {
		t.Errorf("exit code %d: %s", code, out)
	}
	damaged(t, cfg.DatabaseURL, id, environ)
}

func damaged(t *testing.T, url, payment string, environ []string) {
	t.Helper()
	db, err := postgres.Open(t.Context(), url, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, damage := range []string{
		`update payment set amount_captured = 999`,
		`delete from idempotency_record where key = 'k1'`,
		`update idempotency_record set subject_id = gen_random_uuid()`,
		`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
		select org_id, (left(id::text, 24) || 'ffffffffffff')::uuid, 'parcel', aggregateid, 'parcel.sent', payload, recorded_at from event limit 1`,
	} {
		if _, err := db.Pool().Exec(t.Context(), damage); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errOut := kontor(t, environ, "verify", "--json")
	var report proof.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || report.OK || errOut != "" {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errOut)
	}
	var failed []string
	for _, c := range report.Failed() {
		failed = append(failed, c.Name)
	}
	want := []string{"payments.books.equal", "payments.status.true", "payments.attempts.keyed", "payments.answers.true", "command.records.resources", "events.aggregates.known"}
	if !slices.Equal(failed, want) {
		t.Errorf("got %v, want %v", failed, want)
	}
	code, out, _ = kontor(t, environ, "verify")
	if code != 1 || !strings.Contains(out, payment+" of org_") || !strings.Contains(out, "captured 999, booked 1000") || !strings.Contains(out, "checks failed, with ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	code, out, errOut = kontor(t, environ, "why", payment)
	if code != 1 || errOut != "" {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	inOrder(t, out, "under the idempotency key k1, whose record is not there", "THE BOOKS DO NOT AGREE: they have captured 10.00 EUR", "they ought to have captured 9.99 EUR")
}

// inOrder wants the parts in the text, one after the other.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q does not come there in\n%s", part, text)
		}
		rest = after
	}
}

func TestWhyKnowsNothingOfOthers(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	unknown := ids.Format("pay", ids.NewSource(clock.System).New())
	for _, c := range []struct {
		id, err string
		code    int
	}{
		{unknown, "there is no payment " + unknown, 1},
		{"pay_x", "is no payment's id", 2},
		{strings.Replace(unknown, "pay_", "att_", 1), "is no payment's id", 2},
	} {
		if code, out, errOut := kontor(t, nil, "why", c.id, "--database-url", cfg.DatabaseURL); code != c.code || out != "" || !strings.Contains(errOut, c.err) {
			t.Errorf("%s: exit code %d: %s%s", c.id, code, out, errOut)
		}
	}
	if code, _, errOut := kontor(t, nil, "verify", "--database-url", "postgres://u:hush@127.0.0.1:1/x"); code != 1 || strings.Contains(errOut, "hush") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}
