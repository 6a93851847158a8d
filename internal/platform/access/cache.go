package access

import (
	"context"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

const (
	staleAfter   = time.Second            // no answer older than this is used
	refreshAfter = 500 * time.Millisecond // from then on a new answer is asked for, while the old one still serves
	loadTimeout  = 2 * time.Second        // for a turn to ask and the answer; the answer alone may not grow stale on its way
	loadsMax     = 4                      // questions to the database at once, so that a flood of unknown keys cannot take all connections
	shardCount   = 16                     // a power of two
	shardMax     = 4096                   // answers kept in a shard
)

// cache keeps answers for up to a second, refusals too. One question per key is under way at a time, however many wait
// for it; each of them waits no longer than its own context.
type cache struct {
	now    clock.Clock
	load   func(ctx context.Context, hash [32]byte) (answer, error)
	slots  chan struct{}
	shards [shardCount]shard
}

type shard struct {
	mu      sync.RWMutex
	answers map[[32]byte]kept
	asking  map[[32]byte]*question
}

type kept struct {
	answer answer
	at     time.Time // when the database was asked
}

type question struct {
	done   chan struct{}
	answer answer
	err    error
}

func newCache(now clock.Clock, load func(ctx context.Context, hash [32]byte) (answer, error)) *cache {
	c := &cache{now: now, load: load, slots: make(chan struct{}, loadsMax)}
	for i := range c.shards {
		c.shards[i].answers, c.shards[i].asking = map[[32]byte]kept{}, map[[32]byte]*question{}
	}
	return c
}

func (c *cache) get(ctx context.Context, hash [32]byte) (answer, error) {
	s := &c.shards[hash[0]%shardCount]
	s.mu.RLock()
	found, ok := s.answers[hash]
	s.mu.RUnlock()
	// A clock that went back makes the age negative: such an answer is of no known age.
	age := c.now().Sub(found.at)
	if ok && age >= 0 && age < refreshAfter {
		return found.answer, nil
	}
	q := c.ask(ctx, s, hash)
	if ok && age >= 0 && age < staleAfter {
		return found.answer, nil
	}
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// ask joins the question that is under way, or puts it.
func (c *cache) ask(ctx context.Context, s *shard, hash [32]byte) *question {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.asking[hash]; q != nil {
		return q
	}
	q := &question{done: make(chan struct{})}
	s.asking[hash] = q
	go c.put(context.WithoutCancel(ctx), s, hash, q)
	return q
}

// put asks the database. The first caller's departure does not disturb the others.
func (c *cache) put(ctx context.Context, s *shard, hash [32]byte, q *question) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	var asked time.Time
	select {
	case c.slots <- struct{}{}:
		asked = c.now()
		q.answer, q.err = c.loadInTime(ctx, hash)
		<-c.slots
	case <-ctx.Done():
		q.err = ErrUnavailable.Because(ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, hash)
	if q.err == nil {
		s.keep(hash, kept{q.answer, asked}, c.now())
	}
	close(q.done)
}

func (c *cache) loadInTime(ctx context.Context, hash [32]byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, staleAfter)
	defer cancel()
	return c.load(ctx, hash)
}

// keep stores an answer. A full shard first loses what nobody may use any more, then whatever comes up.
func (s *shard) keep(hash [32]byte, k kept, now time.Time) {
	if _, known := s.answers[hash]; !known && len(s.answers) >= shardMax {
		for other, old := range s.answers {
			if age := now.Sub(old.at); age < 0 || age >= staleAfter {
				delete(s.answers, other)
			}
		}
		for other := range s.answers {
			if len(s.answers) < shardMax {
				break
			}
			delete(s.answers, other)
		}
	}
	s.answers[hash] = k
}
