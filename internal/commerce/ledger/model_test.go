package ledger_test

import (
	"math/big"
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// model is one organisation's books as the documentation describes them: every account is the list of what moved on it, every
// figure is summed up anew each time, in integers without bounds. It shares nothing with the ledger but its types.
type model struct {
	org      ids.ID
	accounts map[string]*modelAccount
	entries  []*modelEntry
	told     []modelEvent
}

type modelAccount struct {
	id    ids.ID
	terms ledger.NewAccount
	made  time.Time
	moves []move
}

// move is one posting as one of its accounts sees it.
type move struct {
	entry       *modelEntry
	number      int
	phase       ledger.Phase
	debit       bool
	counterpart string
	amount      int64
	recorded    time.Time
	effective   time.Time // zero: when recorded
}

func (m *move) effectiveAt() time.Time {
	if m.effective.IsZero() {
		return m.recorded
	}
	return m.effective
}

// modelEntry is an entry with the lines it has so far.
type modelEntry struct {
	ledger.Recorded
	reversedBy *modelEntry
}

type modelEvent struct {
	kind  string
	entry *modelEntry
	state ledger.State
	lines []ledger.RecordedPosting
}

// totals are debits and credits posted, debits and credits pending.
type totals [4]*big.Int

func (a *modelAccount) totals(counts func(*move) bool) totals {
	t := totals{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
	for i := range a.moves {
		m := &a.moves[i]
		if !counts(m) {
			continue
		}
		side := 1
		if m.debit {
			side = 0
		}
		amount := big.NewInt(m.amount)
		switch m.phase {
		case ledger.PhasePosted:
			t[side].Add(t[side], amount)
		case ledger.PhasePending:
			t[side+2].Add(t[side+2], amount)
		case ledger.PhaseSettled:
			t[side+2].Sub(t[side+2], amount)
			t[side].Add(t[side], amount)
		case ledger.PhaseReleased:
			t[side+2].Sub(t[side+2], amount)
		}
	}
	return t
}

func always(*move) bool { return true }

func (t totals) balance() ledger.Balance {
	return ledger.Balance{DebitsPosted: t[0].Int64(), CreditsPosted: t[1].Int64(), DebitsPending: t[2].Int64(), CreditsPending: t[3].Int64()}
}

// fits tells whether what is posted and pending together stays within 64 bits on either side.
func (t totals) fits() bool {
	return new(big.Int).Add(t[0], t[2]).IsInt64() && new(big.Int).Add(t[1], t[3]).IsInt64()
}

// broken names the bounds that the account breaks.
func (a *modelAccount) broken() []string {
	t := a.totals(always)
	out, in := t[1], t[0]
	outgoing, incoming := t[3], t[2] // asset and expense: credits go out, debits come in
	if a.terms.Type != ledger.Asset && a.terms.Type != ledger.Expense {
		out, in, outgoing, incoming = t[0], t[1], t[2], t[3]
	}
	posted := new(big.Int).Sub(in, out)
	var codes []string
	if a.terms.AvailableMin != nil && new(big.Int).Sub(posted, outgoing).Cmp(big.NewInt(*a.terms.AvailableMin)) < 0 {
		codes = append(codes, "exceeds_available")
	}
	if a.terms.AvailableMax != nil && new(big.Int).Add(posted, incoming).Cmp(big.NewInt(*a.terms.AvailableMax)) > 0 {
		codes = append(codes, "exceeds_available_max")
	}
	return codes
}

func (m *model) entry(id ids.ID) *modelEntry {
	for _, e := range m.entries {
		if e.ID == id {
			return e
		}
	}
	return nil
}

func (m *model) byReference(reference string) *modelEntry {
	for _, e := range m.entries {
		if reference != "" && e.Reference == reference {
			return e
		}
	}
	return nil
}

// held is what each of an entry's own postings still holds, taken is what of each was posted.
func (e *modelEntry) held() (held, taken []int64) {
	own := e.own()
	held, taken = make([]int64, len(own)), make([]int64, len(own))
	for _, l := range e.Postings {
		switch l.Phase {
		case ledger.PhasePosted:
			taken[l.Origin] += l.Amount
		case ledger.PhasePending:
			held[l.Origin] += l.Amount
		case ledger.PhaseSettled:
			held[l.Origin] -= l.Amount
			taken[l.Origin] += l.Amount
		case ledger.PhaseReleased:
			held[l.Origin] -= l.Amount
		}
	}
	return held, taken
}

func (e *modelEntry) own() []ledger.RecordedPosting {
	var own []ledger.RecordedPosting
	for _, l := range e.Postings {
		if l.Number == l.Origin {
			own = append(own, l)
		}
	}
	return own
}

// verdict is what becomes of an order: codes are the refusals that would be right, none when it takes effect. The entry
// is the one it made or changed, or the one that exists.
type verdict struct {
	codes   []string
	entry   *modelEntry
	touched []string
}

func refused(codes ...string) verdict { return verdict{codes: codes} }

// plan is an order that nothing speaks against but the accounts: the lines to add to an entry.
type plan struct {
	entry     *modelEntry // with its new state
	fresh     bool
	reverses  *modelEntry
	lines     []ledger.RecordedPosting
	effective time.Time
	event     string
}

// post carries one order out at a time, wholly or not at all. id is what a new entry is called.
func (m *model) post(e *ledger.Entry, id ids.ID, now time.Time) verdict {
	var p plan
	var no verdict
	switch e.Action {
	case ledger.ActionPost, ledger.ActionHold:
		p, no = m.open(e, id, now)
	case ledger.ActionSettle:
		p, no = m.settle(e, now)
	case ledger.ActionRelease:
		p, no = m.release(e.Target, false)
	case ledger.ActionReverse:
		p, no = m.reverse(e, id, now)
	}
	if no.codes != nil {
		return no
	}
	return m.carryOut(p, now)
}

// carryOut books a plan's lines, unless an account does not allow it.
func (m *model) carryOut(p plan, now time.Time) verdict {
	before := map[*modelAccount]int{}
	touched := m.move(p, now, before)
	var codes []string
	for a := range before {
		if !a.totals(always).fits() {
			codes = []string{"overflow"}
		}
	}
	if codes == nil {
		for a := range before {
			codes = append(codes, a.broken()...)
		}
	}
	if codes != nil {
		for a, n := range before {
			a.moves = a.moves[:n]
		}
		return refused(codes...)
	}
	if p.fresh {
		m.entries = append(m.entries, p.entry)
	} else if kept := m.entry(p.entry.ID); kept != p.entry {
		kept.State, p.entry = p.entry.State, kept
	}
	if p.reverses != nil {
		p.reverses.reversedBy = p.entry
	}
	for i := range p.lines {
		p.lines[i].Number, p.lines[i].RecordedAt = len(p.entry.Postings), now
		if p.fresh {
			p.lines[i].Origin = i
		}
		p.entry.Postings = append(p.entry.Postings, p.lines[i])
	}
	m.told = append(m.told, modelEvent{kind: p.event, entry: p.entry, state: p.entry.State, lines: p.lines})
	return verdict{entry: p.entry, touched: touched}
}

// move puts a plan's lines on its accounts and notes how long their lists were before.
func (m *model) move(p plan, now time.Time, before map[*modelAccount]int) []string {
	entry := p.entry
	if known := m.entry(entry.ID); known != nil {
		entry = known
	}
	var touched []string
	for i, l := range p.lines {
		for _, side := range []struct{ account, other string }{{l.Debit, l.Credit}, {l.Credit, l.Debit}} {
			a := m.accounts[side.account]
			if _, seen := before[a]; !seen {
				before[a] = len(a.moves)
				touched = append(touched, side.account)
			}
			a.moves = append(a.moves, move{
				entry: entry, number: len(entry.Postings) + i, phase: l.Phase, debit: side.account == l.Debit, counterpart: side.other,
				amount: l.Amount, recorded: now, effective: p.effective,
			})
		}
	}
	slices.Sort(touched)
	return touched
}
