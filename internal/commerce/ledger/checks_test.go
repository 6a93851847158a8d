package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/proof"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// ledgerBooks are books with some of everything in them, of two organisations.
type ledgerBooks struct {
	t      *testing.T
	db     *postgres.DB
	ledger *ledger.Ledger
	org    ids.ID
}

func newBooks(t *testing.T) *ledgerBooks {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	b := &ledgerBooks{t: t, db: db, ledger: ledger.New(db, events.New(db, source), source)}
	for range 2 {
		b.org = source.New()
		b.fill()
	}
	return b
}

func (b *ledgerBooks) fill() {
	b.t.Helper()
	none, much := int64(0), int64(1_000_000)
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := b.ledger.CreateAccounts(ctx, tx, []ledger.NewAccount{
			{OrgID: b.org, Code: "cash", Type: ledger.Asset, Asset: "EUR", AvailableMin: &none, AvailableMax: &much},
			{OrgID: b.org, Code: "equity", Type: ledger.Equity, Asset: "EUR"},
			{OrgID: b.org, Code: "sales", Type: ledger.Income, Asset: "EUR"},
			{OrgID: b.org, Code: "stock", Type: ledger.Asset, Asset: "ITEM"},
			{OrgID: b.org, Code: "goods", Type: ledger.Equity, Asset: "ITEM"},
		})
		return err
	})
	deposit := ledger.Entry{Code: "deposit", Postings: []ledger.Posting{{Debit: "cash", Credit: "equity", Amount: 1000}, {Debit: "stock", Credit: "goods", Amount: 3}}}
	hold := ledger.Entry{Code: "hold", Action: ledger.ActionHold, Postings: []ledger.Posting{{Debit: "cash", Credit: "sales", Amount: 50}, {Debit: "equity", Credit: "cash", Amount: 20}}}
	lapsing := hold
	lapsing.ExpiresAt = clock.System().Add(-time.Hour)
	late := deposit
	late.EffectiveAt = clock.System().Add(-24 * time.Hour)
	made := b.post(deposit, late, hold, hold, hold, hold, hold, lapsing, lapsing)
	act := func(action ledger.Action, n int) ledger.Entry { return ledger.Entry{Action: action, Target: made[n]} }
	part := act(ledger.ActionSettle, 2)
	part.Amounts, part.Keep = []int64{30, 0}, true
	b.post(part, act(ledger.ActionSettle, 3), act(ledger.ActionRelease, 4))
	part.Amounts, part.Keep = []int64{5, 20}, false
	b.post(part, act(ledger.ActionReverse, 0), act(ledger.ActionReverse, 3))
	part = act(ledger.ActionSettle, 5)
	part.Amounts, part.Keep = []int64{10, 10}, true
	b.post(part)
	if _, err := b.ledger.Expire(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *ledgerBooks) inTx(body func(ctx context.Context, tx postgres.Tx) error) {
	b.t.Helper()
	if err := b.db.InTx(b.t.Context(), body); err != nil {
		b.t.Fatal(err)
	}
}

func (b *ledgerBooks) post(list ...ledger.Entry) []ids.ID {
	b.t.Helper()
	made := make([]ids.ID, len(list))
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		for i := range list {
			list[i].OrgID = b.org
		}
		results, err := b.ledger.Post(ctx, tx, list)
		for i, r := range results {
			if r.Err != nil {
				b.t.Errorf("entry %d: %v", i, r.Err)
			}
			made[i] = r.Entry.ID
		}
		return err
	})
	return made
}

