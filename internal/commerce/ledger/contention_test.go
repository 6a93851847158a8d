package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// retries are how often a node ran a transaction again, by reason; reasons that there were none for are left out.
func retries(t *testing.T, db *postgres.DB) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	db.Register(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "kontor_db_tx_retries_total" && m.GetCounter().GetValue() > 0 {
				found[label(m)] = m.GetCounter().GetValue()
			}
		}
	}
	return found
}

func label(m *dto.Metric) string { return m.GetLabel()[0].GetValue() }

// Batches lock their entries, then their accounts, each in the order of ids, also where the accounts are guessed at: however they
// overlap, they wait for each other in one direction only, and none is ever run again but for a wrong guess.
func TestBatchesThatOverlapDoNotDeadlock(t *testing.T) {
	b := setup(t)
	const accounts, clients, batches, orders = 8, 8, 25, 6
	list := make([]ledger.NewAccount, accounts)
	for i := range list {
		list[i] = ledger.NewAccount{Code: fmt.Sprintf("a%d", i), Type: ledger.Asset}
	}
	b.accounts(list...)
	var holds []ids.ID
	for range 60 {
		holds = append(holds, b.must(hold("a0", "a1", 1000))[0].ID)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var nodes [2]*postgres.DB
	var clientsDone sync.WaitGroup
	for n := range nodes {
		db, l := b.node()
		nodes[n] = db
		for client := range clients {
			chance := rand.New(rand.NewPCG(seed, uint64(n*clients+client)))
			clientsDone.Go(func() {
				for range batches {
					batch := make([]ledger.Entry, orders)
					for i := range batch {
						batch[i] = overlapping(chance, accounts, holds)
					}
					results, err := postOn(t.Context(), db, l, b.org, batch)
					if err != nil {
						t.Error(err)
					}
					for i, r := range results {
						if r.Err != nil {
							t.Errorf("%+v: %v", batch[i], r.Err)
						}
					}
				}
			})
		}
	}
	clientsDone.Wait()
	for _, db := range nodes {
		again := retries(t, db)
		delete(again, "again")
		if len(again) > 0 {
			t.Errorf("transactions were run again: %v", again)
		}
	}
}

func overlapping(chance *rand.Rand, accounts int, holds []ids.ID) ledger.Entry {
	if chance.IntN(3) == 0 {
		return ledger.Entry{Action: ledger.ActionSettle, Target: holds[chance.IntN(len(holds))], Amounts: []int64{1}, Keep: true}
	}
	from := chance.IntN(accounts)
	to := (from + 1 + chance.IntN(accounts-1)) % accounts
	return transfer(fmt.Sprintf("a%d", from), fmt.Sprintf("a%d", to), 1+chance.Int64N(100))
}

// race has many clients of two nodes do the same at the same time, and counts their outcomes.
func (b *bench) race(clients int, order func(client int) ledger.Entry) map[string]int {
	b.Helper()
	var mu sync.Mutex
	outcomes := map[string]int{}
	ready := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		db, l := b.node()
		for client := range clients {
			all.Go(func() {
				<-ready
				r, err := postOn(b.Context(), db, l, b.org, []ledger.Entry{order(client)})
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				outcomes[codeOf(r[0].Err)]++
			})
		}
	}
	close(ready)
	all.Wait()
	return outcomes
}

func (b *bench) outcomes(got, want map[string]int) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("%v, want %v", got, want)
	}
}

func TestAReferenceIsTakenOnce(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	for n := range 5 {
		b.outcomes(b.race(8, func(int) ledger.Entry {
			e := transfer("cash", "wallet", 10)
			e.Reference = fmt.Sprintf("r%d", n)
			return e
		}), map[string]int{"": 1, "exists": 15})
	}
	b.balance(cash, ledger.Balance{DebitsPosted: 50})
}

func TestAnEntryIsReversedOnce(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	for range 5 {
		target := b.must(transfer("cash", "wallet", 10))[0].ID
		b.outcomes(b.race(8, func(int) ledger.Entry { return ledger.Entry{Action: ledger.ActionReverse, Target: target} }),
			map[string]int{"": 1, "already_reversed": 15})
	}
	b.balance(cash, ledger.Balance{DebitsPosted: 50, CreditsPosted: 50})
}

func TestAHoldEndsOnce(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	settled := int64(0)
	for range 5 {
		target := b.must(hold("cash", "wallet", 10))[0].ID
		got := b.race(8, func(client int) ledger.Entry {
			if client%2 == 0 {
				return ledger.Entry{Action: ledger.ActionSettle, Target: target}
			}
			return ledger.Entry{Action: ledger.ActionRelease, Target: target}
		})
		want := map[string]int{"": 1, "entry_already_posted": 15}
		if got["entry_already_posted"] == 0 {
			want = map[string]int{"": 1, "entry_already_voided": 15}
		} else {
			settled += 10
		}
		b.outcomes(got, want)
	}
	b.balance(cash, ledger.Balance{DebitsPosted: settled})
}

// Settled bit by bit by many at once, a hold gives no more than it holds.
func TestAHoldGivesWhatItHolds(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	target := b.must(hold("cash", "wallet", 10))[0].ID
	got := b.race(12, func(int) ledger.Entry {
		return ledger.Entry{Action: ledger.ActionSettle, Target: target, Amounts: []int64{1}, Keep: true}
	})
	b.outcomes(got, map[string]int{"": 10, "entry_already_posted": 14})
	b.balance(cash, ledger.Balance{DebitsPosted: 10})
}

// While the sweep runs, others settle what it is about to release: each hold ends one way or the other.
func TestASweepMeetsSettlers(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	past := b.source.New().Time().Add(-1e9)
	for range 40 {
		made := b.must(holdUntil(past, 1), holdUntil(past, 1), holdUntil(past, 1))
		expired := make(chan int, 2)
		for range cap(expired) {
			_, l := b.node()
			go func() {
				n, err := l.Expire(context.WithoutCancel(t.Context()))
				if err != nil {
					t.Error(err)
				}
				expired <- n
			}()
		}
		released := 0
		for _, e := range made {
			if r := b.post(ledger.Entry{Action: ledger.ActionRelease, Target: e.ID}); r[0].Err == nil {
				released++
			} else if codeOf(r[0].Err) != "entry_expired" {
				t.Error(r[0].Err)
			}
		}
		n := <-expired + <-expired
		if rest, err := b.ledger.Expire(t.Context()); err != nil || n+released+rest != len(made) {
			t.Errorf("%d expired, then %d, %d released, %v: want %d", n, rest, released, err, len(made))
		}
	}
	b.balance(cash, ledger.Balance{})
}
