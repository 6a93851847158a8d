package ledger_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// TestLedgerEqualsItsModel runs random programs against the ledger and the model, two organisations in each batch, and
// compares every answer and then everything that can be read. -rapid.checks=N goes deeper.
func TestLedgerEqualsItsModel(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	l := ledger.New(db, events.New(db, source), source)
	met := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		p := newProgram(t.Context(), r, db, l, source)
		p.met = met
		for range 1 + p.below(12, "batches") {
			p.step()
		}
		p.expire() // so that nothing of this program is left for another one's sweep
		p.compare()
	})
	t.Logf("outcomes: %v", met)
	report, err := proof.Run(t.Context(), db, clock.System, []proof.Part{ledger.Proof()}, nil)
	if err != nil || !report.OK {
		t.Errorf("the books do not hold: %+v, %v", report.Failed(), err)
	}
}

// program is one random program.
type program struct {
	*rapid.T
	ctx    context.Context
	db     *postgres.DB
	ledger *ledger.Ledger
	source *ids.Source
	behind *ids.Source // of a node whose clock is slow
	base   time.Time
	models []*model
	byOrg  map[ids.ID]*model
	asked  []ledger.Entry // of the batch that is being drawn
	orders []ledger.Entry // with a reference
	codes  []string       // of accounts
	spent  time.Duration  // expired holds expire one after the other
	met    map[string]int // how often each outcome was met
}

func newProgram(ctx context.Context, r *rapid.T, db *postgres.DB, l *ledger.Ledger, source *ids.Source) *program {
	p := &program{
		T: r, ctx: ctx, db: db, ledger: l, source: source, behind: ids.NewSource(func() time.Time { return clock.System().Add(-time.Minute) }), base: clock.System(), byOrg: map[ids.ID]*model{},
		codes: []string{"a", "a/b", "bank", "wallet", "shop", "shop/fees"}[:rapid.IntRange(3, 6).Draw(r, "accounts")],
	}
	for range 2 {
		m := &model{org: source.New(), accounts: map[string]*modelAccount{}}
		p.models, p.byOrg[m.org] = append(p.models, m), m
	}
	p.createAccounts()
	return p
}

func (p *program) inTx(body func(ctx context.Context, tx postgres.Tx) error) {
	p.Helper()
	if err := p.db.InTx(p.ctx, body); err != nil {
		p.Fatalf("%v", err)
	}
}

func (p *program) createAccounts() {
	var wanted []ledger.NewAccount
	for _, m := range p.models {
		for _, code := range p.codes {
			terms := ledger.NewAccount{
				OrgID: m.org, Code: code, Asset: "EUR",
				Type: pick(p, "type", ledger.Asset, ledger.Liability, ledger.Income, ledger.Expense, ledger.Equity),
			}
			if p.oneIn(16, "gold") {
				terms.Asset = "XAU"
			}
			if p.oneIn(4, "bounded below") {
				n := pick[int64](p, "min", 0, 0, -10, -50, math.MinInt64)
				terms.AvailableMin = &n
			}
			if p.oneIn(4, "bounded above") {
				n := pick[int64](p, "max", 0, 20, 100, math.MaxInt64)
				terms.AvailableMax = &n
			}
			wanted = append(wanted, terms)
		}
	}
	p.inTx(func(ctx context.Context, tx postgres.Tx) error {
		results, err := p.ledger.CreateAccounts(ctx, tx, wanted)
		for i, r := range results {
			if r.Err != nil || r.Exists {
				p.Fatalf("%+v: %+v", wanted[i], r)
			}
			p.byOrg[wanted[i].OrgID].accounts[wanted[i].Code] = &modelAccount{id: r.Account.ID, terms: wanted[i], made: r.Account.CreatedAt}
		}
		return err
	})
}

// Rapid draws small numbers far more often than large ones; these draw evenly, and shrink towards the plain case.

// oneIn is true once in n times; n is a power of two.
func (p *program) oneIn(n int, label string) bool {
	for ; n > 1; n /= 2 {
		if !rapid.Bool().Draw(p.T, label) {
			return false
		}
	}
	return true
}

// below draws a number from 0 to n-1.
func (p *program) below(n int, label string) int {
	drawn := 0
	for bound := 1; bound < 8*n; bound *= 2 {
		drawn *= 2
		if rapid.Bool().Draw(p.T, label) {
			drawn++
		}
	}
	return drawn % n
}

func pick[T any](p *program, label string, from ...T) T { return from[p.below(len(from), label)] }

