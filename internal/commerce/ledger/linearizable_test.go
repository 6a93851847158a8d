package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// The accounts of these histories: three wallets that may not go below zero.
const wallets = 3

func wallet(n int) string { return fmt.Sprintf("wallet%d", n) }

// asked is one operation: a transfer between wallets, of one or two postings, or a look at one or at all of them.
type asked struct {
	from, to, via int // via < 0: straight
	amount        int64
	look          int // a wallet, all of them, or none of this
}

const (
	lookNot = -1
	lookAll = wallets
)

// seen is what the operation told: the balances after it of the wallets it touched.
type seen struct {
	refused  bool
	balances map[int]int64
}

// holdings are the wallets' balances.
type holdings [wallets]int64

// transfers is the sequential ledger: a transfer is refused when a wallet would be below zero after all of it, and has no
// effect then.
func transfers(start int64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return holdings{start, start, start} },
		Step: func(state, in, out any) (bool, any) {
			now, op, told := state.(holdings), in.(asked), out.(seen)
			after := now
			if op.look == lookNot {
				after[op.from] -= op.amount
				after[op.to] += op.amount
			}
			if slices.Min(after[:]) < 0 {
				return told.refused, now
			}
			for n, balance := range told.balances {
				if after[n] != balance {
					return false, now
				}
			}
			return !told.refused, after
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
	}
}

// recorder writes down who asked and was told what, and when.
type recorder struct {
	mu      sync.Mutex
	clock   atomic.Int64
	history []porcupine.Operation
}

func (r *recorder) do(client int, op asked, run func() seen) {
	call := r.clock.Add(1)
	out := run()
	returned := r.clock.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: op, Call: call, Output: out, Return: returned})
}

// teller is one node: a lane of entries, and reads.
type teller struct {
	b      *bench
	ledger *ledger.Ledger
	lane   *command.Lane[ledger.Entry]
	answer sync.Map // request -> []ledger.AccountBalance: answers are bytes, and these tests want to compare figures
}

func (b *bench) teller() *teller {
	db, l := b.node()
	t := &teller{b: b, ledger: l}
	runner := command.NewRunner(db, func(err error, _ string) command.Answer {
		return command.Answer{Status: 400, Body: []byte(codeOf(err))}
	})
	cfg := lane.Config{Name: "entries", BatchMax: 16, QueueMax: 256, Workers: 2, Timeout: time.Minute}
	t.lane = command.NewLane(runner, cfg, lane.NewMetrics(prometheus.NewRegistry()), t.post)
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- t.lane.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return t
}

