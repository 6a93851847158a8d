package destinations

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// remoteClock is the database's clock as a node knows it.
type remoteClock struct {
	mu    sync.RWMutex
	at    time.Time // by the monotonic clock,
	said  time.Time // what the database's clock said, no later than that
	heard bool
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
	c.at, c.said, c.heard = time.Now(), said.UTC(), true //nolint:forbidigo // the monotonic clock, which kit/clock's has not
}

// fresh tells whether the database has told the time lately.
func (c *remoteClock) fresh() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.heard && time.Since(c.at) < time.Minute
}

// hear asks for the database's clock, unless it was told lately: a node that only answers requests hears of it by nothing else.
func (d *Destinations) hear(ctx context.Context, tx postgres.Tx) error {
	if d.registry.clock.fresh() {
		return nil
	}
	now, err := postgres.Now(ctx, tx)
	if err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	d.registry.clock.set(now)
	return nil
}

// Now is the time by the database's clock, as far as this node knows it.
func (d *Destinations) Now() time.Time { return d.registry.clock.now() }
