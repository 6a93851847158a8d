package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// pair is a cash account and a wallet that may not fall below zero, and two nodes that write to them.
func pair(t *testing.T) (b *bench, other func(...ledger.Entry) []ledger.Result) {
	t.Helper()
	b = setup(t)
	none := int64(0)
	b.accounts(ledger.NewAccount{Code: "cash", Type: ledger.Asset}, ledger.NewAccount{Code: "wallet", Type: ledger.Liability, AvailableMin: &none})
	db, l := b.node()
	return b, func(list ...ledger.Entry) []ledger.Result {
		b.Helper()
		results, err := postOn(b.Context(), db, l, b.org, list)
		if err != nil {
			b.Fatal(err)
		}
		return results
	}
}

// ofWallet is what a result says of the wallet.
func ofWallet(t *testing.T, r ledger.Result) ledger.AccountBalance {
	t.Helper()
	for _, a := range r.Balances {
		if a.Code == "wallet" {
			return a
		}
	}
	t.Fatalf("no balance of the wallet in %+v", r)
	return ledger.AccountBalance{}
}

// A node writes to accounts as it left them. When another has written since, the database says so and the transaction runs again.
func TestAWrongGuessRunsAgain(t *testing.T) {
	b, other := pair(t)
	b.must(transfer("cash", "wallet", 100))
	b.must(transfer("cash", "wallet", 10))
	if again := retries(t, b.db); len(again) > 0 {
		t.Fatalf("run again: %v, and nobody else was at it", again)
	}
	other(transfer("cash", "wallet", 1))
	got := ofWallet(t, b.post(transfer("cash", "wallet", 1000))[0])
	if got.Balance.CreditsPosted != 1111 || got.Version != 4 {
		t.Errorf("%+v", got)
	}
	if again := retries(t, b.db)["again"]; again != 1 {
		t.Errorf("run again %v times, want once: the guess was wrong", again)
	}
}

// What another node has brought in can be spent at once, and what it has taken cannot be spent again.
func TestNobodyIsRefusedOrServedOnAGuess(t *testing.T) {
	b, other := pair(t)
	b.must(transfer("cash", "wallet", 100))
	other(transfer("cash", "wallet", 50))
	if r := b.post(transfer("wallet", "cash", 150))[0]; r.Err != nil {
		t.Errorf("refused, though another node had brought in what it takes: %v", r.Err)
	}
	b.must(transfer("cash", "wallet", 80))
	b.must(transfer("cash", "wallet", 20))
	if r := other(transfer("wallet", "cash", 60))[0]; r.Err != nil {
		t.Error(r.Err)
	}
	if r := b.post(transfer("wallet", "cash", 50))[0]; codeOf(r.Err) != "exceeds_available" {
		t.Errorf("%v, want exceeds_available: 40 are left", r.Err)
	}
}

// Where two nodes write in turn a guess would always be wrong, and soon is not made any more.
func TestAnAccountOfTwoNodesIsNotGuessedAtForLong(t *testing.T) {
	b, other := pair(t)
	const rounds = 100
	for range rounds {
		b.must(transfer("cash", "wallet", 1))
		other(transfer("cash", "wallet", 1))
	}
	if again := retries(t, b.db)["again"]; again == 0 || again > 5 {
		t.Errorf("run again %v times in %d rounds, want a few times at first", again, rounds)
	}
}

// What is rolled back, or was only tried, is not remembered.
func TestWhatWasNotCommittedIsNotRemembered(t *testing.T) {
	b, _ := pair(t)
	b.must(transfer("cash", "wallet", 100))
	enough := errors.New("enough")
	entries := func() []ledger.Entry {
		e := transfer("cash", "wallet", 7)
		e.OrgID, e.Code = b.org, "test"
		return []ledger.Entry{e}
	}
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if _, err := b.ledger.Post(ctx, tx, entries()); err != nil {
			return err
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if _, err := b.ledger.Preview(t.Context(), entries()); err != nil {
		t.Fatal(err)
	}
	err = b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		for want := int64(2); want <= 3; want++ { // the second sees what the first has done
			results, err := b.ledger.Post(ctx, tx, entries())
			if err != nil {
				return err
			}
			if got := ofWallet(t, results[0]); got.Version != want {
				t.Errorf("version %d, want %d", got.Version, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := ofWallet(t, b.post(transfer("cash", "wallet", 1))[0]); got.Balance.CreditsPosted != 115 || got.Version != 4 {
		t.Errorf("%+v", got)
	}
	if again := retries(t, b.db); len(again) > 0 {
		t.Errorf("run again: %v", again)
	}
}

// A batch that is sent statement by statement fails as one that is sent whole, and holds what else is asked of it.
func TestLargeBatches(t *testing.T) {
	b, other := pair(t)
	large := make([]ledger.Entry, 200)
	for round := range 4 {
		for i := range large {
			large[i] = transfer("cash", "wallet", 1)
		}
		if round == 2 {
			other(transfer("cash", "wallet", 1))
		}
		b.must(large...)
	}
	large[150] = transfer("cash", strings.Repeat("a", 10), 1)
	large[199] = transfer("wallet", "cash", 10_000)
	results := b.post(large...)
	for i, r := range results {
		switch {
		case i == 150 && codeOf(r.Err) == "account_not_found", i == 199 && codeOf(r.Err) == "exceeds_available":
		case i == 150, i == 199, r.Err != nil:
			t.Errorf("entry %d: %v", i, r.Err)
		}
	}
	if got := ofWallet(t, results[198]); got.Balance.CreditsPosted != 999 || got.Version != 999 {
		t.Errorf("%+v", got)
	}
}

// After a failover that lost commits, the version that was remembered can be of another posting: its time tells.
func TestTheVersionOfAnotherPostingIsAWrongGuess(t *testing.T) {
	b, _ := pair(t)
	b.must(transfer("cash", "wallet", 100))
	if _, err := b.db.Pool().Exec(t.Context(), `update ledger_account set recorded_at = recorded_at + interval '1 microsecond' where code = 'wallet'`); err != nil {
		t.Fatal(err)
	}
	b.must(transfer("cash", "wallet", 10))
	if again := retries(t, b.db)["again"]; again != 1 {
		t.Errorf("run again %v times, want once", again)
	}
}

// The time of a batch that asked for nothing is reckoned. When the database's clock does not agree, the transaction runs again and asks.
func TestATimeThatWasReckonedWrongRunsAgain(t *testing.T) {
	b, _ := pair(t)
	for range 3 { // locks, asks for the time, reckons it
		b.must(transfer("cash", "wallet", 1))
	}
	if again := retries(t, b.db); len(again) > 0 {
		t.Fatalf("run again: %v", again)
	}
	var before time.Time
	var results []ledger.Result
	first := true
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if first {
			first = false
			late := &pgx.Batch{}
			late.Queue(`select pg_sleep(1.1)`) // what is reckoned before it is not true after it
			if err := postgres.SendLater(ctx, tx, late, func(err error) error { return err }); err != nil {
				return err
			}
		} else if err := tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&before); err != nil {
			return err
		}
		e := transfer("cash", "wallet", 1)
		e.OrgID, e.Code = b.org, "test"
		var err error
		results, err = b.ledger.Post(ctx, tx, []ledger.Entry{e})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if again := retries(t, b.db)["again"]; again != 1 {
		t.Errorf("run again %v times, want once", again)
	}
	if at := results[0].Entry.RecordedAt; at.Before(before) {
		t.Errorf("recorded at %v, and it was %v by then", at, before)
	}
}
