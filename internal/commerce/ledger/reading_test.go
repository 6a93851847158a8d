package ledger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

// compare reads everything that can be read and compares it with the models.
func (p *program) compare() {
	p.Helper()
	for _, m := range p.models {
		p.compareAccounts(m)
		p.compareEntries(m)
		p.compareEvents(m)
		moments := m.moments()
		for _, code := range p.codes {
			p.compareStatement(m, code, moments)
			p.comparePast(m, m.accounts[code], moments)
		}
	}
}

func (p *program) compareAccounts(m *model) {
	p.Helper()
	var want []string
	for _, a := range m.accounts {
		last := a.made
		for _, moved := range a.moves {
			if moved.recorded.Before(last) && last != a.made {
				p.Fatalf("time went back on %s", a.terms.Code)
			}
			last = moved.recorded
		}
		want = append(want, showAccount(ledger.Account{
			OrgID: m.org, ID: a.id, Code: a.terms.Code, Type: a.terms.Type, Asset: a.terms.Asset, AvailableMin: a.terms.AvailableMin,
			AvailableMax: a.terms.AvailableMax, Balance: a.totals(always).balance(), Version: int64(len(a.moves)), RecordedAt: last, CreatedAt: a.made,
		}))
	}
	slices.Sort(want)
	var got []string
	for _, a := range allPages(p, 'a', func(after paging.Cursor, limit int) ([]ledger.Account, paging.Cursor, error) {
		return p.ledger.ListAccounts(p.ctx, m.org, ledger.AccountFilter{}, after, limit)
	}) {
		one, err := p.ledger.Account(p.ctx, m.org, a.ID)
		if err != nil {
			p.Fatalf("%v", err)
		}
		same(p, "an account alone", showAccount(one), showAccount(a))
		got = append(got, showAccount(a))
	}
	slices.Sort(got)
	same(p, "the list of accounts", strings.Join(got, "\n"), strings.Join(want, "\n"))
	prefix := pick(p, "prefix", "a", "shop", "shop/", "w", "z")
	var found, expected []string
	for _, a := range allPages(p, 'a', func(after paging.Cursor, limit int) ([]ledger.Account, paging.Cursor, error) {
		return p.ledger.ListAccounts(p.ctx, m.org, ledger.AccountFilter{CodePrefix: prefix}, after, limit)
	}) {
		found = append(found, a.Code)
	}
	for code := range m.accounts {
		if strings.HasPrefix(code, prefix) {
			expected = append(expected, code)
		}
	}
	slices.Sort(expected)
	same(p, "the accounts by prefix", fmt.Sprint(found), fmt.Sprint(expected))
}

// allPages reads a list to its end, in pages of a drawn size, the cursor in the form in which callers get it.
func allPages[T any](p *program, list byte, read func(after paging.Cursor, limit int) ([]T, paging.Cursor, error)) []T {
	p.Helper()
	limit := pick(p, "page size", 1, 2, 3, 5, 100)
	var all []T
	for after := (paging.Cursor{}); ; {
		page, next, err := read(after, limit)
		if err != nil {
			p.Fatalf("%v", err)
		}
		if len(page) > limit || len(page) == 0 && !after.IsZero() || !next.IsZero() && len(page) != limit {
			p.Fatalf("a page of %d, limit %d, next %v", len(page), limit, next)
		}
		all = append(all, page...)
		if next.IsZero() {
			return all
		}
		if after, err = paging.Decode(list, next.Encode(list)); err != nil {
			p.Fatalf("%v", err)
		}
	}
}

