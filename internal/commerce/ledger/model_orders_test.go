package ledger_test

import (
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// What speaks against an order before any account is asked, in the order in which it is told: what is wrong with the order
// itself, then what its reference names already, then what it looks for and does not find.

func (m *model) open(e *ledger.Entry, id ids.ID, now time.Time) (plan, verdict) {
	if codes := malformed(e); codes != nil {
		return plan{}, refused(codes...)
	}
	if existing := m.byReference(e.Reference); existing != nil {
		return plan{}, verdict{codes: differences(e, existing), entry: existing}
	}
	p := plan{fresh: true, effective: e.EffectiveAt, event: "posted", entry: &modelEntry{Recorded: ledger.Recorded{
		OrgID: m.org, ID: id, State: ledger.StatePosted, Code: e.Code, Reference: e.Reference, SubjectID: e.SubjectID,
		EffectiveAt: e.EffectiveAt, RecordedAt: now, ExpiresAt: e.ExpiresAt, Metadata: e.Metadata,
	}}}
	phase := ledger.PhasePosted
	if e.Action == ledger.ActionHold {
		phase, p.entry.State, p.event = ledger.PhasePending, ledger.StatePending, "pending"
	}
	var codes []string
	for _, want := range e.Postings {
		debit, credit := m.accounts[want.Debit], m.accounts[want.Credit]
		switch {
		case debit == nil || credit == nil:
			codes = append(codes, "account_not_found")
		case debit.terms.Asset != credit.terms.Asset:
			codes = append(codes, "assets_must_match")
		}
		p.lines = append(p.lines, ledger.RecordedPosting{Phase: phase, Debit: want.Debit, Credit: want.Credit, Amount: want.Amount})
	}
	if codes != nil {
		if m.overflows(p) {
			codes = append(codes, "overflow") // which of the postings is told first is not promised
		}
		return plan{}, refused(codes...)
	}
	return p, verdict{}
}

// overflows tells whether those lines of a plan that can be booked leave the range of an account.
func (m *model) overflows(p plan) bool {
	var bookable []ledger.RecordedPosting
	for _, l := range p.lines {
		if m.accounts[l.Debit] != nil && m.accounts[l.Credit] != nil {
			bookable = append(bookable, l)
		}
	}
	p.lines = bookable
	before := map[*modelAccount]int{}
	m.move(p, time.Time{}, before)
	over := false
	for a, n := range before {
		over = over || !a.totals(always).fits()
		a.moves = a.moves[:n]
	}
	return over
}

func malformed(e *ledger.Entry) []string {
	var codes []string
	if len(e.Postings) < 1 || len(e.Postings) > 100 {
		codes = append(codes, "posting_count")
	}
	if len(e.Code) < 1 || len(e.Code) > 64 || len(e.Reference) > 255 {
		codes = append(codes, "code_invalid")
	}
	if !e.ExpiresAt.IsZero() && e.Action != ledger.ActionHold {
		codes = append(codes, "only_pending_expires")
	}
	for _, p := range e.Postings {
		if p.Amount <= 0 {
			codes = append(codes, "amount_must_be_positive")
		}
		if p.Debit == p.Credit {
			codes = append(codes, "accounts_must_differ")
		}
	}
	return codes
}

// differences are all true answers to an order whose reference is taken.
func differences(e *ledger.Entry, existing *modelEntry) []string {
	var codes []string
	own := existing.own()
	if len(own) != len(e.Postings) {
		codes = append(codes, "exists_with_different_accounts")
	}
	for i := range min(len(own), len(e.Postings)) {
		if own[i].Debit != e.Postings[i].Debit || own[i].Credit != e.Postings[i].Credit {
			codes = append(codes, "exists_with_different_accounts")
		}
		if own[i].Amount != e.Postings[i].Amount {
			codes = append(codes, "exists_with_different_amount")
		}
	}
	if existing.Code != e.Code {
		codes = append(codes, "exists_with_different_code")
	}
	if (own[0].Phase == ledger.PhasePending) != (e.Action == ledger.ActionHold) {
		codes = append(codes, "exists_with_different_state")
	}
	if !existing.EffectiveAt.Equal(e.EffectiveAt) {
		codes = append(codes, "exists_with_different_effective_at")
	}
	if codes == nil {
		codes = []string{"exists"}
	}
	return codes
}

// closed says why nothing can be settled or released.
func (m *model) closed(target ids.ID) (*modelEntry, verdict) {
	e := m.entry(target)
	if e == nil {
		return nil, refused("entry_not_found")
	}
	switch e.State {
	case ledger.StatePosted:
		return nil, refused("entry_already_posted")
	case ledger.StateVoided:
		return nil, refused("entry_already_voided")
	case ledger.StateExpired:
		return nil, refused("entry_expired")
	}
	return e, verdict{}
}

func (m *model) settle(e *ledger.Entry, now time.Time) (plan, verdict) {
	for _, amount := range e.Amounts {
		if amount < 0 {
			return plan{}, refused("amount_must_be_positive")
		}
	}
	t, no := m.closed(e.Target)
	if t == nil {
		return plan{}, no
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now) {
		return plan{}, refused("entry_expired")
	}
	held, _ := t.held()
	amounts := e.Amounts
	if amounts == nil {
		amounts = held
	}
	if len(amounts) != len(held) {
		return plan{}, refused("amount_count")
	}
	sum := int64(0)
	for i, amount := range amounts {
		if amount > held[i] {
			return plan{}, refused("exceeds_pending")
		}
		sum |= amount
	}
	if sum == 0 {
		return plan{}, refused("amount_must_be_positive")
	}
	effective := t.EffectiveAt
	if !e.EffectiveAt.IsZero() {
		effective = e.EffectiveAt
	}
	p := plan{entry: t.as(ledger.StatePosted), effective: effective, event: "settled"}
	for i, own := range t.own() {
		p.add(own, ledger.PhaseSettled, amounts[i])
		if left := held[i] - amounts[i]; left > 0 && e.Keep {
			p.entry.State = ledger.StatePending
		} else {
			p.add(own, ledger.PhaseReleased, left)
		}
	}
	return p, verdict{}
}

// as is a copy of an entry in another state, its lines left out.
func (e *modelEntry) as(state ledger.State) *modelEntry {
	c := *e
	c.State, c.Postings = state, nil
	return &c
}

func (p *plan) add(own ledger.RecordedPosting, phase ledger.Phase, amount int64) {
	if amount > 0 {
		p.lines = append(p.lines, ledger.RecordedPosting{Origin: own.Number, Phase: phase, Debit: own.Debit, Credit: own.Credit, Amount: amount})
	}
}

func (m *model) release(target ids.ID, expired bool) (plan, verdict) {
	t, no := m.closed(target)
	if t == nil {
		return plan{}, no
	}
	held, taken := t.held()
	p := plan{entry: t.as(ledger.StateVoided), effective: t.EffectiveAt, event: "voided"}
	if expired {
		p.entry.State, p.event = ledger.StateExpired, "expired"
	}
	for i, own := range t.own() {
		p.add(own, ledger.PhaseReleased, held[i])
		if taken[i] > 0 {
			p.entry.State, p.event = ledger.StatePosted, "voided"
		}
	}
	return p, verdict{}
}

func (m *model) reverse(e *ledger.Entry, id ids.ID, now time.Time) (plan, verdict) {
	if len(e.Reference) > 255 || len(e.Code) > 64 {
		return plan{}, refused("code_invalid")
	}
	t := m.entry(e.Target)
	if t == nil {
		return plan{}, refused("entry_not_found")
	}
	if existing := m.byReference(e.Reference); existing != nil {
		return plan{}, verdict{codes: reversalDifferences(e, existing), entry: existing}
	}
	if t.State != ledger.StatePosted {
		return plan{}, refused("entry_not_posted")
	}
	if t.reversedBy != nil {
		return plan{}, refused("already_reversed")
	}
	r := &modelEntry{Recorded: ledger.Recorded{
		OrgID: m.org, ID: id, State: ledger.StatePosted, Code: e.Code, Reference: e.Reference, ReversalOf: t.ID, SubjectID: e.SubjectID,
		EffectiveAt: e.EffectiveAt, RecordedAt: now, Metadata: e.Metadata,
	}}
	if r.Code == "" {
		r.Code = t.Code
	}
	if r.SubjectID.IsZero() {
		r.SubjectID = t.SubjectID
	}
	p := plan{fresh: true, reverses: t, entry: r, effective: e.EffectiveAt, event: "posted"}
	_, taken := t.held()
	for i, own := range t.own() {
		if taken[i] > 0 {
			p.lines = append(p.lines, ledger.RecordedPosting{Phase: ledger.PhasePosted, Debit: own.Credit, Credit: own.Debit, Amount: taken[i]})
		}
	}
	return p, verdict{}
}

func reversalDifferences(e *ledger.Entry, existing *modelEntry) []string {
	var codes []string
	if existing.ReversalOf != e.Target {
		codes = append(codes, "exists_with_different_accounts")
	}
	if e.Code != "" && e.Code != existing.Code {
		codes = append(codes, "exists_with_different_code")
	}
	if !existing.EffectiveAt.Equal(e.EffectiveAt) {
		codes = append(codes, "exists_with_different_effective_at")
	}
	if codes == nil {
		codes = []string{"exists"}
	}
	return codes
}
