package ledger

import (
	"context"
	"sync"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// memory is how this node left the accounts that it wrote to last. It is a guess that is worth a lock and a look: a batch may be
// made from it, and the update of its accounts then takes effect only where the guess was right (updateGuessedSQL). What is
// true stands in the database alone. Safe for concurrent use.
type memory struct {
	mu         sync.Mutex
	young, old map[accountKey]*remembered // old is what young was before; what is asked for there becomes young again
}

// memoryMax bounds the accounts of one of the two generations.
const memoryMax = 16_384

// remembered is an account in the memory.
type remembered struct {
	account Account
	known   bool // how it was left, that is, and nothing has spoken against it since

	busy int // transactions of this node's that are at it
	// Where others write to an account as well, a guess is often wrong, and then its batch has to run again. So after each change by
	// somebody else the account must be found as it was left more often before it is guessed at again.
	steady, wanted int
}

// wantedMax bounds how often an account must be found as it was left.
const wantedMax = 64

func newMemory() *memory { return &memory{young: map[accountKey]*remembered{}} }

// visit is one transaction's stay at the accounts it may change.
type visit struct {
	memory   *memory
	accounts map[accountKey]*stay
	book     *book
	guessed  bool // nothing is locked: the accounts are as the memory has them
}

// stay is a visit at one account.
type stay struct {
	*remembered
	alone bool // no other transaction of this node's was at it when this one came
}

// begin enters the accounts of a batch. It returns nil where the end of the transaction would not be told: then nothing is remembered.
func (m *memory) begin(tx postgres.Tx, orgs []ids.ID, codes []string) *visit {
	v := &visit{memory: m, accounts: make(map[accountKey]*stay, len(codes))}
	if !postgres.AtEnd(tx, v.end) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v.guessed = len(codes) > 0
	stays := make([]stay, len(codes))
	for i, code := range codes {
		k := accountKey{orgs[i], code}
		r := m.find(k)
		stays[i] = stay{r, r.busy == 0}
		v.guessed = v.guessed && r.known && r.busy == 0 && r.steady >= r.wanted
		r.busy++
		v.accounts[k] = &stays[i]
	}
	return v
}

// find gives what is remembered of an account, which may be nothing yet. The caller holds mu.
func (m *memory) find(k accountKey) *remembered {
	if r := m.young[k]; r != nil {
		return r
	}
	r := m.old[k]
	if r == nil {
		r = &remembered{}
	}
	if len(m.young) == memoryMax {
		m.old, m.young = m.young, make(map[accountKey]*remembered, memoryMax)
	}
	m.young[k] = r
	return r
}

// guess fills a book from the memory.
func (v *visit) guess(ctx context.Context, tx postgres.Tx, b *book) error {
	states := make([]accountState, 0, len(v.accounts))
	v.memory.mu.Lock()
	for k, s := range v.accounts {
		states = append(states, accountState{Account: s.account, loaded: s.account.Version})
		b.know(k, &states[len(states)-1])
	}
	v.memory.mu.Unlock()
	v.book = b
	now, err := postgres.Now(ctx, tx)
	b.begin(now)
	return err
}

// loaded compares what was locked and read with the memory, and enters the accounts that the batch did not name.
func (v *visit) loaded(b *book) {
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	v.book = b
	for k, a := range b.byCode {
		s := v.accounts[k]
		switch {
		case s == nil:
			s = &stay{remembered: v.memory.find(k)}
			s.busy++
			v.accounts[k] = s
		case !s.alone || s.account.Version == 0:
		case s.account.Version == a.Version:
			s.steady++
		default:
			s.steady, s.wanted = 0, min(2*s.wanted+2, wantedMax)
		}
	}
}

// end leaves the accounts: as the book has them, if that was committed.
func (v *visit) end(committed bool) {
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	for k, s := range v.accounts {
		s.busy--
		switch a := v.stateOf(k); {
		case !committed && v.guessed:
			s.known = false
		case !committed || a == nil || a.Version < s.account.Version: // a later transaction of this node's has told already
		default:
			s.account, s.known = a.Account, true
			if a.dirty {
				s.account.RecordedAt = v.book.now
			}
			if v.guessed {
				s.wanted = max(s.wanted-1, 0)
			}
		}
	}
}

func (v *visit) stateOf(k accountKey) *accountState {
	if v.book == nil {
		return nil
	}
	return v.book.byCode[k]
}

// guessed tells whether nothing is locked.
func (b *book) guessed() bool { return b.visit != nil && b.visit.guessed }
