package limits

import (
	"container/heap"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// world is several nodes, a database and the other side of an API in a time of their own: what happens is an event, and takes
// no time. Nodes run the real rules; only the statements are played.
type world struct {
	*rand.Rand
	now    int64 // nanoseconds
	order  int64
	events schedule
	source *ids.Source
	rows   map[Key]*rows
	nodes  []*player

	key      Key
	windows  []Window
	version  int64
	arrivals []arrival
	requests int // at the other side now
	atOnce   int // the most of those
	broken   []string

	lossy    float64 // share of refreshes whose commit or answer is lost
	there    time.Duration
	back     time.Duration
	slow     float64 // share of requests that are answered only after several periods
	handling time.Duration
	steady   bool // the limit was never lowered
}

type arrival struct {
	at    int64
	units int64
	node  int
}

type event struct {
	at, order int64
	do        func()
}

type schedule []event

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].order < s[j].order
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(e any)   { *s = append(*s, e.(event)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	*s = (*s)[:last]
	return e
}

// rows are a key's rows in the database.
type rows struct {
	version int64
	windows []Window
	quietAt time.Time
	leases  map[leasePlace]lease
	cooling map[coolPlace]int64
}

type leasePlace struct {
	period time.Duration
	holder ids.ID
}

type coolPlace struct {
	period time.Duration
	freeAt time.Time
}

// player is a node, with a caller that wants to make requests.
type player struct {
	l       *Limits
	number  int
	began   int64
	dead    bool
	frozen  int64 // stands still until then
	wanted  int   // requests at once; changes over time
	sending int
	units   int64
	looks   bool // takes, and uses nothing
}

func newWorld(seed uint64, windows []Window) *world {
	w := &world{
		Rand: rand.New(rand.NewPCG(seed, 1)), now: int64(time.Hour), source: ids.NewSource(clock.System),
		rows: map[Key]*rows{}, windows: windows, version: 1, steady: true,
	}
	w.key = Key{OrgID: w.source.New(), Name: "destination/api"}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.events, event{w.now + int64(d), w.order, do})
}

// upTo is a random duration.
func (w *world) upTo(most time.Duration) time.Duration {
	return time.Duration(w.Int64N(int64(most) + 1))
}

func (w *world) run(until time.Duration) {
	end := w.now + int64(until)
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// join starts a node whose caller wants to have so many requests at once.
func (w *world) join(wanted int, units int64) *player {
	p := &player{number: len(w.nodes), began: w.now, wanted: wanted, units: units}
	p.l = New(nil, Config{Node: "node"}, w.source, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	p.l.now = func() instant { return instant{moment(w.now-p.began) + 1, moment(w.now-p.began) + 1} }
	p.l.Define(w.key, w.version, w.windows)
	w.nodes = append(w.nodes, p)
	w.look(p)
	w.call(p)
	return p
}

// does has a node do something later: when it no longer stands still, and not when it is dead.
func (w *world) does(p *player, after time.Duration, do func()) {
	w.after(after, func() {
		switch {
		case p.dead:
		case p.frozen > w.now:
			w.does(p, time.Duration(p.frozen-w.now), do)
		default:
			do()
		}
	})
}

// look is the loop of Run.
func (w *world) look(p *player) {
	list, next := p.l.due(p.l.now().mono)
	pause := min(p.l.now().mono.until(next), 20*time.Millisecond)
	if len(list) > 0 {
		w.refresh(p, list)
		return
	}
	w.does(p, max(pause, time.Millisecond), func() { w.look(p) })
}

// refresh is a transaction: asked now, decided a little later, answered later still, or not.
func (w *world) refresh(p *player, list []*key) {
	questions := p.l.ask(list, p.l.now().mono)
	sent := p.l.now()
	w.does(p, w.upTo(3*time.Millisecond), func() {
		var answers []answer
		var err error
		committed := w.Float64() >= w.lossy/2
		if committed || w.Float64() < 0.5 {
			var c changes
			if answers, c, err = p.l.judge(questions, w.read(questions), sent); err != nil {
				panic(err)
			}
			if committed {
				w.write(c, p.l.holder)
			}
		}
		if !committed || w.Float64() < w.lossy/2 {
			err = errKeyGone
		}
		w.does(p, w.upTo(3*time.Millisecond), func() {
			p.l.settle(questions, answers, err, p.l.now())
			w.look(p)
			w.tryIfFreed(p)
		})
	})
}

// call is a caller that asks for requests again and again.
func (w *world) call(p *player) {
	retry := w.try(p)
	w.does(p, min(max(retry, time.Millisecond), 250*time.Millisecond), func() { w.call(p) })
}

func (w *world) tryIfFreed(p *player) {
	select {
	case <-p.l.Freed():
		w.try(p)
	default:
	}
}

func (w *world) try(p *player) time.Duration {
	grants, _, retry := p.l.Take([]Key{w.key}, p.units, p.wanted-p.sending)
	for _, g := range grants {
		p.sending++
		handling := time.Duration(0)
		if w.Float64() < 0.5 {
			handling = w.upTo(w.handling)
		}
		w.does(p, handling, func() { w.send(p, g) })
	}
	return retry
}

// send is a request: it arrives within guard, or has its answer at once when it arrives.
func (w *world) send(p *player, g *Grant) {
	if p.looks || w.Float64() < 0.05 {
		g.Unused()
		p.sending--
		return
	}
	if !g.Sent() {
		p.sending--
		return
	}
	back := w.upTo(w.back)
	if w.Float64() < w.slow {
		back = w.upTo(3 * w.longest())
	}
	w.after(w.upTo(w.there), func() {
		w.arrivals = append(w.arrivals, arrival{w.now, p.units, p.number})
		w.requests += int(p.units)
		w.atOnce = max(w.atOnce, w.requests)
		w.after(back, func() {
			w.requests -= int(p.units)
			w.does(p, 0, func() {
				g.Done()
				p.sending--
				w.tryIfFreed(p)
			})
		})
	})
}

func (w *world) longest() time.Duration {
	longest := time.Millisecond
	for _, one := range w.windows {
		longest = max(longest, one.Period)
	}
	return longest
}

// most is the largest number of units that arrived in any half-open stretch of a period that begins at a time or later.
func (w *world) most(period time.Duration, from int64) int64 {
	slices.SortFunc(w.arrivals, func(a, b arrival) int { return int(a.at - b.at) })
	most, sum, first := int64(0), int64(0), 0
	for _, last := range w.arrivals {
		if last.at < from {
			first++
			continue
		}
		sum += last.units
		for w.arrivals[first].at <= last.at-int64(period) {
			sum -= w.arrivals[first].units
			first++
		}
		most = max(most, sum)
	}
	return most
}

// units counts what arrived from a time on, by node.
func (w *world) units(from int64) map[int]int64 {
	out := map[int]int64{}
	for _, a := range w.arrivals {
		if a.at >= from {
			out[a.node] += a.units
		}
	}
	return out
}
