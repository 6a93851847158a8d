package simulate

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// intentPatience is how long a client insists before it gives up, which is a finding: whatever breaks, an answer must come. The longest
// honest way to one is a lost lease, the time to settle, and look-ups that fail one after the other, ever more seldom.
const intentPatience = 3 * time.Minute

// intent is one thing that a client wants, under one key for as long as it takes.
type intent struct {
	*talk
	key   string
	send  request
	first *answer // the first settled answer
	tries int
}

// insist sends a request until there is a final answer, giving up on single tries long before an answer can be expected.
func (t *talk) insist(ctx context.Context, key string, send request) (*answer, error) {
	i := &intent{talk: t, key: key, send: send}
	bounded, cancel := context.WithTimeout(ctx, intentPatience)
	defer cancel()
	began := clock.System()
	async := t.r.IntN(100) < 10
	var latest *answer
	for {
		var prefer *string
		if async {
			prefer = new("respond-async")
		}
		a, err := i.once(bounded, prefer)
		if err != nil {
			return nil, err
		}
		if i.first != nil {
			i.took(clock.System().Sub(began))
			return i.first, i.again(bounded)
		}
		if a != nil {
			latest = a
		}
		if async && a != nil && a.payment != nil {
			if err := i.poll(bounded, a.payment.ID); err != nil {
				return nil, err
			}
			async = false
		}
		if bounded.Err() != nil {
			return nil, i.gaveUp(ctx, latest)
		}
		t.breathe(bounded, a)
	}
}

// took counts the time to a final answer, and notes one that somebody may want to explain.
func (i *intent) took(d time.Duration) {
	const slow = 10 * time.Second
	i.times.add(d)
	if d > slow {
		i.journal.note("the key %s (%s) had its final answer after %s and %d tries", i.key, i.out.payment, d.Round(time.Millisecond), i.tries)
	}
}

func (i *intent) gaveUp(ctx context.Context, latest *answer) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	said := "nothing"
	if latest != nil {
		said = latest.String()
	}
	return fmt.Errorf("no final answer under the key %s within %s and %d tries; the last was %s", i.key, intentPatience, i.tries, said)
}

// breathe waits as long as a client would that has lost its patience, but not its manners.
func (t *talk) breathe(ctx context.Context, a *answer) {
	switch {
	case a == nil: // no answer: another node may have one at once
		pause(ctx, time.Duration(t.r.Int64N(int64(20*time.Millisecond))))
	case a.status != http.StatusAccepted:
		pause(ctx, 30*time.Millisecond+time.Duration(t.r.Int64N(int64(150*time.Millisecond))))
	}
}

// once sends the request, now and then in several copies at the same instant on different nodes, and gives the answer that tells
// most, or nil. Answers that contradict each other are an error.
func (i *intent) once(ctx context.Context, prefer *string) (*answer, error) {
	copies := 1
	if chance := i.r.IntN(100); i.tries == 0 && chance < 12 || chance < 3 {
		copies = 2
		i.counts.duplicates.Add(1)
	}
	if i.tries > 0 {
		i.counts.repeats.Add(1)
	}
	i.tries++
	nodes, err := i.cluster.pick(ctx, i.r, copies)
	if err != nil {
		return nil, nil // the time is up; insist tells
	}
	answers := make([]*answer, copies)
	var sending sync.WaitGroup
	for n := range copies {
		patience := i.patience()
		sending.Go(func() {
			// What went wrong is counted; what is left to say is that there was no answer.
			answers[n], _ = i.try(ctx, nodes[n%len(nodes)], i.send, i.key, prefer, patience)
		})
	}
	sending.Wait()
	var best *answer
	for _, a := range answers {
		if a == nil {
			continue
		}
		if err := i.consider(a); err != nil {
			return nil, err
		}
		if best == nil || a.settled() || a.payment != nil {
			best = a
		}
	}
	return best, nil
}

// patience is how long this client waits for one answer: mostly not long enough for a provider that hangs, sometimes not even
// for one that does not.
func (i *intent) patience() time.Duration {
	if i.r.IntN(100) < 10 {
		return 20*time.Millisecond + time.Duration(i.r.Int64N(int64(150*time.Millisecond)))
	}
	return 300*time.Millisecond + time.Duration(i.r.Int64N(int64(4*time.Second)))
}

// consider holds an answer against the earlier ones under the same key.
func (i *intent) consider(a *answer) error {
	if a.payment != nil {
		i.mu.Lock()
		known := i.out.payment
		if known == "" {
			i.out.payment = a.payment.ID
		}
		i.mu.Unlock()
		if known != "" && known != a.payment.ID {
			return fmt.Errorf("the key %s was answered with %s and then with %s", i.key, known, a.payment.ID)
		}
	}
	switch {
	case !a.settled():
		return nil
	case i.first == nil:
		i.first = a
		return nil
	case a.problem != nil && i.first.problem != nil && a.status == i.first.status && a.code() == i.first.code():
		return nil // its request id may differ
	case !a.equal(i.first):
		return fmt.Errorf("the key %s has two final answers: %d %s, and %d %s", i.key, i.first.status, i.first.body, a.status, a.body)
	}
	return nil
}

// again repeats a request that has its final answer, now and then: it must be the same to the last byte.
func (i *intent) again(ctx context.Context) error {
	if i.r.IntN(100) >= 12 {
		return nil
	}
	i.counts.repeats.Add(1)
	a, err := i.untilAnswered(ctx, i.key, i.send)
	if err != nil {
		return err
	}
	if !a.settled() {
		return fmt.Errorf("the key %s had the final answer %s, and later %s", i.key, i.first, a)
	}
	return i.consider(a)
}

// untilAnswered sends a request until a node has something to say, be it a refusal.
func (t *talk) untilAnswered(ctx context.Context, key string, send request) (*answer, error) {
	bounded, cancel := context.WithTimeout(ctx, intentPatience)
	defer cancel()
	const patience = 10 * time.Second
	for {
		nodes, err := t.cluster.pick(bounded, t.r, 1)
		if err != nil {
			return nil, fmt.Errorf("no answer under the key %s: %w", key, err)
		}
		a, err := t.try(bounded, nodes[0], send, key, nil, patience)
		if err == nil && a.status < 500 {
			return a, nil
		}
		t.breathe(bounded, a)
	}
}

// poll looks at the payment until nothing of it is under way. A payment that was told of must be there, on every node.
func (i *intent) poll(ctx context.Context, paymentID string) error {
	wait := 30 * time.Millisecond
	for {
		i.counts.polls.Add(1)
		a, err := i.untilAnswered(ctx, i.key, look(paymentID))
		switch {
		case ctx.Err() != nil:
			return nil // insist tells
		case err != nil:
			return err
		case a.status != http.StatusOK || a.payment.ID != paymentID:
			return fmt.Errorf("%s was told of, and then it was answered: %s", paymentID, a)
		case a.payment.LatestAttempt.State == client.PaymentAttemptStateSucceeded,
			a.payment.LatestAttempt.State == client.PaymentAttemptStateDeclined:
			return nil
		}
		pause(ctx, wait)
		wait = min(wait*3/2, 400*time.Millisecond)
	}
}