func (p *program) compareEntries(m *model) {
	p.Helper()
	for _, e := range m.entries {
		got, err := p.ledger.Entry(p.ctx, m.org, e.ID)
		if err != nil {
			p.Fatalf("%v", err)
		}
		same(p, "an entry", show(got), show(e.Recorded))
	}
	filters := []ledger.EntryFilter{{}, p.drawFilter(m), p.drawFilter(m), p.drawFilter(m)}
	for _, f := range filters {
		var got, want []string
		for _, e := range allPages(p, 'e', func(after paging.Cursor, limit int) ([]ledger.Recorded, paging.Cursor, error) {
			return p.ledger.ListEntries(p.ctx, m.org, f, after, limit)
		}) {
			got = append(got, show(e))
		}
		for _, e := range m.newestFirst(&f) {
			if admits(&f, e) {
				want = append(want, show(e.Recorded))
			}
		}
		same(p, fmt.Sprintf("the list of entries by %+v", f), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (p *program) drawFilter(m *model) ledger.EntryFilter {
	var f ledger.EntryFilter
	if p.oneIn(2, "by account") {
		f.Account = pick(p, "account", p.codes...)
	}
	if p.oneIn(2, "by state") {
		f.State = pick(p, "state", ledger.StatePosted, ledger.StatePending, ledger.StateVoided, ledger.StateExpired)
	}
	if p.oneIn(4, "by reference") {
		f.Reference = pick(p, "reference", "r1", "ü", "none")
	}
	if p.oneIn(4, "by subject") {
		f.SubjectID = ids.ID{15: 1}
	}
	if moments := m.moments(); p.oneIn(2, "by time") {
		f.RecordedFrom = pick(p, "from", moments...)
		f.RecordedTo = pick(p, "to", moments...)
	}
	return f
}

func admits(f *ledger.EntryFilter, e *modelEntry) bool {
	onAccount := f.Account == ""
	for _, l := range e.Postings {
		onAccount = onAccount || l.Debit == f.Account || l.Credit == f.Account
	}
	return onAccount && (f.State == "" || e.State == f.State) && (f.Reference == "" || e.Reference == f.Reference) &&
		(f.SubjectID.IsZero() || e.SubjectID == f.SubjectID) && !e.RecordedAt.Before(f.RecordedFrom) &&
		(f.RecordedTo.IsZero() || e.RecordedAt.Before(f.RecordedTo))
}

// newestFirst orders by id, but an account's entries as they came to the account.
func (m *model) newestFirst(f *ledger.EntryFilter) []*modelEntry {
	list := slices.Clone(m.entries)
	slices.SortFunc(list, func(a, b *modelEntry) int {
		if later := b.RecordedAt.Compare(a.RecordedAt); later != 0 && f.Account != "" && f.Reference == "" && f.SubjectID.IsZero() {
			return later
		}
		return bytes.Compare(b.ID[:], a.ID[:])
	})
	return list
}

const eventsSQL = `select e.type, e.aggregateid, e.payload from event e where e.org_id = $1 and e.aggregatetype = 'ledger_entry' order by e.xid, e.id`

// compareEvents holds that each change has told what it changed, in order.
func (p *program) compareEvents(m *model) {
	p.Helper()
	rows, err := p.db.Pool().Query(p.ctx, eventsSQL, m.org)
	if err != nil {
		p.Fatalf("%v", err)
	}
	defer rows.Close()
	var got, want []string
	for rows.Next() {
		var kind string
		var id ids.ID
		var payload struct {
			ID, State, Code, Reference string
			ReversalOf                 string `json:"reversal_of"`
			Postings                   []struct {
				Phase         string
				DebitAccount  string `json:"debit_account"`
				CreditAccount string `json:"credit_account"`
				Amount        int64
			}
		}
		var raw []byte
		if err := rows.Scan(&kind, &id, &raw); err != nil {
			p.Fatalf("%v", err)
		}
		if err := json.Unmarshal(raw, &payload); err != nil {
			p.Fatalf("%v", err)
		}
		line := fmt.Sprintf("%s %s %s %s %q %q %s", kind, ids.Format("ent", id), payload.ID, payload.Code, payload.Reference, payload.ReversalOf, payload.State)
		for _, l := range payload.Postings {
			line += fmt.Sprintf("; %s %s>%s %d", l.Phase, l.DebitAccount, l.CreditAccount, l.Amount)
		}
		got = append(got, line)
	}
	for _, e := range m.told {
		shown := ids.Format("ent", e.entry.ID)
		line := fmt.Sprintf("ledger.entry.%s %s %s %s %q %q %s", e.kind, shown, shown, e.entry.Code, e.entry.Reference, ids.Format("ent", e.entry.ReversalOf), e.state)
		for _, l := range e.lines {
			line += fmt.Sprintf("; %s %s>%s %d", l.Phase, l.Debit, l.Credit, l.Amount)
		}
		want = append(want, line)
	}
	same(p, "the log of events", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

// moments are those at which something changes, and the microseconds beside them.
func (m *model) moments() []time.Time {
	list := []time.Time{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	seen := map[time.Time]bool{}
	for _, code := range slices.Sorted(maps.Keys(m.accounts)) {
		for i := range m.accounts[code].moves {
			moved := &m.accounts[code].moves[i]
			for _, at := range []time.Time{moved.recorded, moved.effectiveAt()} {
				if !seen[at] {
					seen[at] = true
					list = append(list, at, at.Add(-time.Microsecond), at.Add(time.Microsecond))
				}
			}
		}
	}
	return list
}

func (p *program) compareStatement(m *model, code string, moments []time.Time) {
	p.Helper()
	a := m.accounts[code]
	filters := []ledger.StatementFilter{{}}
	if p.oneIn(2, "part of a statement") {
		filters = append(filters, ledger.StatementFilter{From: pick(p, "from", moments...), To: pick(p, "to", moments...)})
	}
	for _, f := range filters {
		var got, want []string
		for _, s := range allPages(p, 's', func(after paging.Cursor, limit int) ([]ledger.StatementLine, paging.Cursor, error) {
			return p.ledger.Statement(p.ctx, m.org, a.id, f, after, limit)
		}) {
			got = append(got, showLine(&s))
		}
		for i := range a.moves {
			moved := &a.moves[i]
			if moved.recorded.Before(f.From) || !f.To.IsZero() && !moved.recorded.Before(f.To) {
				continue
			}
			position := 0
			s := ledger.StatementLine{
				EntryID: moved.entry.ID, EntryCode: moved.entry.Code, Number: moved.number, Phase: moved.phase, Side: "credit", Counterpart: moved.counterpart,
				Amount: moved.amount, Version: int64(i + 1), RecordedAt: moved.recorded, EffectiveAt: moved.effective,
				Balance: a.totals(func(*move) bool { position++; return position <= i+1 }).balance(),
			}
			if moved.debit {
				s.Side = "debit"
			}
			want = append(want, showLine(&s))
		}
		same(p, fmt.Sprintf("the statement of %s, %+v", code, f), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (p *program) comparePast(m *model, a *modelAccount, moments []time.Time) {
	p.Helper()
	for range 5 {
		at := pick(p, "moment", moments...)
		for basis, then := range map[ledger.Basis]func(*move) bool{
			ledger.BasisRecorded:  func(moved *move) bool { return !moved.recorded.After(at) },
			ledger.BasisEffective: func(moved *move) bool { return !moved.effectiveAt().After(at) },
		} {
			got, _, err := p.ledger.BalanceAt(p.ctx, m.org, a.id, at, basis)
			if want := a.totals(then).balance(); err != nil || got != want {
				p.Fatalf("%s by %s date at %s: %+v, %v; want %+v", a.terms.Code, basis, at, got, err, want)
			}
		}
	}
}
