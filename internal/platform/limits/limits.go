// Package limits says what may be done within a time, or at once, and holds that across all nodes with PostgreSQL alone. It
// owns the tables limit_key, limit_lease and limit_cooling.
//
// A limit is a number of slots, and a time for which each stays busy after its use. A Window{Limit, Period} with a
// Period is a rate: a slot used for a request that was begun at s and answered at r is free again at min(r, s+guard)+Period,
// where guard is a quarter of the period, at least 1 ms and at most 5 s. A Period of 0 is concurrency: the slot is free when the use
// ends. A key has any number of windows (10 a second and 5,000 a day; a burst is a window too), and a use takes
// slots of every window of every key it names, or of none.
//
// Why no stretch of Period at the other side sees more than Limit arrivals. A request arrives at some a with s <= a, and
// a <= r where it is answered: the answer itself proves it. Where it is not answered within guard, say that it has arrived
// within guard all the same. Then a <= min(r, s+guard).
// The next request of the same slot is begun, and so arrives, no sooner than min(r, s+guard)+Period >= a+Period. So
// each slot contributes at most one arrival to any [t, t+Period), and there are never more than Limit slots:
//
//   - Slots are leased to nodes. Per window, all leases and all that cools in the database sum up to at most Limit; a node
//     changes its own row only, with the key's row locked, and takes no more than what is free then.
//   - A node uses its slots again without asking, each no sooner than said above, and not beyond its lease, which it measures
//     from before the statement was sent. A lease that was not renewed counts as used until its end, the guard and
//     the period are over; then every use under it is free by the rule above.
//   - What a node gives back is free. What it moves to cool in the database is free there no sooner than it would have been in
//     the node: the database's clock is read after the node's own.
//   - After a lost connection a node does not know what was committed. It uses what it is sure of either way, and its
//     own row, which has the number of the refresh that wrote it, tells the next refresh.
//
// A limit that is lowered counts from then on: slots above it are given up as they come free. The sum above holds for the
// limit at the time at which each slot was taken. A window whose period changes begins anew.
//
// What this rests on: that the clocks of nodes, of the database and of the other side run at the same pace within 0.2 %, by which
// periods are kept longer, that the database's does not leap ahead, and that requests not answered within the guard have
// arrived within it: it covers all there is between Sent and the arrival, also a process that is suspended there. docs/concepts/limits.md has it in full.
package limits

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Config sizes a node. Zero fields take the defaults named beside them.
type Config struct {
	Node       string        // names this process to people; required
	Lease      time.Duration // how long a dead node's slots stay with it; 5 s
	Refresh    time.Duration // how often what is held is refreshed; 1 s, at most a fifth of Lease
	RefreshMin time.Duration // between two refreshes while slots are lacking; 20 ms
	Forget     time.Duration // after which a key that is neither used nor defined is forgotten; 10 min
}

func (c Config) withDefaults() Config {
	orDuration := func(value, other time.Duration) time.Duration {
		if value == 0 {
			return other
		}
		return value
	}
	c.Lease = orDuration(c.Lease, 5*time.Second)
	c.Refresh = min(orDuration(c.Refresh, time.Second), c.Lease/5)
	c.RefreshMin = min(orDuration(c.RefreshMin, 20*time.Millisecond), c.Refresh)
	c.Forget = orDuration(c.Forget, 10*time.Minute)
	return c
}

// tickAfter is the tick that follows a moment. There are four in a Refresh, so that keys which were first used at any time are
// refreshed together.
func (c Config) tickAfter(now moment) moment {
	quarter := moment(c.Refresh / 4)
	return (now + moment(c.Refresh)) / quarter * quarter
}

// trusted is how much of a lease is used: less than it lasts, by what clocks may differ and a send may take.
func (c Config) trusted() time.Duration { return c.Lease * 9 / 10 }

// Limits is a node's share of all limits. Safe for concurrent use.
type Limits struct {
	cfg     Config
	db      *postgres.DB
	log     *slog.Logger
	metrics *metrics
	// In the database: this node, unlike any other process, and whoever makes calls elsewhere and asks this node.
	holder, stranger ids.ID
	now              func() instant
	freed            chan struct{}
	hurry            chan struct{} // asks Run to look what is due

	mu      sync.Mutex
	keys    map[Key]*key
	alive   map[*key]struct{} // those that are live, and perhaps some that no longer are
	stopped bool
}

// New makes a node that holds nothing yet: without Run it grants nothing but what no window limits.
func New(db *postgres.DB, cfg Config, source *ids.Source, registry prometheus.Registerer, log *slog.Logger) *Limits {
	l := &Limits{
		cfg: cfg.withDefaults(), db: db, log: log, holder: source.New(), stranger: source.New(), now: clockOf(monotonic()),
		freed: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		keys: map[Key]*key{}, alive: map[*key]struct{}{},
	}
	l.metrics = newMetrics(registry, l)
	return l
}

// monotonic reads the clock that measures leases and periods. kit/clock's is cut to what PostgreSQL stores and tells no durations.
func monotonic() time.Time {
	return time.Now() //nolint:forbidigo // for the reason above
}

// clockOf counts from a beginning. It never tells 0, which stands for never.
func clockOf(began time.Time) func() instant {
	return func() instant {
		now := monotonic()
		return instant{mono: moment(now.Sub(began)) + 1, wall: moment(now.Round(0).Sub(began.Round(0))) + 1}
	}
}

// Define says what a key's windows are. It is cheap, and an older version than the one known changes nothing, so call it
// whenever the definition was read. Where several nodes have different versions, the newest holds for all within a second.
// Two windows of one period are one, with the lower limit. A key without windows limits nothing; a key that was never
// defined, or was forgotten because it was neither defined nor used for minutes, allows nothing.
func (l *Limits) Define(name Key, version int64, windows []Window) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[name]
	if k == nil {
		k = &key{name: name, tickAt: now.mono, figures: l.metrics.of(name)}
		k.define(version, canonical(windows))
		k.seenAt = now.mono
		l.keys[name] = k
		return
	}
	k.seenAt = now.mono
	if version <= k.version {
		return
	}
	k.define(version, canonical(windows))
	if k.known {
		k.dirty = true
		l.enliven(k)
		wake(l.hurry)
	}
}

// Freed tells that slots which somebody lacked may be there now. It has one place: many may be told as one.
func (l *Limits) Freed() <-chan struct{} { return l.freed }

// enliven has Run look after a key. The caller holds mu.
func (l *Limits) enliven(k *key) { l.alive[k] = struct{}{} }

func wake(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// forget drops keys that nobody has used or defined for long. The caller holds mu.
func (l *Limits) forget(now moment) {
	for name, k := range l.keys {
		if now-k.seenAt > moment(l.cfg.Forget) && !k.live() && !k.refreshing {
			delete(l.keys, name)
			delete(l.alive, k)
		}
	}
}

// due lists up to questionsMax keys that want to be refreshed, in the order in which they are locked, and tells when the next
// one does.
func (l *Limits) due(now moment) ([]*key, moment) {
	var list []*key
	next := now.plus(time.Hour)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.alive {
		switch at := k.dueAt(l.cfg); {
		case !k.live():
			delete(l.alive, k)
		case at <= now && len(list) < questionsMax:
			list = append(list, k)
		default:
			next = min(next, at)
		}
	}
	slices.SortFunc(list, func(a, b *key) int { return compareKeys(a.name, b.name) })
	return list, next
}
