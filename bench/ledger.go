package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// measureLedger measures ledger.Post beside the raw limit, transaction by transaction, one writer.
func (b *bench) measureLedger(ctx context.Context) error {
	url, err := b.database(ctx, "raw")
	if err != nil {
		return err
	}
	if err := makeRaw(ctx, url, rawSchemaSQL, rawIndexesSQL); err != nil {
		return err
	}
	limit, err := openRaw(ctx, url)
	if err != nil {
		return err
	}
	defer limit.close(context.WithoutCancel(ctx))
	var books *books
	if b.options.has(partLedger) {
		if _, books, err = b.booksIn(ctx, "ledger"); err != nil {
			return err
		}
		defer books.close()
	}
	for _, n := range []int{1, 100, 500} {
		if err := b.measure(ctx, fmt.Sprintf("ledger, %d transfers a transaction", n), b.ledgerGroup(limit, books, n)); err != nil {
			return err
		}
	}
	return nil
}

// ledgerGroup is what is compared at one size of a transaction.
func (b *bench) ledgerGroup(limit *raw, books *books, n int) []*subject {
	rawSubject := &subject{
		figure: &figure{Part: partRaw, Name: "raw: insert and update, no Kontor", Size: n, Aim: "the limit", short: "raw"},
		take: func(ctx context.Context, w window) (sample, error) {
			return b.alone(ctx, w, n, func(ctx context.Context) error { return limit.transact(ctx, n) })
		},
	}
	if books == nil {
		return []*subject{rawSubject}
	}
	post := func(name, aim string, choose chooser, beside *subject) *subject {
		return &subject{
			figure: &figure{Part: partLedger, Name: name, Size: n, Aim: aim, short: "uniform"}, beside: beside,
			take: func(ctx context.Context, w window) (sample, error) {
				return b.alone(ctx, w, n, func(ctx context.Context) error { return books.post(ctx, n, choose) })
			},
		}
	}
	uniform := post("ledger.Post, uniform", "at least half", twoAccounts, rawSubject)
	hot := post("ledger.Post, one hot account", "at least as fast", hotAccount, uniform)
	return []*subject{rawSubject, uniform, hot}
}

// chooser chooses the two accounts of a transfer.
type chooser func(rng *rand.Rand) (debit, credit int)

// hotAccount has every transfer touch the same account.
func hotAccount(rng *rand.Rand) (debit, credit int) { return 0, 1 + rng.IntN(accountsMax-1) }

// books is a ledger with accounts, in a database of its own.
type books struct {
	db     *postgres.DB
	ledger *ledger.Ledger
	org    ids.ID
	key    string // an API key of the organisation
	rng    *rand.Rand
}

// booksIn makes a database with books in it.
func (b *bench) booksIn(ctx context.Context, name string) (url string, opened *books, err error) {
	if url, err = b.database(ctx, name); err != nil {
		return "", nil, err
	}
	opened, err = openBooks(ctx, url)
	return url, opened, err
}

// openBooks migrates a database and makes the accounts, all with bounds that are checked and never reached.
func openBooks(ctx context.Context, url string) (*books, error) {
	if err := postgres.Migrate(ctx, url); err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, url, postgres.Options{ConnectionsMax: 4, Name: "kontor bench"})
	if err != nil {
		return nil, err
	}
	source := ids.NewSource(clock.System)
	b := &books{db: db, ledger: ledger.New(db, events.New(db, source), source), rng: rand.New(rand.NewPCG(1, 2))}
	secret, key, err := access.New(db, clock.System, source).CreateKey(ctx, "bench", "bench", false, clock.System().AddDate(1, 0, 0))
	if err != nil {
		db.Close()
		return nil, err
	}
	b.org, b.key = key.OrgID, secret
	if err := b.createAccounts(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return b, nil
}

func (b *books) close() { b.db.Close() }

// accountCode has a fixed width, so that a request's bytes can be written in place.
func accountCode(number int) string { return "bench/account/" + pad(number) }

// pad writes a number with accountDigits digits.
func pad(number int) string {
	digits := strconv.Itoa(number)
	return "00000000"[:accountDigits-len(digits)] + digits
}

const accountDigits = 8

func (b *books) createAccounts(ctx context.Context) error {
	const slice = 1000
	low, high := int64(-1_000_000_000_000_000), int64(1_000_000_000_000_000)
	for from := 0; from < accountsMax; from += slice {
		list := make([]ledger.NewAccount, slice)
		for i := range list {
			list[i] = ledger.NewAccount{
				OrgID: b.org, Code: accountCode(from + i), Type: ledger.Liability, Asset: "EUR", AvailableMin: &low, AvailableMax: &high,
			}
		}
		err := b.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			results, err := b.ledger.CreateAccounts(ctx, tx, list)
			for i := range results {
				if err == nil {
					err = results[i].Err
				}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("make the accounts: %w", err)
		}
	}
	return nil
}

// post books n transfers in one transaction.
func (b *books) post(ctx context.Context, n int, choose chooser) error {
	list := make([]ledger.Entry, n)
	for i := range list {
		debit, credit := choose(b.rng)
		list[i] = ledger.Entry{OrgID: b.org, Code: "transfer", Postings: []ledger.Posting{
			{Debit: accountCode(debit), Credit: accountCode(credit), Amount: 1 + b.rng.Int64N(10_000)},
		}}
	}
	return b.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		results, err := b.ledger.Post(ctx, tx, list)
		for i := range results {
			if err == nil {
				err = results[i].Err
			}
		}
		return err
	})
}