func (t *teller) post(ctx context.Context, tx postgres.Tx, items []command.Item[ledger.Entry]) ([]command.Outcome, error) {
	list := make([]ledger.Entry, len(items))
	for i := range items {
		list[i] = items[i].In
	}
	results, err := t.ledger.Post(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	out := make([]command.Outcome, len(items))
	for i := range results {
		t.answer.Store(items[i].Meta.RequestID, results[i].Balances)
		out[i] = command.Outcome{Answer: command.Answer{Status: 201}, Err: results[i].Err}
	}
	return out, nil
}

func (t *teller) transfer(request string, op asked) seen {
	e := transfer(wallet(op.from), wallet(op.to), op.amount) // of liabilities: from is debited
	if op.via >= 0 {
		e.Postings = []ledger.Posting{
			{Debit: wallet(op.from), Credit: wallet(op.via), Amount: op.amount}, {Debit: wallet(op.via), Credit: wallet(op.to), Amount: op.amount},
		}
	}
	e.OrgID, e.Code = t.b.org, "test"
	_, err := t.lane.Do(t.b.Context(), command.Meta{OrgID: t.b.org, RequestID: request}, e)
	if ledger.ErrExceedsAvailable.Is(err) {
		return seen{refused: true}
	}
	if err != nil {
		t.b.Errorf("%+v: %v", op, err)
	}
	stored, _ := t.answer.Load(request)
	out := seen{balances: map[int]int64{}}
	for _, balance := range stored.([]ledger.AccountBalance) {
		out.balances[int(balance.Code[len("wallet")]-'0')] = balance.Balance.Available(balance.Type)
	}
	return out
}

func (t *teller) look(accounts []ledger.Account, op asked) seen {
	out := seen{balances: map[int]int64{}}
	list, _, err := t.ledger.ListAccounts(t.b.Context(), t.b.org, ledger.AccountFilter{CodePrefix: "wallet"}, paging.Cursor{}, 10)
	if op.look != lookAll {
		list = []ledger.Account{{}}
		list[0], err = t.ledger.Account(t.b.Context(), t.b.org, accounts[op.look].ID)
	}
	if err != nil {
		t.b.Error(err)
	}
	for _, a := range list {
		out.balances[int(a.Code[len("wallet")]-'0')] = a.Balance.Available(a.Type)
	}
	return out
}

func draw(chance *rand.Rand) asked {
	op := asked{from: chance.IntN(wallets), via: -1, look: lookNot}
	op.to = (op.from + 1 + chance.IntN(wallets-1)) % wallets
	switch chance.IntN(6) {
	case 0:
		op.look = chance.IntN(wallets + 1)
	case 1:
		op.via = 3 - op.from - op.to // the third of three
	}
	op.amount = 1 + chance.Int64N(8)
	return op
}

// Concurrent transfers and looks, over two nodes with two batches in flight each, are as if they had come one after the
// other, each at some moment between its request and its answer.
func TestTransfersAreLinearizable(t *testing.T) {
	b := setup(t)
	const clients, operations, start = 10, 40, 10
	zero := int64(0)
	list := []ledger.NewAccount{{Code: "bank", Type: ledger.Asset}}
	for n := range wallets {
		list = append(list, ledger.NewAccount{Code: wallet(n), Type: ledger.Liability, AvailableMin: &zero})
	}
	accounts := b.accounts(list...)[1:]
	for n := range wallets {
		b.must(transfer("bank", wallet(n), start))
	}
	tellers := []*teller{b.teller(), b.teller()}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var r recorder
	var wait sync.WaitGroup
	for client := range clients {
		wait.Go(func() {
			chance := rand.New(rand.NewPCG(seed, uint64(client)))
			for n := range operations {
				op, at := draw(chance), tellers[chance.IntN(len(tellers))]
				r.do(client, op, func() seen {
					if op.look != lookNot {
						return at.look(accounts, op)
					}
					return at.transfer(fmt.Sprintf("%d/%d", client, n), op)
				})
			}
		})
	}
	wait.Wait()
	refused := 0
	for _, op := range r.history {
		if op.Output.(seen).refused {
			refused++
		}
	}
	t.Logf("%d operations, %d of them refused", len(r.history), refused)
	if result := porcupine.CheckOperationsTimeout(transfers(start), r.history, time.Minute); result != porcupine.Ok {
		t.Errorf("the history is not linearizable: %s", result)
	}
}

// The check can fail: one figure that was told wrong, or one look at the past, is found.
func TestAWrongHistoryIsFound(t *testing.T) {
	t.Parallel()
	move := asked{from: 0, to: 1, via: -1, amount: 4, look: lookNot}
	history := func(told seen, looked int64) []porcupine.Operation {
		return []porcupine.Operation{
			{ClientId: 0, Input: move, Call: 1, Output: told, Return: 2},
			{ClientId: 1, Input: asked{look: 0}, Call: 3, Output: seen{balances: map[int]int64{0: looked}}, Return: 4},
		}
	}
	right := seen{balances: map[int]int64{0: 6, 1: 14}}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		want    bool
	}{
		"right":            {history(right, 6), true},
		"a wrong figure":   {history(seen{balances: map[int]int64{0: 6, 1: 13}}, 6), false},
		"a look back":      {history(right, 10), false},
		"a lost effect":    {history(seen{refused: true}, 10), false},
		"a double effect":  {history(right, 2), false},
		"a wrong refusal":  {history(seen{refused: true}, 6), false},
		"before it is out": {append(history(right, 6), porcupine.Operation{ClientId: 2, Input: asked{look: 1}, Call: 0, Output: seen{balances: map[int]int64{1: 14}}, Return: 9}), true},
	} {
		if got := porcupine.CheckOperations(transfers(10), c.history); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
