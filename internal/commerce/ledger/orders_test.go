package ledger_test

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// order draws one order: mostly one that makes sense.
func (p *program) order() ledger.Entry {
	m := p.models[0]
	if p.oneIn(4, "the other organisation") {
		m = p.models[1]
	}
	e := ledger.Entry{OrgID: m.org, Action: pick(p, "action", ledger.ActionPost, ledger.ActionPost, ledger.ActionHold, ledger.ActionHold,
		ledger.ActionHold, ledger.ActionSettle, ledger.ActionSettle, ledger.ActionSettle, ledger.ActionRelease, ledger.ActionReverse)}
	if len(p.orders) > 0 && p.oneIn(8, "again") {
		return p.again(e.Action)
	}
	if e.Action != ledger.ActionPost && e.Action != ledger.ActionHold && len(m.entries)+len(p.asked) == 0 {
		e.Action = ledger.ActionHold // there is nothing yet to settle or to reverse
	}
	switch e.Action {
	case ledger.ActionPost, ledger.ActionHold:
		p.drawNew(&e)
	case ledger.ActionSettle:
		e.Target, e.Keep, e.EffectiveAt = p.target(m, ledger.StatePending), p.oneIn(2, "keep"), p.date(8)
		if p.oneIn(2, "amounts") {
			e.Amounts = p.amounts(m, e.Target)
		}
	case ledger.ActionRelease:
		e.Target = p.target(m, ledger.StatePending)
	case ledger.ActionReverse:
		e.Target, e.Reference, e.EffectiveAt = p.target(m, ledger.StatePosted), p.reference(), p.date(4)
		if p.oneIn(4, "code") {
			e.Code = "undo"
		}
		p.callIt(&e)
	}
	return e
}

// callIt gives a new entry an id, or leaves that to the ledger.
func (p *program) callIt(e *ledger.Entry) {
	if !p.oneIn(4, "unnamed") {
		e.ID = p.source.New()
		if p.oneIn(4, "made by a node whose clock is behind") {
			e.ID = p.behind.New()
		}
	}
	if e.Reference != "" {
		p.orders = append(p.orders, *e)
	}
}

func (p *program) drawNew(e *ledger.Entry) {
	e.Code = pick(p, "code", "sale", "sale", "sale", "fee")
	for range pick(p, "postings", 1, 1, 2, 3, 4) {
		debit, credit := p.accounts()
		e.Postings = append(e.Postings, ledger.Posting{Debit: debit, Credit: credit, Amount: p.amount()})
	}
	e.Reference, e.EffectiveAt = p.reference(), p.date(4)
	if e.Action == ledger.ActionHold || p.oneIn(32, "expiring at once") {
		switch p.below(6, "expiry") {
		case 4:
			e.ExpiresAt = p.base.Add(time.Hour)
		case 5:
			p.spent += time.Millisecond
			e.ExpiresAt = p.base.Add(p.spent - time.Hour)
		}
	}
	if p.oneIn(4, "metadata") {
		e.Metadata = []byte(`{"order":"42","note":"ü ☃"}`)
	}
	if p.oneIn(4, "subject") {
		e.SubjectID = ids.ID{15: byte(1 + p.below(2, "subject"))}
	}
	if p.oneIn(64, "malformed") {
		p.malform(e)
	}
	p.callIt(e)
}

// malform makes an order wrong in itself.
func (p *program) malform(e *ledger.Entry) {
	switch p.below(5, "malformed") {
	case 0:
		e.Postings = nil
	case 1:
		for len(e.Postings) <= ledger.PostingsMax {
			e.Postings = append(e.Postings, e.Postings[0])
		}
	case 2:
		e.Code = ""
	case 3:
		e.Code = strings.Repeat("c", 65)
	case 4:
		e.Reference = strings.Repeat("r", 256)
	}
}

