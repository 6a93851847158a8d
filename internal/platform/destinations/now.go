package destinations

import (
	"sync"
	"time"
)

// remoteClock is the database's clock as a node knows it.
type remoteClock struct {
	mu   sync.RWMutex
	at   time.Time // by the monotonic clock,
	said time.Time // what the database's clock said, no later than that
}

func newRemoteClock() *remoteClock {
	now := time.Now() //nolint:forbidigo // until the database has said something
	return &remoteClock{at: now, said: now.UTC()}
}

// now is never ahead of the database, and behind by what an answer takes on its way. Between two answers the monotonic
// clock goes on.
func (c *remoteClock) now() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.said.Add(time.Since(c.at))
}

func (c *remoteClock) set(said time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.said = time.Now(), said.UTC() //nolint:forbidigo // the monotonic clock, which kit/clock's has not
}

// Now is the time by the database's clock, as far as this node knows it.
func (d *Destinations) Now() time.Time { return d.registry.clock.now() }
