package mockapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// keysMax bounds the keys of one limit that are counted at a time; idle ones are forgotten first.
const keysMax = 100_000

// gate lets requests through within all limits, or turns them away. Guarded by its server's lock.
type gate struct {
	limits   Limits
	remember int                   // how many times a peak may hold
	counts   []map[string]*counted // of each limit, by key; one entry for a limit that has none
	totals   []limitTotal
	names    []string // of the limits, as headers quote them
	policy   string   // the header RateLimit-Policy
}

// counted is one limit, for one key.
type counted struct {
	meter    meter
	arrivals peak
	admitted peak
	last     time.Duration
}

// limitTotal is what a limit has seen over all of its keys.
type limitTotal struct {
	arrivalsMax, admittedMax int
	arrivalsKey              string        // whose arrivals were the most
	arrivalsAt               time.Duration // when the window with the most ended
	admitted                 int64
	first, last              time.Duration // arrivals
	short                    bool
}

// passage is what the gate decided about one request.
type passage struct {
	verdict Verdict
	wait    time.Duration // until the request would get through, if it was over a limit
	stands  []standing
	policy  string
}

// standing is a limit as the request left it.
type standing struct {
	name  string // as headers quote it
	count int
	room  room
}

func newGate(limits Limits, remember int) *gate {
	limits = limits.withDefaults()
	g := &gate{limits: limits, remember: remember, totals: make([]limitTotal, len(limits.Limits))}
	for i, limit := range limits.Limits {
		g.counts = append(g.counts, map[string]*counted{})
		g.names = append(g.names, strconv.Quote(limit.String()))
		if i > 0 {
			g.policy += ", "
		}
		g.policy += fmt.Sprintf("%s;q=%d;w=%d", g.names[i], limit.Count, seconds(limit.Period))
	}
	return g
}

// pass decides about a request that arrives now, while others are under way.
func (g *gate) pass(r *http.Request, now time.Duration, underWay int) passage {
	n := len(g.limits.Limits)
	lines, keys := make([]*counted, n), make([]string, n)
	out := passage{verdict: Accepted, stands: make([]standing, n), policy: g.policy}
	for i, limit := range g.limits.Limits {
		keys[i] = limit.key(r)
		if lines[i] = g.line(i, keys[i], now); lines[i] == nil {
			return passage{verdict: Crowded}
		}
		g.arrived(i, keys[i], lines[i], now)
		if wait := lines[i].meter.room(now).wait; wait > 0 {
			out.verdict, out.wait = Refused, max(out.wait, wait)
		}
	}
	if out.verdict == Accepted && g.limits.MaxConcurrent > 0 && underWay >= g.limits.MaxConcurrent {
		out.verdict = Crowded
	}
	for i, line := range lines {
		if out.verdict == Accepted || g.limits.CountRefused {
			line.meter.count(now)
		}
		if out.verdict == Accepted {
			g.admitted(i, line, now)
		}
		out.stands[i] = standing{g.names[i], g.limits.Limits[i].Count, line.meter.room(now)}
	}
	if out.verdict == Refused && g.limits.CountRefused {
		for _, stand := range out.stands {
			out.wait = max(out.wait, stand.room.wait)
		}
	}
	return out
}

// line is the count of a limit for a key; nil when there are too many keys.
func (g *gate) line(i int, key string, now time.Duration) *counted {
	lines, limit := g.counts[i], g.limits.Limits[i]
	if line := lines[key]; line != nil {
		line.last = now
		return line
	}
	if len(lines) >= keysMax {
		for other, line := range lines {
			if line.last <= now-limit.Period {
				delete(lines, other)
			}
		}
	}
	if len(lines) >= keysMax {
		return nil
	}
	line := &counted{
		meter: newMeter(g.limits.Algorithm, limit), last: now,
		arrivals: peak{length: limit.Period}, admitted: peak{length: limit.Period},
	}
	lines[key] = line
	return line
}

func (g *gate) arrived(i int, key string, line *counted, now time.Duration) {
	line.arrivals.add(now, g.remember)
	total := &g.totals[i]
	total.short = total.short || line.arrivals.short
	if total.arrivalsMax == 0 {
		total.first = now
	}
	total.last = now
	if line.arrivals.most > total.arrivalsMax {
		total.arrivalsMax, total.arrivalsKey, total.arrivalsAt = line.arrivals.most, key, line.arrivals.at
	}
}

func (g *gate) admitted(i int, line *counted, now time.Duration) {
	line.admitted.add(now, g.remember)
	total := &g.totals[i]
	total.admitted++
	total.admittedMax = max(total.admittedMax, line.admitted.most)
}
