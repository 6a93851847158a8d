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
	account Account // as it was left
	known   bool    // nothing has spoken against that since

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
	memory  *memory
	stays   []stay
	book    *book
	guessed bool // nothing is locked: the accounts are as the memory has them
}

// stay is a visit at one account.
type stay struct {
	*remembered
	key   accountKey
	alone bool // no other transaction of this node's was at it when this one came
}

// begin enters the accounts of a batch. It returns nil where the end of the transaction would not be told: then nothing is remembered.
func (m *memory) begin(tx postgres.Tx, orgs []ids.ID, codes []string) *visit {
	v := &visit{memory: m, stays: make([]stay, len(codes)), guessed: len(codes) > 0}
	if !postgres.AtEnd(tx, v.end) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, code := range codes {
		s := m.enter(accountKey{orgs[i], code})
		v.stays[i] = s
		v.guessed = v.guessed && s.known && s.alone && s.steady >= s.wanted
	}
	return v
}

// enter begins a stay. The caller holds mu.
func (m *memory) enter(k accountKey) stay {
	r := m.find(k)
	r.busy++
	return stay{r, k, r.busy == 1}
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
	states := make([]accountState, len(v.stays))
	v.memory.mu.Lock()
	for i := range v.stays {
		s := &v.stays[i]
		states[i] = accountState{Account: s.account, loaded: s.account.Version}
		b.byCode[s.key] = &states[i]
	}
	v.memory.mu.Unlock()
	v.book = b
	now, reckoned := postgres.Reckon(tx)
	if reckoned {
		b.reckoned = &now
	} else {
		var err error
		if now, err = postgres.Now(ctx, tx); err != nil {
			return err
		}
	}
	b.begin(now)
	return nil
}

// loaded compares what was locked and read with the memory, and enters the accounts that the batch did not name.
func (v *visit) loaded(b *book) {
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	v.book = b
	named := make(map[accountKey]struct{}, len(v.stays))
	for i := range v.stays {
		s := &v.stays[i]
		named[s.key] = struct{}{}
		a := b.byCode[s.key]
		switch {
		case a == nil || !s.alone || s.account.Version == 0:
		case s.account.Version == a.Version:
			s.steady++
		default:
			s.steady, s.wanted = 0, min(2*s.wanted+2, wantedMax)
		}
	}
	for k := range b.byCode {
		if _, known := named[k]; !known {
			v.stays = append(v.stays, v.memory.enter(k))
		}
	}
}

// end leaves the accounts: as the book has them, if that was committed.
func (v *visit) end(committed bool) {
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	for i := range v.stays {
		s := &v.stays[i]
		s.busy--
		switch a := v.stateOf(s.key); {
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
