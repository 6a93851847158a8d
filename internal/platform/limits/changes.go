package limits

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// changes are what a refresh writes: a statement for each kind, whatever the number of keys.
type changes struct {
	leases struct {
		of                                    places
		held, usable, busy, want, unit, spent []int64
		endsAt                                []*time.Time
		turn                                  []int64
	}
	gone struct {
		of     places
		holder []ids.ID
	}
	cooling struct {
		of     places
		freeAt []*time.Time
		units  []int64
	}
	cooled places
	keys   struct {
		orgs            []ids.ID
		names           []string
		versions        []int64
		periods, limits []string
		quietAt         []*time.Time
	}
}

// places are windows of keys.
type places struct {
	orgs    []ids.ID
	names   []string
	periods []int64
}

func (p *places) add(name Key, period time.Duration) {
	p.orgs, p.names, p.periods = append(p.orgs, name.OrgID), append(p.names, name.Name), append(p.periods, period.Microseconds())
}

func (c *changes) lease(name Key, period time.Duration, l lease) {
	c.leases.of.add(name, period)
	c.leases.held, c.leases.usable = append(c.leases.held, l.held), append(c.leases.usable, l.usable)
	c.leases.busy, c.leases.want = append(c.leases.busy, l.busy), append(c.leases.want, l.want)
	c.leases.unit = append(c.leases.unit, max(l.unit, 1))
	c.leases.spent = append(c.leases.spent, l.spent)
	c.leases.endsAt, c.leases.turn = append(c.leases.endsAt, &l.endsAt), append(c.leases.turn, l.turn)
}

func (c *changes) drop(name Key, period time.Duration, holder ids.ID) {
	c.gone.of.add(name, period)
	c.gone.holder = append(c.gone.holder, holder)
}

// cool has units be free at a time; no two of one window at the same.
func (c *changes) cool(name Key, period time.Duration, freeAt time.Time, units int64) {
	c.cooling.of.add(name, period)
	c.cooling.freeAt, c.cooling.units = append(c.cooling.freeAt, &freeAt), append(c.cooling.units, units)
}

func (c *changes) key(name Key, version int64, windows []Window, quietAt time.Time) {
	periods, limits := literals(windows)
	c.keys.orgs, c.keys.names = append(c.keys.orgs, name.OrgID), append(c.keys.names, name.Name)
	c.keys.versions, c.keys.quietAt = append(c.keys.versions, version), append(c.keys.quietAt, &quietAt)
	c.keys.periods, c.keys.limits = append(c.keys.periods, periods), append(c.keys.limits, limits)
}

// literals writes windows as PostgreSQL's arrays: arrays of arrays of several lengths there are none.
func literals(windows []Window) (periods, limits string) {
	list := func(value func(Window) int64) string {
		var out []string
		for _, w := range windows {
			out = append(out, strconv.FormatInt(value(w), 10))
		}
		return "{" + strings.Join(out, ",") + "}"
	}
	return list(func(w Window) int64 { return w.Period.Microseconds() }), list(func(w Window) int64 { return w.Limit })
}

// write is one round trip.
func (c *changes) write(ctx context.Context, tx postgres.Tx, holder ids.ID, node string) error {
	var batch pgx.Batch
	if p := c.gone.of; len(p.orgs) > 0 {
		batch.Queue(deleteLeasesSQL, p.orgs, p.names, p.periods, c.gone.holder)
	}
	if p := c.leases.of; len(p.orgs) > 0 {
		l := c.leases
		batch.Queue(writeLeasesSQL, p.orgs, p.names, p.periods, holder, node, l.held, l.usable, l.busy, l.want, l.unit, l.spent, l.endsAt, l.turn)
	}
	if p := c.cooled; len(p.orgs) > 0 {
		batch.Queue(deleteCooledSQL, p.orgs, p.names, p.periods)
	}
	if p := c.cooling.of; len(p.orgs) > 0 {
		batch.Queue(insertCoolingSQL, p.orgs, p.names, p.periods, c.cooling.freeAt, c.cooling.units)
	}
	if k := c.keys; len(k.orgs) > 0 {
		batch.Queue(updateKeysSQL, k.orgs, k.names, k.versions, k.periods, k.limits, k.quietAt)
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("write limits: %w", err)
	}
	return nil
}

// coolAt is a time from which units are free, rounded up to what the database counts in.
func coolAt(at time.Time, period time.Duration) time.Time {
	step := max(period/sharedSteps, sharedStepLeast).Truncate(time.Microsecond)
	rounded := at.Truncate(step)
	if rounded.Before(at) {
		rounded = rounded.Add(step)
	}
	return rounded
}

// quietStep is how often, at most, a key that is in use has its quiet_at moved on.
const quietStep = 5 * time.Minute

// quietAfter is a time not before the given one that stays the same for a while.
func quietAfter(last time.Time) time.Time { return last.Truncate(quietStep).Add(2 * quietStep) }

// record writes what a refresh has decided about a key, and the windows that it has no more.
func (c *changes) record(q question, r record, a answer, holder ids.ID, sent moment, lasts time.Duration) {
	endsAt := r.at.Add(lasts)
	last := endsAt
	for _, v := range a.verdicts {
		if v.leased {
			w := q.wishFor(v.period)
			c.lease(q.name, v.period, lease{held: v.held, usable: min(v.held, v.cap), busy: w.busy, want: w.want, unit: w.unit, spent: w.spent, endsAt: endsAt, turn: q.turn})
		}
		last = latest(last, endsAt.Add(v.period+guardOf(v.period)))
		for _, gone := range v.gone {
			c.drop(q.name, v.period, gone)
		}
		free := map[time.Time]int64{}
		for _, m := range v.moved {
			free[coolAt(r.at.Add(sent.until(m.until)), v.period)] += m.units
		}
		for at, units := range free {
			c.cool(q.name, v.period, at, units)
			last = latest(last, at)
		}
	}
	for _, l := range r.leases {
		i := slices.IndexFunc(a.verdicts, func(v verdict) bool { return v.period == l.period })
		if i < 0 || l.holder == holder && !a.verdicts[i].leased {
			c.drop(q.name, l.period, l.holder)
			continue
		}
		last = latest(last, l.overAt(l.period))
	}
	for _, old := range r.cooling {
		if old.cooled > 0 {
			c.cooled.add(q.name, old.period)
		}
		last = latest(last, old.last)
	}
	if a.version > r.version || last.After(r.quietAt) {
		c.key(q.name, a.version, a.windows, latest(r.quietAt, quietAfter(last)))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
