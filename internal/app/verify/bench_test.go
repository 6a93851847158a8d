package verify_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/app/verify"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

var (
	paymentsFlag  = flag.Int("payments", 20_000, "captured payments to verify, three postings each")
	transfersFlag = flag.Int("transfers", 40_000, "transfers to verify, over 10,000 accounts")
	explainFlag   = flag.Bool("explain", false, "show the plans")
)

// BenchmarkVerify verifies a database as it is after long use; -payments 200000 -transfers 400000 makes a million postings.
func BenchmarkVerify(b *testing.B) {
	db := filled(b, *paymentsFlag, *transfersFlag)
	for b.Loop() {
		report, err := verify.Run(b.Context(), db, nil)
		if err != nil {
			b.Fatal(err)
		}
		if !report.OK {
			b.Fatalf("%+v", report.Failed()[0])
		}
		for _, r := range report.Records {
			b.Logf("%8d %s", r.Count, r.Name)
		}
		for _, c := range report.Checks {
			b.Logf("%6d ms %s", c.DurationMS, c.Name)
		}
		b.ReportMetric(float64(3**paymentsFlag+*transfersFlag)/b.Elapsed().Seconds()*float64(b.N), "postings/s")
	}
	if *explainFlag {
		explain(b, db)
	}
}

func explain(b *testing.B, db *postgres.DB) {
	err := db.Snapshot(b.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if _, err := proof.RunIn(ctx, tx, clock.System, nil, nil); err != nil { // sets the session up, and asks nothing
			return err
		}
		for _, part := range verify.Parts() {
			for _, check := range part.Checks {
				rows, err := tx.Query(ctx, "explain (analyze, costs off) "+check.SQL)
				if err != nil {
					return err
				}
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					return err
				}
				b.Log(check.Name)
				for _, line := range lines {
					b.Log("  " + line)
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// filled is a database with sound books, written by a few statements.
func filled(tb testing.TB, payments, transfers int) *postgres.DB {
	tb.Helper()
	db, err := postgres.Open(tb.Context(), postgrestest.DB(tb).URL, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	for _, statement := range []string{makeOriginSQL, fmt.Sprintf(makeIDSQL, clock.System().UnixMilli()), makeViewSQL, unlimitedSQL} {
		if _, err := db.Pool().Exec(tb.Context(), statement); err != nil {
			tb.Fatal(err)
		}
	}
	for _, statement := range []struct {
		sql string
		n   int
	}{
		{fillAccountsSQL, payments},
		{fillPaymentsSQL, payments},
		{fillEntriesSQL, payments},
		{fillPostingsSQL, payments},
		{fillTasksSQL, payments},
		{fillPaymentEventsSQL, payments},
		{fillEntryEventsSQL, payments},
		{fillTransferAccountsSQL, transfers},
		{fillAccountEventsSQL, 0},
		{fillTransferEntriesSQL, transfers},
		{fillTransferPostingsSQL, transfers},
		{fillTransferEventsSQL, transfers},
	} {
		began := time.Now()
		if _, err := db.Pool().Exec(tb.Context(), statement.sql, statement.n); err != nil {
			tb.Fatalf("%s: %v", statement.sql, err)
		}
		tb.Log(time.Since(began), statement.sql[:40])
	}
	return db
}

// Ids of a kind k rise with n, and lie in this month's partitions: their time is the present one.
const (
	makeOriginSQL = `create table origin as select now() as at, '00000000-0000-7000-8000-000000000001'::uuid as org`
	makeIDSQL     = `
	create function made(k int, n bigint) returns uuid language sql immutable parallel safe as
		$$ select ('%012x' || '7' || lpad(to_hex(k), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid $$`
	// What is told of payment n, once it is captured.
	makeViewSQL = `
	create function view(n bigint) returns json language sql immutable parallel safe as
		$$ select json_build_object('id', n, 'status', 'captured', 'provider', 'sandbox', 'currency', 'EUR', 'amount', 1000, 'amount_captured', 1000,
			'amount_capturable', 0, 'amount_refunded', 0, 'amount_fee', 39, 'capture_method', 'automatic', 'text', repeat('x', 300)) $$`
	unlimitedSQL = `select set_config('statement_timeout', '0', false)`

	fillAccountsSQL = `
	with asset as (insert into ledger_asset (org_id, code, scale) select org, 'EUR', 2 from origin)
	insert into ledger_account (org_id, id, code, type, asset, scale, debits_posted, credits_posted, version, recorded_at, created_at)
	select o.org, made(1, a.n), a.code, a.type, 'EUR', 2, a.debits, a.credits, a.version, o.at + (3 * $1 + a.last) * interval '1 ms', o.at
	from origin o, (values
		(1, 'provider/sandbox/clearing/EUR', 'asset', 1000::bigint * $1, 39::bigint * $1, 3::bigint * $1, 2),
		(2, 'payments/received/EUR', 'liability', 0, 1000::bigint * $1, 2::bigint * $1, 1),
		(3, 'provider/sandbox/fees/EUR', 'expense', 39::bigint * $1, 0, 1::bigint * $1, 2)) as a (n, code, type, debits, credits, version, last)`
	fillPaymentsSQL = `
	with pay as (
		insert into payment (org_id, id, status, provider, currency, amount, amount_captured, amount_fee, capture_method, token, charge_id, hold_entry_id, created_at, updated_at)
		select o.org, made(2, n), 'captured', 'sandbox', 'EUR', 1000, 1000, 39, 'automatic', 'tok_approved', 'ch_' || n, made(3, 2 * n), o.at, o.at
		from origin o, generate_series(1, $1::bigint) n
	), record as (
		insert into idempotency_record (org_id, key, period, fingerprint, status, answer, subject_id)
		select o.org, 'key-' || n, date_trunc('month', now()), decode(repeat('00', 32), 'hex'), 202, '', made(4, n)
		from origin o, generate_series(1, $1::bigint) n
	)
	insert into payment_attempt (org_id, id, payment_id, task_id, kind, state, amount, entry_id, fee, idempotency_key, answer_status, answer, created_at, finished_at)
	select o.org, made(4, n), made(2, n), made(5, n), 'authorise', 'succeeded', 1000, made(3, 2 * n), 39, 'key-' || n, 201, view(n), o.at, o.at
	from origin o, generate_series(1, $1::bigint) n`
	fillEntriesSQL = `
	insert into ledger_entry (org_id, id, state, code, subject_id, posting_count, recorded_at)
	select o.org, made(3, 2 * n + k), 'posted', case k when 0 then 'payment.authorise' else 'payment.fee' end, made(2, n), 1, o.at + (3 * n + 2 * k) * interval '1 ms'
	from origin o, generate_series(1, $1::bigint) n, generate_series(0, 1) k`
	fillPostingsSQL = `
	insert into ledger_posting (org_id, entry_id, number, origin, phase, amount, recorded_at,
		debit_account_id, debit_version, debit_debits_posted, debit_credits_posted, debit_debits_pending, debit_credits_pending,
		credit_account_id, credit_version, credit_debits_posted, credit_credits_posted, credit_debits_pending, credit_credits_pending)
	select o.org, made(3, 2 * n + case k when 2 then 1 else 0 end), k % 2, 0, (array['pending', 'settled', 'posted'])[k + 1], case k when 2 then 39 else 1000 end, o.at + (3 * n + k) * interval '1 ms',
		made(1, case k when 2 then 3 else 1 end), case k when 2 then n else 3 * n - 2 + k end,
		case k when 0 then 1000 * (n - 1) when 1 then 1000 * n else 39 * n end, case k when 2 then 0 else 39 * (n - 1) end, case k when 0 then 1000 else 0 end, 0,
		made(1, case k when 2 then 1 else 2 end), case k when 2 then 3 * n else 2 * n - 1 + k end,
		case k when 2 then 1000 * n else 0 end, case k when 0 then 1000 * (n - 1) when 1 then 1000 * n else 39 * n end, 0, case k when 0 then 1000 else 0 end
	from origin o, generate_series(1, $1::bigint) n, generate_series(0, 2) k`
	fillTasksSQL = `
	with queued as (
		insert into task (org_id, id, queue, kind, args, subject_type, subject_id, created_at)
		select o.org, made(5, n), 'payments', 'payments.attempt', '{}', 'payment', made(2, n), o.at from origin o, generate_series(1, $1::bigint) n
	)
	insert into task_attempt (org_id, task_id, number, node, started_at, finished_at, outcome)
	select o.org, made(5, n), 1, 'a', o.at, o.at, 'succeeded' from origin o, generate_series(1, $1::bigint) n`
	fillPaymentEventsSQL = `
	insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
	select o.org, made(6, 2 * n + k), 'payment', made(2, n), case k when 0 then 'payment.created' else 'payment.captured' end,
		view(n), o.at
	from origin o, generate_series(1, $1::bigint) n, generate_series(0, 1) k`
	fillEntryEventsSQL = `
	insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
	select o.org, made(7, 3 * n + k), 'ledger_entry', made(3, 2 * n + case k when 2 then 1 else 0 end), (array['ledger.entry.pending', 'ledger.entry.settled', 'ledger.entry.posted'])[k + 1],
		json_build_object('id', n, 'text', repeat('x', 100), 'postings', json_build_array(json_build_object('amount', case k when 2 then 39 else 1000 end))),
		o.at + (3 * n + k) * interval '1 ms'
	from origin o, generate_series(1, $1::bigint) n, generate_series(0, 2) k`

	fillAccountEventsSQL = `
	insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
	select a.org_id, a.id, 'ledger_account', a.id, 'ledger.account.created',
		json_build_object('code', a.code, 'type', a.type, 'asset', a.asset, 'scale', a.scale), a.created_at
	from ledger_account a where $1::bigint = 0`

	// Transfers go round 10,000 accounts, from each to the next.
	fillTransferAccountsSQL = `
	insert into ledger_account (org_id, id, code, type, asset, scale, debits_posted, credits_posted, version, recorded_at, created_at)
	select o.org, made(8, a), 'account/' || a, 'asset', 'EUR', 2, $1::bigint / 10000, $1::bigint / 10000, 2 * ($1::bigint / 10000),
		o.at + greatest(0, $1::bigint - case a when 0 then 1 else 10000 - a end) * interval '1 us', o.at
	from origin o, generate_series(0, 9999) a`
	fillTransferEntriesSQL = `
	insert into ledger_entry (org_id, id, state, code, posting_count, recorded_at)
	select o.org, made(9, n), 'posted', 'transfer', 1, o.at + n * interval '1 us' from origin o, generate_series(0, $1::bigint - 1) n`
	fillTransferPostingsSQL = `
	insert into ledger_posting (org_id, entry_id, number, origin, phase, amount, recorded_at,
		debit_account_id, debit_version, debit_debits_posted, debit_credits_posted, debit_debits_pending, debit_credits_pending,
		credit_account_id, credit_version, credit_debits_posted, credit_credits_posted, credit_debits_pending, credit_credits_pending)
	select o.org, made(9, n), 0, 0, 'posted', 1, o.at + n * interval '1 us',
		made(8, n % 10000), 2 * (n / 10000) + case when n % 10000 = 0 then 1 else 2 end, n / 10000 + 1, n / 10000 + case when n % 10000 = 0 then 0 else 1 end, 0, 0,
		made(8, (n + 1) % 10000), 2 * (n / 10000) + case when n % 10000 = 9999 then 2 else 1 end, n / 10000 + case when n % 10000 = 9999 then 1 else 0 end, n / 10000 + 1, 0, 0
	from origin o, generate_series(0, $1::bigint - 1) n`
	fillTransferEventsSQL = `
	insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
	select o.org, made(10, n), 'ledger_entry', made(9, n), 'ledger.entry.posted',
		json_build_object('id', n, 'text', repeat('x', 100), 'postings', json_build_array(json_build_object('amount', 1))), o.at + n * interval '1 us'
	from origin o, generate_series(0, $1::bigint - 1) n`
)