// again is an earlier order under its reference, whole or with one thing changed.
func (p *program) again(action ledger.Action) ledger.Entry {
	e := p.orders[p.below(len(p.orders), "earlier order")]
	e.ID = ids.ID{}
	e.Postings = slices.Clone(e.Postings)
	reverses := e.Action == ledger.ActionReverse
	switch p.below(12, "changed") {
	case 1:
		e.Code = "other"
	case 2:
		e.EffectiveAt = p.date(1)
	case 3:
		if !reverses {
			e.Action, e.ExpiresAt = ledger.ActionHold-e.Action, time.Time{}
		}
	case 4:
		if len(e.Postings) > 0 {
			e.Postings[len(e.Postings)-1].Amount++
		}
	case 5:
		if len(e.Postings) > 0 {
			e.Postings[0].Debit, e.Postings[0].Credit = p.accounts()
		}
	case 6:
		e.OrgID = p.models[1].org
	case 7:
		if len(e.Postings) > 0 {
			e.Postings = append(e.Postings, e.Postings[0])
		}
	case 8:
		if reverses {
			e.Target = p.target(p.byOrg[e.OrgID], ledger.StatePosted)
		} else if action == ledger.ActionReverse {
			e = ledger.Entry{OrgID: e.OrgID, Action: action, Reference: e.Reference, Target: p.target(p.byOrg[e.OrgID], ledger.StatePosted)}
		}
	}
	return e
}

// accounts are mostly two different ones that there are.
func (p *program) accounts() (debit, credit string) {
	i := p.below(len(p.codes), "debit account")
	j := (i + 1 + p.below(len(p.codes)-1, "credit account")) % len(p.codes)
	debit, credit = p.codes[i], p.codes[j]
	if p.oneIn(32, "odd account") {
		return debit, pick(p, "odd account", debit, "nobody", "", "WALLET")
	}
	return debit, credit
}

func (p *program) amount() int64 {
	if p.oneIn(32, "odd amount") {
		return pick[int64](p, "odd amount", math.MaxInt64, math.MaxInt64-1, math.MaxInt64-20, math.MaxInt64/2+1, math.MaxInt64/2, 0, -1, math.MinInt64)
	}
	return 1 + int64(p.below(20, "amount"))
}

// amounts to settle of an entry: something from nothing to more than there is.
func (p *program) amounts(m *model, target ids.ID) []int64 {
	var held []int64
	if e := m.entry(target); e != nil {
		held, _ = e.held()
	} else {
		held = []int64{5}
	}
	for i, n := range held {
		held[i] = pick(p, "settled amount", 0, n, n, n, n/2, min(n, 1), n+1)
	}
	if p.oneIn(8, "odd amounts") {
		odd := p.below(len(held), "odd amount")
		switch p.below(4, "odd amounts") {
		case 0:
			held[odd] = -1
		case 1:
			held[odd] = math.MaxInt64
		case 2:
			return append(held, 1)
		case 3:
			return held[:odd]
		}
	}
	return held
}

func (p *program) reference() string {
	if !p.oneIn(2, "referenced") {
		return ""
	}
	return pick(p, "reference", "r1", "r2", "r3", "R1", "ü", "r1 ", "4", "5", "6", "7", "8", "9")
}

// date is mostly none, else before or after today.
func (p *program) date(n int) time.Time {
	if n > 1 && !p.oneIn(n, "dated") {
		return time.Time{}
	}
	return p.base.Add(pick(p, "date", -48*time.Hour, -24*time.Hour, 24*time.Hour, 48*time.Hour))
}

// target is mostly an entry in the given state, or one that the same batch asked for.
func (p *program) target(m *model, state ledger.State) ids.ID {
	var fitting, all []ids.ID
	for _, e := range m.entries {
		if all = append(all, e.ID); e.State == state {
			fitting = append(fitting, e.ID)
		}
	}
	var asked []ids.ID
	for _, e := range p.asked {
		if e.OrgID == m.org && !e.ID.IsZero() {
			asked = append(asked, e.ID)
		}
	}
	choices := [][]ids.ID{all}
	if len(fitting) > 0 {
		choices = append(choices, fitting, fitting, fitting, fitting)
	}
	if len(asked) > 0 {
		choices = append(choices, asked)
	}
	if p.oneIn(32, "odd target") {
		choices = [][]ids.ID{{{}}, {{15: 1}}}
		for _, other := range p.models {
			for _, e := range other.entries {
				choices = append(choices, []ids.ID{e.ID})
			}
		}
	}
	from := choices[p.below(len(choices), "target")]
	if len(from) == 0 {
		return ids.ID{15: 1}
	}
	return from[p.below(len(from), "target")]
}