func (p *program) step() {
	if p.oneIn(16, "expire") {
		p.expire()
		return
	}
	list := make([]ledger.Entry, 1+p.below(8, "orders"))
	p.asked = p.asked[:0]
	for i := range list {
		list[i] = p.order()
		p.asked = append(p.asked, list[i])
	}
	var preview []ledger.Result
	if p.oneIn(4, "previewed") {
		var err error
		if preview, err = p.ledger.Preview(p.ctx, list); err != nil {
			p.Fatalf("preview: %v", err)
		}
	}
	if p.oneIn(8, "given up") {
		sorry := errors.New("on purpose")
		err := p.db.InTx(p.ctx, func(ctx context.Context, tx postgres.Tx) error {
			_, err := p.ledger.Post(ctx, tx, list)
			return errors.Join(err, sorry)
		})
		if !errors.Is(err, sorry) {
			p.Fatalf("%v", err)
		}
	}
	var results []ledger.Result
	p.inTx(func(ctx context.Context, tx postgres.Tx) error {
		var err error
		results, err = p.ledger.Post(ctx, tx, list)
		return err
	})
	p.judge(list, results)
	p.sameAsPreviewed(preview, results)
}

// judge lets the models carry out the same orders and compares the answers.
func (p *program) judge(list []ledger.Entry, results []ledger.Result) {
	p.Helper()
	now := batchTime(list, results)
	for i := range list {
		e, r := &list[i], &results[i]
		m := p.byOrg[e.OrgID]
		v := m.post(e, r.Entry.ID, now)
		p.met[outcome(e, r)]++
		switch {
		case len(v.codes) == 0 && r.Err != nil:
			p.Fatalf("order %d: %+v\nis refused: %v", i, *e, r.Err)
		case len(v.codes) == 0:
			if !e.ID.IsZero() && e.Target.IsZero() && r.Entry.ID != e.ID {
				p.Fatalf("order %d: has the id %x, not its own", i, r.Entry.ID)
			}
			same(p, "the entry", show(r.Entry), show(v.entry.Recorded))
			same(p, "the balances", showBalances(r.Balances), m.showTouched(v.touched))
		case r.Err == nil || !slices.Contains(v.codes, fault.From(r.Err).Code):
			p.Fatalf("order %d: %+v\nends with %v, want one of %v", i, *e, r.Err, v.codes)
		case v.entry != nil:
			same(p, "the entry that exists", show(r.Entry), show(v.entry.Recorded))
		}
	}
}

func outcome(e *ledger.Entry, r *ledger.Result) string {
	if r.Err != nil {
		return fault.From(r.Err).Code
	}
	return []string{"posts", "holds", "settles", "releases", "reverses"}[e.Action]
}

// batchTime is when a batch was recorded: the first thing that took effect says it.
func batchTime(list []ledger.Entry, results []ledger.Result) time.Time {
	for i, r := range results {
		switch {
		case r.Err != nil:
		case list[i].Target.IsZero() || list[i].Action == ledger.ActionReverse:
			return r.Entry.RecordedAt
		default:
			return r.Entry.Postings[len(r.Entry.Postings)-1].RecordedAt
		}
	}
	return clock.System()
}

// sameAsPreviewed holds that a preview told what then happened, but for ids and times.
func (p *program) sameAsPreviewed(preview, results []ledger.Result) {
	p.Helper()
	for i := range preview {
		before, after := preview[i], results[i]
		if fault.From(before.Err).Code != fault.From(after.Err).Code || before.Entry.State != after.Entry.State {
			p.Fatalf("order %d was previewed to be %v %s, and is %v %s", i, before.Err, before.Entry.State, after.Err, after.Entry.State)
		}
		same(p, "the previewed balances", showBalances(before.Balances), showBalances(after.Balances))
	}
}

// expire sweeps, and expires in the models what has come to its end, the first to expire first.
func (p *program) expire() {
	p.Helper()
	var due []*modelEntry
	for _, m := range p.models {
		for _, e := range m.entries {
			if e.State == ledger.StatePending && !e.ExpiresAt.IsZero() && e.ExpiresAt.Before(p.base) {
				due = append(due, e)
			}
		}
	}
	slices.SortFunc(due, func(a, b *modelEntry) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	n, err := p.ledger.Expire(p.ctx)
	if err != nil || n != len(due) {
		p.Fatalf("%d expired, %v; want %d", n, err, len(due))
	}
	for _, e := range due {
		m := p.byOrg[e.OrgID]
		stored, err := p.ledger.Entry(p.ctx, e.OrgID, e.ID)
		if err != nil {
			p.Fatalf("%v", err)
		}
		expired, _ := m.release(e.ID, true)
		if v := m.carryOut(expired, stored.Postings[len(stored.Postings)-1].RecordedAt); v.codes != nil {
			p.Fatalf("the model cannot expire %+v: %v", e.Recorded, v.codes)
		}
	}
}

func same(p *program, what, got, want string) {
	p.Helper()
	if got != want {
		p.Fatalf("%s is\n%s\nwant\n%s", what, got, want)
	}
}
