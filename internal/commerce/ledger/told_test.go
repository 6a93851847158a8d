package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// told is what results said of accounts after entries.
type told struct {
	mu      sync.Mutex
	results map[place]standing
}

type place struct{ Entry, Account ids.ID }

type standing struct {
	Version int64
	Balance ledger.Balance
}

func (d *told) add(results []ledger.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range results {
		for _, a := range r.Balances {
			d.results[place{r.Entry.ID, a.AccountID}] = standing{a.Version, a.Balance}
		}
	}
}

var errUndone = errors.New("undone")

const losesConnectionSQL = `
	select pg_terminate_backend(pid) from pg_stat_activity
	where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' order by random() limit 1`

// Two nodes write to the same accounts, on guesses and on locks, once or twice in a transaction; some transactions are rolled back,
// and of some the connection is lost, at COMMIT too. Whoever is told a balance was told what is recorded. Whoever loses one connection after
// the other is told that the database is not available: then it may be recorded or not, and the books hold either way.
func TestWhatIsToldIsWhatIsRecorded(t *testing.T) {
	b := setup(t)
	const accounts, batches = 12, 150
	list := make([]ledger.NewAccount, accounts)
	least := int64(-200)
	for i := range list {
		list[i] = ledger.NewAccount{Code: fmt.Sprintf("a%d", i), Type: ledger.Asset, AvailableMin: &least}
	}
	b.accounts(list...)
	all, seed := told{results: map[place]standing{}}, rand.Uint64()
	t.Logf("seed %d", seed)
	var clients sync.WaitGroup
	var nodes [2]*postgres.DB
	var ledgers [2]*ledger.Ledger
	for n := range nodes { // both before any connection is lost: one that is only being opened may be told so too
		nodes[n], ledgers[n] = b.node()
	}
	for n, db := range nodes {
		chance := rand.New(rand.NewPCG(seed, uint64(n)))
		clients.Go(func() {
			for range batches {
				if chance.IntN(20) == 0 {
					_, _ = b.db.Pool().Exec(t.Context(), losesConnectionSQL) // whose it is, chance decides
				}
				results, err := write(t.Context(), db, ledgers[n], b.org, chance, accounts)
				if err == nil {
					all.add(results)
				} else if !errors.Is(err, errUndone) && codeOf(err) != "database_unavailable" {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	t.Logf("%d results; run again: %v and %v", len(all.results), retries(t, nodes[0]), retries(t, nodes[1]))
	b.recorded(all.results)
}

// write posts a small batch or one that is streamed, and then perhaps a part of it again, or thinks better of it.
func write(ctx context.Context, db *postgres.DB, l *ledger.Ledger, org ids.ID, chance *rand.Rand, accounts int) ([]ledger.Result, error) {
	size := 1 + chance.IntN(3)
	if chance.IntN(10) == 0 {
		size = 60
	}
	list := make([]ledger.Entry, size)
	from := chance.IntN(accounts)
	to := (from + 1 + chance.IntN(accounts-1)) % accounts
	for i := range list {
		list[i] = transfer(fmt.Sprintf("a%d", from), fmt.Sprintf("a%d", to), 1+chance.Int64N(9))
		list[i].OrgID, list[i].Code = org, "test"
	}
	twice, undone := chance.IntN(3) == 0, chance.IntN(15) == 0
	var results []ledger.Result
	err := db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		postgres.AskNow(tx)
		var err error
		results, err = l.Post(ctx, tx, list)
		if err == nil && twice {
			var more []ledger.Result
			more, err = l.Post(ctx, tx, list[:1])
			results = append(results, more...)
		}
		if err == nil && undone {
			err = errUndone
		}
		return err
	})
	return results, err
}

const standingsSQL = `
	select p.entry_id, p.debit_account_id, p.debit_version,
		p.debit_debits_posted, p.debit_credits_posted, p.debit_debits_pending, p.debit_credits_pending
	from ledger_posting p
	union all
	select p.entry_id, p.credit_account_id, p.credit_version,
		p.credit_debits_posted, p.credit_credits_posted, p.credit_debits_pending, p.credit_credits_pending
	from ledger_posting p`

// recorded compares what was told with the postings. It reads them in a transaction, which is run again on a connection that lives.
func (b *bench) recorded(results map[place]standing) {
	b.Helper()
	var at place
	var is standing
	balance := &is.Balance
	found := map[place]standing{}
	scan := []any{
		&at.Entry, &at.Account, &is.Version, &balance.DebitsPosted, &balance.CreditsPosted, &balance.DebitsPending, &balance.CreditsPending,
	}
	err := b.db.Snapshot(b.Context(), func(ctx context.Context, tx postgres.Tx) error {
		rows, err := tx.Query(ctx, standingsSQL)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, scan, func() error { found[at] = is; return nil })
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for at, said := range results {
		if found[at] != said {
			b.Errorf("told %+v of account %s after entry %s, recorded %+v", said, at.Account, at.Entry, found[at])
		}
	}
}
