package tasks

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// promise is a lease that was asked for as its tasks were queued, in a transaction of whose end nobody has told yet. Mostly that takes
// milliseconds. But when the answer to a COMMIT is lost, the transaction runs again, finds its work done, and has nothing to dispatch:
// the tasks are there, leased to this node, and nobody works on them.
type promise struct {
	at    time.Time     // by the monotonic clock
	after time.Duration // how old it is when it is handed back, for the next time
	tasks []Task
	over  bool // it was handed back, and may not be worked on any more
}

// promiseFor is how old a promise gets before it is handed back.
const promiseFor = 2 * time.Second

// promised notes a lease that is asked for.
func (t *Tasks) promised(lease ids.ID, list []Task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.promises[lease] = &promise{at: monotonic(), after: promiseFor, tasks: list}
}

// redeem tells whether a lease may be worked on, now that its transaction has committed. The caller holds mu.
func (t *Tasks) redeem(lease ids.ID) bool {
	p := t.promises[lease]
	if p == nil {
		return true
	}
	if !p.over {
		delete(t.promises, lease)
	}
	return !p.over
}

// reclaim hands back promises of which nothing was heard. That does nothing to a transaction that is still open, or was rolled back; so
// it is done again, until the lease is over anyway.
func (t *Tasks) reclaim() {
	now := monotonic()
	t.mu.Lock()
	defer t.mu.Unlock()
	for lease, p := range t.promises {
		switch age := now.Sub(p.at); {
		case age >= t.cfg.Lease:
			delete(t.promises, lease)
		case age >= p.after:
			p.over, p.after = true, 2*p.after
			for i := range p.tasks {
				if p.tasks[i].Lease == lease {
					t.giveBack(p.tasks[i], 0)
				}
			}
		}
	}
}
