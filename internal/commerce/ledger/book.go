package ledger

import (
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/money"
)

// book applies entries in memory to the accounts that were locked for them, or guessed at. It is the whole rule of the
// ledger: no ctx, no tx, no clock. What was locked is the truth until the transaction ends; where a guess is not, nothing of it
// takes effect (updateGuessedSQL).
type book struct {
	now        time.Time
	newID      func() ids.ID
	byCode     map[accountKey]*accountState
	byID       map[entryKey]*accountState
	targets    map[entryKey]*targetState
	references map[referenceKey]*targetState

	touched  []*accountState // in the order of their first use
	entries  []*targetState  // new, in order
	settled  []*targetState  // loaded, and changed
	postings []postingRow
	steps    []step

	undo     undoLog
	visit    *visit     // nil: nothing is remembered
	reckoned *time.Time // nil: the time was asked for
}

type accountKey struct {
	org  ids.ID
	code string
}

type entryKey struct{ org, id ids.ID }

type referenceKey struct {
	org       ids.ID
	reference string
}

// targetState is an entry with its lines, as loaded or as made in this batch.
type targetState struct {
	Recorded
	lines    []line
	reversed bool
	fresh    bool // made in this batch
	changed  bool // loaded, and to be written
}

// line is a recorded posting with its accounts.
type line struct {
	number, origin int
	phase          Phase
	amount         int64
	debit, credit  *accountState
	recordedAt     time.Time
	effectiveAt    time.Time // zero: when it was recorded
}

// postingRow is a line to be written, with the balances after it.
type postingRow struct {
	entry                       *targetState
	line                        line
	debitVersion, creditVersion int64
	debitAfter, creditAfter     Balance
}

// step is what one order did: its postings, from the step's before it up to its own end, and the state it left.
type step struct {
	entry *targetState
	state State
	end   int
}

// undoLog takes one entry's effects back when it turns out that it must not be.
type undoLog struct {
	accounts []accountUndo
	touched  int
	entries  int
	settled  int
	postings int
	target   *targetState
	before   targetState
}

type accountUndo struct {
	account *accountState
	balance Balance
	version int64
}

// apply carries out one entry, wholly or not at all.
func (b *book) apply(e *Entry) Result {
	b.undo = undoLog{
		accounts: b.undo.accounts[:0], touched: len(b.touched),
		entries: len(b.entries), settled: len(b.settled), postings: len(b.postings),
	}
	target, err := b.act(e)
	if err != nil {
		b.rollback()
		result := Result{Err: err}
		if target != nil { // the entry that has this reference
			result.Entry = target.shown()
		}
		return result
	}
	if err := b.checkBounds(); err != nil {
		b.rollback()
		return Result{Err: err}
	}
	b.steps = append(b.steps, step{entry: target, state: target.State, end: len(b.postings)})
	return Result{Entry: target.shown(), Balances: b.balances()}
}

func (b *book) act(e *Entry) (*targetState, error) {
	switch e.Action {
	case ActionPost, ActionHold:
		return b.open(e)
	case ActionReverse:
		return b.reverse(e)
	default:
		return b.close(e)
	}
}

