package limits

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// clock is the database's.
func (w *world) clock() time.Time {
	return time.Unix(1_800_000_000, w.now).UTC().Truncate(time.Microsecond)
}

// read does what the statements of lock do.
func (w *world) read(questions []question) []record {
	out := make([]record, len(questions))
	for i, q := range questions {
		k := w.rows[q.name]
		if k == nil {
			k = &rows{version: q.version, windows: q.windows, leases: map[leasePlace]lease{}, cooling: map[coolPlace]int64{}}
			w.rows[q.name] = k
		}
		r := record{found: true, version: k.version, windows: k.windows, quietAt: k.quietAt, at: w.clock()}
		for place, l := range k.leases {
			r.leases = append(r.leases, leaseOf{l, place.period})
		}
		sums := map[time.Duration]*coolingOf{}
		for place, units := range k.cooling {
			c := sums[place.period]
			if c == nil {
				c = &coolingOf{period: place.period}
				sums[place.period] = c
			}
			c.last = latest(c.last, place.freeAt)
			if !place.freeAt.After(w.clock()) {
				c.cooled++
				continue
			}
			c.units += units
			if c.next.IsZero() || place.freeAt.Before(c.next) {
				c.next = place.freeAt
			}
		}
		for _, c := range sums {
			r.cooling = append(r.cooling, *c)
		}
		out[i] = r
	}
	return out
}

// write does what the statements of changes do, and looks whether a window is given out twice.
func (w *world) write(c changes, holder ids.ID) {
	micro := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	of := func(p places, i int) *rows { return w.rows[Key{p.orgs[i], p.names[i]}] }
	for i, gone := range c.gone.holder {
		delete(of(c.gone.of, i).leases, leasePlace{micro(c.gone.of.periods[i]), gone})
	}
	for i := range c.leases.held {
		of(c.leases.of, i).leases[leasePlace{micro(c.leases.of.periods[i]), holder}] = lease{
			holder: holder, held: c.leases.held[i], usable: c.leases.usable[i], busy: c.leases.busy[i], want: c.leases.want[i], unit: c.leases.unit[i],
			endsAt: *c.leases.endsAt[i], turn: c.leases.turn[i], spent: c.leases.spent[i],
		}
	}
	for i := range c.cooled.orgs {
		k := of(c.cooled, i)
		for place := range k.cooling {
			if place.period == micro(c.cooled.periods[i]) && !place.freeAt.After(w.clock()) {
				delete(k.cooling, place)
			}
		}
	}
	for i, units := range c.cooling.units {
		of(c.cooling.of, i).cooling[coolPlace{micro(c.cooling.of.periods[i]), *c.cooling.freeAt[i]}] += units
	}
	for i, version := range c.keys.versions {
		k := w.rows[Key{c.keys.orgs[i], c.keys.names[i]}]
		k.version, k.quietAt = version, *c.keys.quietAt[i]
		k.windows = windowsOf(numbers(c.keys.periods[i]), numbers(c.keys.limits[i]))
	}
	for _, k := range w.rows {
		w.check(k)
	}
}

func numbers(literal string) []int64 {
	var out []int64
	for one := range strings.SplitSeq(strings.Trim(literal, "{}"), ",") {
		n, err := strconv.ParseInt(one, 10, 64)
		if err != nil {
			panic(err)
		}
		out = append(out, n)
	}
	return out
}

func (w *world) check(k *rows) {
	for _, window := range k.windows {
		sum := int64(0)
		for place, l := range k.leases {
			if place.period == window.Period && l.overAt(window.Period).After(w.clock()) {
				sum += l.held
			}
			if l.held < 0 || l.usable < 0 || l.usable > l.held || l.want < 0 || l.busy < 0 {
				w.broken = append(w.broken, fmt.Sprintf("an impossible lease %+v", l))
			}
			if place.period == window.Period && l.overAt(window.Period).After(k.quietAt) {
				w.broken = append(w.broken, fmt.Sprintf("a lease over at %v, and quiet at %v", l.overAt(window.Period), k.quietAt))
			}
		}
		for place, units := range k.cooling {
			if place.period == window.Period && place.freeAt.After(w.clock()) {
				sum += units
			}
		}
		if w.steady && sum > window.Limit && !slices.ContainsFunc(w.broken, func(string) bool { return true }) {
			w.broken = append(w.broken, fmt.Sprintf("%d of %d slots are given out at %v", sum, window.Limit, w.clock()))
		}
	}
}
