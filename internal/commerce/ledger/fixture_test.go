package ledger_test

import (
	"context"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// bench is a ledger of one organisation on a database of its own. At its end the books must hold.
type bench struct {
	*testing.T
	url    string
	db     *postgres.DB
	ledger *ledger.Ledger
	source *ids.Source
	org    ids.ID
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{T: t, url: postgrestest.DB(t).URL, source: ids.NewSource(clock.System)}
	b.org = b.source.New()
	b.db, b.ledger = b.node()
	t.Cleanup(func() {
		report, err := proof.Run(context.WithoutCancel(t.Context()), b.db, clock.System, []proof.Part{ledger.Proof()}, nil)
		if err != nil || !report.OK {
			t.Errorf("the books do not hold: %+v, %v", report.Failed(), err)
		}
	})
	return b
}

// node is a ledger with a pool of its own.
func (b *bench) node() (*postgres.DB, *ledger.Ledger) {
	b.Helper()
	db, err := postgres.Open(b.Context(), b.url, postgres.Options{ConnectionsMax: 8})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return db, ledger.New(db, events.New(db, b.source), b.source)
}

// accounts makes accounts of EUR.
func (b *bench) accounts(list ...ledger.NewAccount) []ledger.Account {
	b.Helper()
	made := make([]ledger.Account, len(list))
	for i := range list {
		list[i].OrgID, list[i].Asset = b.org, "EUR"
	}
	for i, r := range b.createAccounts(list...) {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
		made[i] = r.Account
	}
	return made
}

func (b *bench) createAccounts(list ...ledger.NewAccount) []ledger.AccountResult {
	b.Helper()
	var results []ledger.AccountResult
	err := b.db.InTx(b.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var err error
		results, err = b.ledger.CreateAccounts(ctx, tx, list)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return results
}

func (b *bench) post(list ...ledger.Entry) []ledger.Result {
	b.Helper()
	results, err := postOn(b.Context(), b.db, b.ledger, b.org, list)
	if err != nil {
		b.Fatal(err)
	}
	return results
}

func postOn(ctx context.Context, db *postgres.DB, l *ledger.Ledger, org ids.ID, list []ledger.Entry) ([]ledger.Result, error) {
	for i := range list {
		list[i].OrgID = org
		if list[i].Code == "" && list[i].Target.IsZero() {
			list[i].Code = "test"
		}
	}
	var results []ledger.Result
	err := db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		var err error
		results, err = l.Post(ctx, tx, list)
		return err
	})
	return results, err
}

// must posts entries that have to take effect.
func (b *bench) must(list ...ledger.Entry) []ledger.Recorded {
	b.Helper()
	made := make([]ledger.Recorded, len(list))
	for i, r := range b.post(list...) {
		if r.Err != nil {
			b.Fatalf("entry %d: %v", i, r.Err)
		}
		made[i] = r.Entry
	}
	return made
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

func transfer(debit, credit string, amount int64) ledger.Entry {
	return ledger.Entry{Postings: []ledger.Posting{{Debit: debit, Credit: credit, Amount: amount}}}
}

func hold(debit, credit string, amount int64) ledger.Entry {
	e := transfer(debit, credit, amount)
	e.Action = ledger.ActionHold
	return e
}
