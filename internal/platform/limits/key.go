package limits

import (
	"cmp"
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Key names a limit of an organisation, such as queue/emails, destination/stripe or destination/stripe/tenant-7.
type Key struct {
	OrgID ids.ID
	Name  string
}

func compareKeys(a, b Key) int {
	if c := ids.Compare(a.OrgID, b.OrgID); c != 0 {
		return c
	}
	return cmp.Compare(a.Name, b.Name)
}

// instant is a time by both clocks of a node, in nanoseconds since the node was made. Slots cool by the monotonic clock, which
// nobody sets. A lease is over by whichever clock says so first: the monotonic one stands still while a machine sleeps.
type instant struct {
	mono moment
	wall moment
}

func (i instant) plus(d time.Duration) instant { return instant{i.mono.plus(d), i.wall.plus(d)} }

func (i instant) before(o instant) bool { return i.mono < o.mono && i.wall < o.wall }

// key is what a node knows of a key: its windows, and when to ask the database about them next.
type key struct {
	name    Key
	version int64
	windows []*window

	leasedSince moment // without a break
	leasedUntil instant
	turn        int64 // of the latest refresh
	known       bool  // the database has a row of it
	dirty       bool  // the database has not heard of the definition
	refreshing  bool

	usedAt  moment // when it was last asked for
	seenAt  moment // when it was last asked for or defined
	lackAt  moment // since when callers are refused; 0: they are not
	lacksAt moment // when one was refused last
	tickAt  moment // when it is refreshed at the latest
	askAt   moment // before this moment, to ask for more is in vain
	countAt moment // when demand is counted anew
	lastAt  moment // of the latest refresh
	backoff time.Duration
	figures *figures
}

// define replaces the windows by those of a newer version. A window whose period remains keeps its slots.
func (k *key) define(version int64, windows []Window) {
	k.version = version
	old := k.windows
	k.windows = make([]*window, 0, len(windows))
	for _, w := range windows {
		i := slices.IndexFunc(old, func(o *window) bool { return o.period == w.Period })
		if i < 0 {
			k.windows = append(k.windows, newWindow(k, w))
			continue
		}
		old[i].limit = w.Limit
		k.windows = append(k.windows, old[i])
	}
}

// definition is what define was told.
func (k *key) definition() []Window {
	out := make([]Window, len(k.windows))
	for i, w := range k.windows {
		out[i] = Window{w.limit, w.period}
	}
	return out
}

// leased tells whether the slots may be used.
func (k *key) leased(now instant) bool { return now.before(k.leasedUntil) }

// live tells whether the key holds or wants anything, or has something to tell the database.
func (k *key) live() bool {
	return k.dirty || slices.ContainsFunc(k.windows, func(w *window) bool {
		return w.held > 0 || w.busy() > 0 || w.lacking() > 0
	})
}

// dueAt is when the key should be refreshed: once a tick, sooner when it lacks or owes slots.
func (k *key) dueAt(cfg Config) moment {
	due := k.tickAt
	soon := k.lastAt.plus(cfg.RefreshMin)
	if k.dirty {
		return min(due, soon)
	}
	for _, w := range k.windows {
		switch {
		case w.lacking() > 0 && w.held < w.want():
			due = min(due, max(soon, k.askAt))
		case w.surplus() > 0:
			due = min(due, soon)
		}
	}
	return due
}

// question is what a node asks the database about a key: one wish for each window.
type question struct {
	key     *key
	name    Key
	version int64
	windows []Window
	wishes  []wish
	turn    int64
	known   bool // to the database
}

// wishFor is the wish for a window; a window that the node has not heard of yet is idle.
func (q question) wishFor(period time.Duration) wish {
	if i := slices.IndexFunc(q.wishes, func(w wish) bool { return w.period == period }); i >= 0 {
		return q.wishes[i]
	}
	return wish{period: period, unit: 1, idle: true}
}

// idleAfter is how long after it was last asked for a key's slots are given back.
const idleAfter = 2 * time.Second

// ask begins a refresh.
func (k *key) ask(now moment, stopped bool, cfg Config) question {
	k.refreshing = true
	k.turn++
	idle := now-k.usedAt >= moment(idleAfter)
	q := question{key: k, name: k.name, version: k.version, windows: k.definition(), turn: k.turn, known: k.known}
	again := now >= k.countAt
	if again {
		k.countAt = now.plus(cfg.Refresh)
	}
	for _, w := range k.windows {
		if again {
			w.tick()
		}
		q.wishes = append(q.wishes, w.prepare(now, k.turn, idle, stopped))
	}
	return q
}

// answer is what a refresh has decided about a key.
type answer struct {
	version     int64
	windows     []Window
	verdicts    []verdict // one for each of windows
	leasedUntil instant
	at          time.Time // by the database's clock, read after the node's
}

// settle ends a refresh that was committed, at a moment. It tells whether there is room where there was none.
func (k *key) settle(a answer, at instant, cfg Config) bool {
	now := at.mono
	k.refreshing, k.known = false, true
	k.lastAt, k.tickAt = now, cfg.tickAfter(now)
	unbroken := k.leased(at)
	if !unbroken {
		k.leasedSince = now
	}
	k.leasedUntil = a.leasedUntil
	if a.version > k.version {
		k.define(a.version, a.windows)
	}
	k.dirty = k.version > a.version
	got, lacks, others, freeAt := false, false, false, now.plus(time.Hour)
	for _, w := range k.windows {
		i := slices.IndexFunc(a.verdicts, func(v verdict) bool { return v.period == w.period })
		if i < 0 {
			continue // defined while the refresh was under way
		}
		v, room := a.verdicts[i], w.room()
		w.settle(v)
		got = got || w.room() > room || !unbroken && w.room() > 0
		if w.lacking() > 0 && w.held < w.want() {
			lacks, others = true, others || v.others
			if !v.freeAt.IsZero() {
				freeAt = min(freeAt, now.plus(v.freeAt.Sub(a.at)))
			}
		}
	}
	switch {
	case got || !lacks:
		k.backoff, k.askAt = 0, now
	case others:
		k.backoff = min(max(2*k.backoff, cfg.RefreshMin), cfg.Refresh/2)
		k.askAt = min(now.plus(k.backoff), freeAt)
	default:
		k.askAt = freeAt
	}
	return got
}

// restrict obeys the caps of an answer that may have been committed.
func (k *key) restrict(a answer) {
	for _, w := range k.windows {
		for _, v := range a.verdicts {
			if v.period == w.period {
				w.cap = min(w.cap, v.cap)
			}
		}
	}
}

// unsettled ends a refresh of which nobody knows whether it was committed.
func (k *key) unsettled(now moment, cfg Config) {
	k.refreshing = false
	k.lastAt = now
	k.backoff = min(max(2*k.backoff, cfg.RefreshMin), cfg.Refresh/2)
	k.askAt = now.plus(k.backoff)
	k.tickAt = k.askAt
	for _, w := range k.windows {
		w.unsettled()
	}
}
