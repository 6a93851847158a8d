package limits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// ErrUndefined says that nobody has defined the key.
var ErrUndefined = errors.New("the limit is not defined")

// Consume takes `units` slots of every rate of a key for calls that are made elsewhere, at once after the commit of tx, or takes
// none and tells when to ask again. What it could not have counts as demand for the time of a lease, so commit tx in
// either case. Windows with no period are left out: nobody would say when such a call ends.
func (l *Limits) Consume(ctx context.Context, tx postgres.Tx, name Key, units int64) (granted bool, retry time.Duration, err error) {
	q, known := l.elsewhere(name)
	orgs, names := []ids.ID{name.OrgID}, []string{name.Name}
	if known {
		periods, limits := literals(q.windows)
		if _, err := tx.Exec(ctx, insertKeysSQL, orgs, names, []int64{q.version}, []string{periods}, []string{limits}); err != nil {
			return false, 0, fmt.Errorf("make a limit known: %w", err)
		}
	}
	records, err := lock(ctx, tx, orgs, names)
	if err != nil {
		return false, 0, err
	}
	r := records[0]
	if !r.found {
		return false, 0, ErrUndefined
	}
	c, granted, retry := consumption(q, r, l.stranger, max(units, 1), l.cfg)
	return granted, retry, c.write(ctx, tx, l.stranger, l.cfg.Node+", elsewhere")
}

// elsewhere is what this node knows of a key.
func (l *Limits) elsewhere(name Key) (question, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[name]
	if k == nil {
		return question{name: name}, false
	}
	return question{name: name, version: k.version, windows: k.definition()}, true
}

// consumption decides about units that are used elsewhere: they cool at once, or they are wanted.
func consumption(q question, r record, stranger ids.ID, units int64, cfg Config) (changes, bool, time.Duration) {
	version, windows := r.version, r.windows
	if q.version > r.version {
		version, windows = q.version, q.windows
	}
	var c changes
	granted, retry := true, time.Duration(0)
	for _, w := range windows {
		if w.Period == 0 {
			continue
		}
		seen := look(stranger, w.Period, r.standing(w))
		free := w.Limit - seen.used
		for _, other := range seen.others {
			free -= other.held
		}
		if free >= units {
			continue
		}
		granted = false
		if wait := seen.freeAt.Sub(r.at); !seen.freeAt.IsZero() && len(seen.others) == 0 {
			retry = max(retry, wait)
		} else {
			retry = max(retry, cfg.Refresh)
		}
	}
	quietAt := r.quietAt
	for _, w := range windows {
		switch {
		case w.Period == 0:
			continue
		case granted:
			at := coolAt(r.at.Add(guardOf(w.Period)+w.Period+w.Period/paceShare), w.Period)
			c.cool(q.name, w.Period, at, units)
			quietAt = latest(quietAt, at)
		default:
			wanted := lease{want: min(units, w.Limit), unit: units, endsAt: r.at.Add(cfg.Lease)}
			c.lease(q.name, w.Period, wanted)
			quietAt = latest(quietAt, wanted.overAt(w.Period))
		}
		if granted {
			c.drop(q.name, w.Period, stranger)
		}
	}
	if version > r.version || quietAt.After(r.quietAt) {
		c.key(q.name, version, windows, latest(r.quietAt, quietAfter(quietAt)))
	}
	return c, granted, retry
}
