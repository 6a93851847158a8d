package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func (b *bench) twoAccounts() (cash, wallet ledger.Account) {
	b.Helper()
	made := b.accounts(ledger.NewAccount{Code: "cash", Type: ledger.Asset}, ledger.NewAccount{Code: "wallet", Type: ledger.Liability})
	return made[0], made[1]
}

func (b *bench) expires(want int) {
	b.Helper()
	if n, err := b.ledger.Expire(b.Context()); err != nil || n != want {
		b.Fatalf("%d expired, %v; want %d", n, err, want)
	}
}

func (b *bench) state(id ids.ID, want ledger.State) ledger.Recorded {
	b.Helper()
	e, err := b.ledger.Entry(b.Context(), b.org, id)
	if err != nil || e.State != want {
		b.Fatalf("the entry is %s, %v; want %s", e.State, err, want)
	}
	return e
}

func (b *bench) balance(account ledger.Account, want ledger.Balance) {
	b.Helper()
	a, err := b.ledger.Account(b.Context(), b.org, account.ID)
	if err != nil || a.Balance != want {
		b.Fatalf("%s has %+v, %v; want %+v", account.Code, a.Balance, err, want)
	}
}

func holdUntil(at time.Time, amount int64) ledger.Entry {
	e := hold("cash", "wallet", amount)
	e.ExpiresAt = at
	return e
}

func TestASweepReleasesWhatIsDue(t *testing.T) {
	b := setup(t)
	cash, wallet := b.twoAccounts()
	b.expires(0)
	past, future := clock.System().Add(-time.Minute), clock.System().Add(time.Hour)
	made := b.must(holdUntil(past, 10), holdUntil(past, 20), holdUntil(future, 40), holdUntil(past, 80), hold("cash", "wallet", 160))
	b.must(ledger.Entry{Action: ledger.ActionRelease, Target: made[3].ID})
	b.expires(2)
	b.state(made[0].ID, ledger.StateExpired)
	e := b.state(made[1].ID, ledger.StateExpired)
	if len(e.Postings) != 2 || e.Postings[1].Phase != ledger.PhaseReleased || e.Postings[1].Amount != 20 {
		t.Errorf("%+v", e.Postings)
	}
	b.state(made[2].ID, ledger.StatePending)
	b.state(made[3].ID, ledger.StateVoided)
	b.state(made[4].ID, ledger.StatePending)
	b.balance(cash, ledger.Balance{DebitsPending: 200})
	b.balance(wallet, ledger.Balance{CreditsPending: 200})
	b.expires(0)
}

// What was settled stays settled; what is left expires, and the entry is posted.
func TestTheRestOfASettledHoldExpires(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	soon := clock.System().Add(100 * time.Millisecond)
	made := b.must(holdUntil(soon, 10))
	settle := ledger.Entry{Action: ledger.ActionSettle, Target: made[0].ID, Amounts: []int64{4}, Keep: true}
	b.must(settle)
	for due := false; !due; { // by the database's clock
		if err := b.db.Pool().QueryRow(t.Context(), `select now() >= $1`, soon).Scan(&due); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.post(settle); codeOf(r[0].Err) != "entry_expired" {
		t.Errorf("settled after its time: %v", r[0].Err)
	}
	b.expires(1)
	b.state(made[0].ID, ledger.StatePosted)
	b.balance(cash, ledger.Balance{DebitsPosted: 4})
	if r := b.post(settle); codeOf(r[0].Err) != "entry_already_posted" {
		t.Errorf("settled after its end: %v", r[0].Err)
	}
}

// There may be more than a sweep takes at a time, and several nodes may sweep at once.
func TestNodesShareWhatIsDue(t *testing.T) {
	b := setup(t)
	cash, _ := b.twoAccounts()
	const due = 1100
	past := clock.System().Add(-time.Hour)
	for left := due; left > 0; left -= 100 {
		list := make([]ledger.Entry, 100)
		for i := range list {
			list[i] = holdUntil(past.Add(time.Duration(left+i)*time.Millisecond), 1)
		}
		b.must(list...)
	}
	b.balance(cash, ledger.Balance{DebitsPending: due})
	const nodes = 3
	counts, errs := make(chan int, nodes), make(chan error, nodes)
	for range nodes {
		_, l := b.node()
		go func() {
			n, err := l.Expire(t.Context())
			counts <- n
			errs <- err
		}()
	}
	total := 0
	for range nodes {
		total += <-counts
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if total != due {
		t.Errorf("%d expired, want %d", total, due)
	}
	b.balance(cash, ledger.Balance{})
	b.expires(0)
}

// An entry that somebody has in hand is left alone until the next sweep, which finds it as that one left it.
func TestASweepWaitsForNobody(t *testing.T) {
	b := setup(t)
	b.twoAccounts()
	past := clock.System().Add(-time.Hour)
	made := b.must(holdUntil(past, 1), holdUntil(past, 2), holdUntil(past, 4))
	sorry := errors.New("on purpose")
	inHand := func(id ids.ID, end error) {
		t.Helper()
		err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			r, err := b.ledger.Post(ctx, tx, []ledger.Entry{{OrgID: b.org, Action: ledger.ActionRelease, Target: id}})
			if err != nil || r[0].Err != nil {
				return errors.Join(err, r[0].Err)
			}
			// The accounts are in hand as well, so a sweep that finds something waits for them: here it must find nothing.
			return end
		})
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
	}
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if _, err := tx.Exec(ctx, `select from ledger_entry where org_id = $1 and id in ($2, $3) for no key update`, b.org, made[0].ID, made[1].ID); err != nil {
			return err
		}
		b.expires(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.state(made[0].ID, ledger.StatePending)
	b.state(made[2].ID, ledger.StateExpired)
	inHand(made[0].ID, nil)
	inHand(made[1].ID, sorry)
	b.expires(1)
	b.state(made[0].ID, ledger.StateVoided)
	b.state(made[1].ID, ledger.StateExpired)
}