// failed damages the books, names the checks that find something, and takes the damage back.
func (b *ledgerBooks) failed(damage ...string) (names []string, report proof.Report) {
	b.t.Helper()
	err := b.db.DryRun(b.t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		for _, statement := range damage {
			tag, err := tx.Exec(ctx, statement)
			if err == nil && tag.RowsAffected() == 0 && tag.String() != "ALTER TABLE" {
				err = errors.New("it damages nothing")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		var err error
		report, err = proof.RunIn(ctx, tx, clock.System, []proof.Part{ledger.Proof()}, nil)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range report.Failed() {
		names = append(names, c.Name)
		b.t.Logf("%s: %d, such as %s %s", c.Name, c.Violations, c.First[0].ID, c.First[0].Detail)
	}
	return names, report
}

func TestSoundBooksPassEveryCheck(t *testing.T) {
	t.Parallel()
	names, report := newBooks(t).failed()
	if len(names) > 0 || !report.OK {
		t.Errorf("%v", names)
	}
	for _, r := range report.Records {
		if r.Count == 0 {
			t.Errorf("no %s were looked at", r.Name)
		}
	}
}

// One posting, so that a damage hits one.
const aPosting = ` where (entry_id, number) = (select entry_id, number from ledger_posting order by entry_id, number limit 1)`

// anEntry is one hold that came to this.
func anEntry(state string) string {
	return ` where id = (select id from ledger_entry where code = 'hold' and state = '` + state + `' order by id limit 1)`
}

func TestDamagedBooksAreReported(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for name, c := range map[string]struct {
		damage []string
		want   []string
	}{
		"a changed balance": {
			[]string{`update ledger_account set debits_posted = debits_posted + 1 where id = (select id from ledger_account where code = 'sales' limit 1)`},
			[]string{"ledger.accounts.totals", "ledger.assets.balance"},
		},
		"two changed balances that even out": {
			[]string{`update ledger_account set debits_posted = debits_posted + 1, credits_posted = credits_posted + 1 where id = (select id from ledger_account where code = 'sales' limit 1)`},
			[]string{"ledger.accounts.totals"},
		},
		"a changed version": {
			[]string{`update ledger_account set version = version + 1 where id = (select id from ledger_account where code = 'sales' limit 1)`},
			[]string{"ledger.accounts.totals"},
		},
		"a changed amount": {
			[]string{`update ledger_posting set amount = amount + 1 where (entry_id, number) = (select p.entry_id, p.number from ledger_posting p join ledger_entry e on e.id = p.entry_id where e.code = 'deposit' and e.effective_at is not null limit 1)`},
			[]string{"ledger.accounts.totals", "ledger.accounts.chain", "ledger.events.complete"},
		},
		"a changed amount of a reversed entry": {
			[]string{`update ledger_posting set amount = amount + 1 where (entry_id, number) = (select p.entry_id, p.number from ledger_posting p join ledger_entry e on e.reversal_of = p.entry_id where e.code = 'deposit' limit 1)`},
			[]string{"ledger.reversals.opposite", "ledger.accounts.totals", "ledger.accounts.chain", "ledger.events.complete"},
		},
		"a changed running balance": {
			[]string{`update ledger_posting set credit_credits_posted = credit_credits_posted + 1` + aPosting},
			[]string{"ledger.accounts.chain"},
		},
		"a changed running hold": {
			[]string{`update ledger_posting set debit_debits_pending = debit_debits_pending + 1` + aPosting},
			[]string{"ledger.accounts.chain"},
		},
		"a gap in the versions": {
			[]string{`update ledger_posting p set debit_version = debit_version + 1 where debit_version = (select max(version) from ledger_account a where a.id = p.debit_account_id) and phase = 'released'`},
			[]string{"ledger.accounts.chain"},
		},
		"time that goes back": {
			// The event goes along, as it would if the time had been wrong from the start.
			[]string{`with moved as (
				update ledger_posting set recorded_at = recorded_at - interval '1 day'
				where entry_id = (select id from ledger_entry where code = 'deposit' and effective_at is not null limit 1) returning org_id, entry_id)
				update event e set recorded_at = recorded_at - interval '1 day' from moved m where e.org_id = m.org_id and e.aggregateid = m.entry_id`},
			[]string{"ledger.postings.placed", "ledger.accounts.chain"},
		},
		"a posting that is gone": {
			[]string{`delete from ledger_posting where (entry_id, number) = (select p.entry_id, 1 from ledger_posting p join ledger_entry e on e.id = p.entry_id where e.code = 'deposit' and e.effective_at is not null limit 1)`},
			[]string{"ledger.entries.complete", "ledger.accounts.totals", "ledger.accounts.chain", "ledger.events.complete"},
		},
		"an entry without postings": {
			[]string{`insert into ledger_entry (org_id, id, state, code, posting_count, recorded_at) select org_id, gen_random_uuid(), 'posted', 'x', 1, now() from ledger_entry limit 1`},
			[]string{"ledger.entries.complete"},
		},
		"postings that are numbered with a gap": {
			[]string{`update ledger_posting set number = number + 1 where (entry_id, number) = (select entry_id, max(number) from ledger_posting group by entry_id having bool_or(phase = 'released') limit 1)`},
			[]string{"ledger.entries.complete"},
		},
		"an entry that is gone": {
			[]string{`delete from ledger_entry where id = (select id from ledger_entry where code = 'deposit' and effective_at is not null limit 1)`},
			[]string{"ledger.postings.placed", "ledger.events.grounded"},
		},
		"an account that is gone": {
			[]string{`delete from ledger_account where id = (select id from ledger_account where code = 'stock' limit 1)`},
			[]string{"ledger.postings.placed", "ledger.assets.balance", "ledger.events.opened"},
		},
		"accounts of two assets": {
			[]string{
				`update ledger_account set asset = 'EUR', scale = 2 where org_id = (select org_id from ledger_account limit 1) and code = 'goods'`,
			},
			[]string{"ledger.postings.placed", "ledger.assets.balance", "ledger.events.opened"},
		},
		"a pending entry said to be posted": {
			[]string{`update ledger_entry set state = 'posted'` + anEntry("pending")},
			[]string{"ledger.entries.state", "ledger.accounts.pending"},
		},
		"a posted entry said to be pending": {
			[]string{`update ledger_entry set state = 'pending'` + anEntry("posted") + ` and not exists (select from ledger_entry r where r.reversal_of = ledger_entry.id)`},
			[]string{"ledger.entries.state"},
		},
		"a voided entry said to have expired": {
			[]string{`update ledger_entry set state = 'expired'` + anEntry("voided")},
			[]string{"ledger.entries.state"},
		},
		"a release of another line": {
			[]string{`update ledger_posting set debit_account_id = credit_account_id, credit_account_id = debit_account_id, debit_version = credit_version, credit_version = debit_version,
				debit_debits_posted = credit_debits_posted, debit_credits_posted = credit_credits_posted, debit_debits_pending = credit_debits_pending, debit_credits_pending = credit_credits_pending,
				credit_debits_posted = debit_debits_posted, credit_credits_posted = debit_credits_posted, credit_debits_pending = debit_debits_pending, credit_credits_pending = debit_credits_pending
				where (entry_id, number) = (select entry_id, number from ledger_posting where phase = 'released' order by 1, 2 limit 1)`},
			[]string{"ledger.holds.origin", "ledger.accounts.totals", "ledger.accounts.chain"},
		},
		"lines that settle what they did not hold": {
			[]string{`update ledger_posting set origin = 1 - origin where entry_id = (select entry_id from ledger_posting where phase = 'released' order by 1 limit 1) and phase = 'released'`},
			[]string{"ledger.holds.origin"},
		},
		"a release of more than was held": {
			[]string{`update ledger_posting set amount = amount + 1 where (entry_id, number) = (select entry_id, number from ledger_posting where phase = 'released' order by 1, 2 limit 1)`},
			[]string{"ledger.entries.state", "ledger.holds.origin", "ledger.accounts.totals", "ledger.accounts.chain", "ledger.events.complete"},
		},
		"a reversal of what was not posted": {
			[]string{
				`update ledger_entry set reversal_of = (select v.id from ledger_entry v where v.org_id = ledger_entry.org_id and v.state = 'voided' limit 1) where id = (select id from ledger_entry where reversal_of is not null limit 1)`,
			},
			[]string{"ledger.reversals.opposite"},
		},
		"a changed pending total": {
			[]string{`update ledger_account set debits_pending = debits_pending + 1 where id = (select id from ledger_account where code = 'cash' limit 1)`},
			[]string{"ledger.accounts.totals", "ledger.accounts.pending", "ledger.assets.balance"},
		},
		"a bound that does not hold": {
			[]string{
				`alter table ledger_account drop constraint ledger_account_available_max`,
				`update ledger_account set available_max = 1 where id = (select id from ledger_account where code = 'cash' limit 1)`,
			},
			[]string{"ledger.accounts.bounds", "ledger.events.opened"},
		},
		"an account of another date": {
			[]string{`update ledger_account set recorded_at = recorded_at + interval '1 hour' where id = (select id from ledger_account where code = 'cash' limit 1)`},
			[]string{"ledger.accounts.totals"},
		},
		"an account of another type": {
			[]string{`update ledger_account set type = 'expense' where id = (select id from ledger_account where code = 'stock' limit 1)`},
			[]string{"ledger.events.opened"},
		},
		"an account of another code": {
			[]string{`update ledger_account set code = 'purse' where id = (select id from ledger_account where code = 'cash' limit 1)`},
			[]string{"ledger.events.opened"},
		},
		"a bound that is gone": {
			[]string{`update ledger_account set available_min = null where id = (select id from ledger_account where code = 'cash' limit 1)`},
			[]string{"ledger.events.opened"},
		},
		"an entry of another date": {
			[]string{`update ledger_entry set recorded_at = recorded_at - interval '1 day'` + anEntry("posted")},
			[]string{"ledger.postings.placed"},
		},
		"an entry that is effective at another time": {
			[]string{`update ledger_entry set effective_at = recorded_at - interval '1 day'` + anEntry("posted")},
			[]string{"ledger.postings.placed"},
		},
		"a posting that is effective at another time": {
			[]string{`update ledger_posting set effective_at = recorded_at - interval '1 day' where (entry_id, number) = (select entry_id, number from ledger_posting where phase = 'pending' order by 1, 2 limit 1)`},
			[]string{"ledger.postings.placed"},
		},
		"an event that is told twice": {
			[]string{`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
				select org_id, (left(id::text, 24) || 'ffffffffffff')::uuid, aggregatetype, aggregateid, type, payload, recorded_at
				from event where type = 'ledger.entry.settled' limit 1`},
			[]string{"ledger.events.complete"},
		},
		"an event that tells of another amount": {
			[]string{`update event set payload = replace(payload::text, '"amount":', '"amount":1')::json where id = (select id from event where type = 'ledger.entry.posted' limit 1)`},
			[]string{"ledger.events.complete"},
		},
		"an event that is gone": {
			[]string{`delete from event where id = (select id from event where type = 'ledger.entry.settled' limit 1)`},
			[]string{"ledger.events.complete"},
		},
		"an account that nobody was told of": {
			[]string{`delete from event where id = (select id from event where type = 'ledger.account.created' limit 1)`},
			[]string{"ledger.events.opened"},
		},
		"an account that was told of and never made": {
			[]string{`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
				select org_id, (left(id::text, 24) || 'ffffffffffff')::uuid, aggregatetype, gen_random_uuid(), type, payload, recorded_at
				from event where type = 'ledger.account.created' limit 1`},
			[]string{"ledger.events.opened"},
		},
		"an event about nothing": {
			[]string{`insert into event (org_id, id, aggregatetype, aggregateid, type, payload, recorded_at)
				select org_id, (left(id::text, 24) || 'ffffffffffff')::uuid, aggregatetype, gen_random_uuid(), type, payload, recorded_at
				from event where aggregatetype = 'ledger_entry' limit 1`},
			[]string{"ledger.events.complete", "ledger.events.grounded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			if got, _ := b.failed(c.damage...); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