// open makes a new entry.
func (b *book) open(e *Entry) (*targetState, error) {
	if e.Reference != "" {
		if existing := b.references[referenceKey{e.OrgID, e.Reference}]; existing != nil {
			return existing, compare(e, existing)
		}
	}
	state, phase := StatePosted, PhasePosted
	if e.Action == ActionHold {
		state, phase = StatePending, PhasePending
	}
	t := b.newEntry(e, state)
	for i, p := range e.Postings {
		debit, credit := b.byCode[accountKey{e.OrgID, p.Debit}], b.byCode[accountKey{e.OrgID, p.Credit}]
		if debit == nil {
			return nil, notFound(p.Debit)
		}
		if credit == nil {
			return nil, notFound(p.Credit)
		}
		if debit.Asset != credit.Asset {
			return nil, ErrAssetsMustMatch.At("postings")
		}
		if err := b.move(t, line{number: i, origin: i, phase: phase, amount: p.Amount, debit: debit, credit: credit, effectiveAt: e.EffectiveAt}); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func notFound(code string) error {
	return fault.New(fault.NotFound, ErrAccountNotFound.Code, "There is no account %q.", code).At("postings")
}

func (b *book) newEntry(e *Entry, state State) *targetState {
	id := e.ID
	if id.IsZero() {
		id = b.newID()
	}
	t := &targetState{fresh: true, Recorded: Recorded{
		OrgID: e.OrgID, ID: id, State: state, Code: e.Code, Reference: e.Reference, SubjectID: e.SubjectID,
		EffectiveAt: e.EffectiveAt, RecordedAt: b.now, ExpiresAt: e.ExpiresAt, Metadata: e.Metadata,
	}}
	b.entries = append(b.entries, t)
	b.targets[entryKey{e.OrgID, id}] = t
	if e.Reference != "" {
		b.references[referenceKey{e.OrgID, e.Reference}] = t
	}
	return t
}

// compare says in what an order differs from the entry that has its reference.
func compare(e *Entry, existing *targetState) error {
	lines := existing.origins()
	if len(lines) != len(e.Postings) {
		return ErrExistsOtherAccount
	}
	for i, p := range e.Postings {
		if lines[i].debit.Code != p.Debit || lines[i].credit.Code != p.Credit {
			return ErrExistsOtherAccount
		}
		if lines[i].amount != p.Amount {
			return ErrExistsOtherAmount
		}
	}
	switch {
	case existing.Code != e.Code:
		return ErrExistsOtherCode
	case (lines[0].phase == PhasePending) != (e.Action == ActionHold):
		return ErrExistsOtherState
	case !existing.EffectiveAt.Equal(e.EffectiveAt):
		return ErrExistsOtherDate
	default:
		return ErrExists
	}
}

// close settles or releases a pending entry.
func (b *book) close(e *Entry) (*targetState, error) {
	t := b.targets[entryKey{e.OrgID, e.Target}]
	if err := pending(t, b.now, e.Action); err != nil {
		return nil, err
	}
	left := t.remaining()
	amounts, err := settleAmounts(e, left)
	if err != nil {
		return nil, err
	}
	b.remember(t)
	if !t.fresh && !t.changed {
		t.changed = true
		b.settled = append(b.settled, t)
	}
	effective := t.EffectiveAt
	if !e.EffectiveAt.IsZero() {
		effective = e.EffectiveAt
	}
	open := false
	for i, origin := range t.origins() {
		if amounts[i] > 0 {
			if err := b.move(t, t.next(origin, PhaseSettled, amounts[i], effective)); err != nil {
				return nil, err
			}
		}
		rest := left[i] - amounts[i]
		switch {
		case rest == 0:
		case e.Keep:
			open = true
		default:
			if err := b.move(t, t.next(origin, PhaseReleased, rest, effective)); err != nil {
				return nil, err
			}
		}
	}
	if !open {
		t.State = t.closedAs(e.Action)
	}
	return t, nil
}

// pending says why an entry cannot be settled or released.
func pending(t *targetState, now time.Time, action Action) error {
	switch {
	case t == nil:
		return ErrEntryNotFound
	case t.State == StatePosted:
		return ErrAlreadyPosted
	case t.State == StateVoided:
		return ErrAlreadyVoided
	case t.State == StateExpired:
		return ErrExpired
	case action == ActionSettle && !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return ErrExpired
	default:
		return nil
	}
}

func settleAmounts(e *Entry, left []int64) ([]int64, error) {
	if e.Action != ActionSettle {
		return make([]int64, len(left)), nil
	}
	if e.Amounts == nil {
		return left, nil
	}
	if len(e.Amounts) != len(left) {
		return nil, ErrAmountCount.At("amounts")
	}
	some := false
	for i, amount := range e.Amounts {
		if amount > left[i] {
			return nil, ErrExceedsPending.At("amounts")
		}
		some = some || amount > 0
	}
	if !some {
		return nil, ErrAmountNotPositive.At("amounts")
	}
	return e.Amounts, nil
}

// reverse books the opposite of what an entry posted.
func (b *book) reverse(e *Entry) (*targetState, error) {
	t := b.targets[entryKey{e.OrgID, e.Target}]
	if t == nil {
		return nil, ErrEntryNotFound
	}
	if e.Reference != "" {
		if existing := b.references[referenceKey{e.OrgID, e.Reference}]; existing != nil {
			return existing, compareReversal(e, existing)
		}
	}
	switch {
	case t.State != StatePosted:
		return nil, ErrNotPosted
	case t.reversed:
		return nil, ErrAlreadyReversed
	}
	order := *e
	if order.Code == "" {
		order.Code = t.Code
	}
	if order.SubjectID.IsZero() {
		order.SubjectID = t.SubjectID
	}
	b.remember(t)
	t.reversed = true
	r := b.newEntry(&order, StatePosted)
	r.ReversalOf = t.ID
	for i, amount := range t.posted() {
		if amount == 0 {
			continue
		}
		l, number := &t.lines[i], len(r.lines)
		back := line{number: number, origin: number, phase: PhasePosted, amount: amount, debit: l.credit, credit: l.debit, effectiveAt: e.EffectiveAt}
		if err := b.move(r, back); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// compareReversal says in what an order to reverse differs from the entry that has its reference.
func compareReversal(e *Entry, existing *targetState) error {
	switch {
	case existing.ReversalOf != e.Target:
		return ErrExistsOtherAccount
	case e.Code != "" && existing.Code != e.Code:
		return ErrExistsOtherCode
	case !existing.EffectiveAt.Equal(e.EffectiveAt):
		return ErrExistsOtherDate
	default:
		return ErrExists
	}
}

// move applies one line to its two accounts and keeps it for writing.
func (b *book) move(t *targetState, l line) error {
	l.recordedAt = b.now
	b.touch(l.debit)
	b.touch(l.credit)
	if err := shift(&l.debit.Balance.DebitsPosted, &l.debit.Balance.DebitsPending, l.phase, l.amount); err != nil {
		return err
	}
	if err := shift(&l.credit.Balance.CreditsPosted, &l.credit.Balance.CreditsPending, l.phase, l.amount); err != nil {
		return err
	}
	l.debit.Version++
	l.credit.Version++
	t.lines = append(t.lines, l)
	b.postings = append(b.postings, postingRow{
		entry: t, line: l,
		debitVersion: l.debit.Version, creditVersion: l.credit.Version,
		debitAfter: l.debit.Balance, creditAfter: l.credit.Balance,
	})
	return nil
}

// shift moves an amount into, between or out of the posted and pending totals of one side.
func shift(posted, pending *int64, phase Phase, amount int64) error {
	var err error
	if phase == PhaseSettled || phase == PhaseReleased {
		*pending -= amount
	}
	if phase == PhasePending {
		*pending, err = money.Add(*pending, amount)
	}
	if err == nil && (phase == PhasePosted || phase == PhaseSettled) {
		*posted, err = money.Add(*posted, amount)
	}
	if err == nil {
		_, err = money.Add(*posted, *pending) // so that no sum of an account's totals can leave the range
	}
	if err != nil {
		return ErrOverflow
	}
	return nil
}

func (b *book) touch(a *accountState) {
	for i := range b.undo.accounts {
		if b.undo.accounts[i].account == a {
			return
		}
	}
	b.undo.accounts = append(b.undo.accounts, accountUndo{account: a, balance: a.Balance, version: a.Version})
	if !a.dirty {
		a.dirty = true
		b.touched = append(b.touched, a)
	}
}

func (b *book) remember(t *targetState) {
	b.undo.target, b.undo.before = t, *t
	b.undo.before.lines = slices.Clip(t.lines)
}

func (b *book) rollback() {
	for _, u := range b.undo.accounts {
		u.account.Balance, u.account.Version = u.balance, u.version
	}
	for _, a := range b.touched[b.undo.touched:] {
		a.dirty = false
	}
	b.touched = b.touched[:b.undo.touched]
	for _, t := range b.entries[b.undo.entries:] {
		delete(b.targets, entryKey{t.OrgID, t.ID})
		delete(b.references, referenceKey{t.OrgID, t.Reference})
	}
	if b.undo.target != nil {
		*b.undo.target = b.undo.before
	}
	b.entries, b.settled, b.postings = b.entries[:b.undo.entries], b.settled[:b.undo.settled], b.postings[:b.undo.postings]
}

// checkBounds looks at the accounts of the entry once all its postings are applied.
func (b *book) checkBounds() error {
	for _, u := range b.undo.accounts {
		a := u.account
		if a.AvailableMin != nil && a.Balance.Available(a.Type) < *a.AvailableMin {
			return fault.New(fault.Conflict, ErrExceedsAvailable.Code,
				"The available balance of %s is %d and must not fall below %d.", a.Code, u.balance.Available(a.Type), *a.AvailableMin)
		}
		if a.AvailableMax != nil && a.Balance.Potential(a.Type) > *a.AvailableMax {
			return fault.New(fault.Conflict, ErrExceedsAvailableMax.Code,
				"The balance of %s is %d and must not rise above %d.", a.Code, u.balance.Potential(a.Type), *a.AvailableMax)
		}
	}
	return nil
}

func (b *book) balances() []AccountBalance {
	out := make([]AccountBalance, len(b.undo.accounts))
	for i, u := range b.undo.accounts {
		a := u.account
		out[i] = AccountBalance{AccountID: a.ID, Code: a.Code, Type: a.Type, Asset: a.Asset, Scale: a.Scale, Balance: a.Balance, Version: a.Version}
	}
	return out
}
