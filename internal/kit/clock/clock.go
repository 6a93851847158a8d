// Package clock is where Kontor reads the time, so that rules can be tested at any moment.
package clock

import "time"

// Clock tells the current time in UTC. It must be safe for concurrent use.
type Clock func() time.Time

// System reads the machine's clock, cut to microseconds: what PostgreSQL can store.
func System() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
