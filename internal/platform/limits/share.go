package limits

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// lease is what a node holds of a window, as the database knows it. It counts as used until the period after its end.
type lease struct {
	holder ids.ID
	node   string
	held   int64
	usable int64 // of those held; the rest is given back as it comes free
	busy   int64
	want   int64
	unit   int64
	spent  int64 // used and handed to the database, where it cools
	endsAt time.Time
	turn   int64
}

// overAt is when the last use under the lease has cooled.
func (l lease) overAt(period time.Duration) time.Time { return l.endsAt.Add(period + guardOf(period)) }

// standing is the state of a window in the database.
type standing struct {
	limit   int64
	cooling int64
	freeAt  time.Time // when the next of those is free; zero without any
	leases  []lease   // of all nodes
	at      time.Time // by the database's clock
}

// verdict is what becomes of a wish.
type verdict struct {
	period time.Duration
	held   int64
	cap    int64
	moved  []move    // that begin to cool in the database
	gone   []ids.ID  // holders whose leases are over
	others bool      // other nodes hold slots, which may come free at any time
	freeAt time.Time // when the next slot comes free at a known time; zero without any
	leased bool      // there is something to keep a lease for
}

// scene is a window in the database as one of the nodes sees it.
type scene struct {
	own    *lease
	others []lease // whose leases run
	gone   []ids.ID
	used   int64 // by nobody who can give it back: it cools, or its node is dead
	freeAt time.Time
}

// look sorts the leases of a window.
func look(me ids.ID, period time.Duration, s standing) scene {
	out := scene{used: s.cooling, freeAt: s.freeAt}
	for i, l := range s.leases {
		switch {
		case l.holder == me:
			out.own = &s.leases[i]
		case l.endsAt.After(s.at):
			out.others = append(out.others, l)
		case l.overAt(period).After(s.at):
			out.used += l.held
			if out.freeAt.IsZero() || l.overAt(period).Before(out.freeAt) {
				out.freeAt = l.overAt(period)
			}
		default:
			out.gone = append(out.gone, l.holder)
		}
	}
	return out
}

// decide is the rule by which a node gets and gives slots: what is free is divided by max-min fairness among the nodes that
// want some; who holds more than its share while others have less gives back what it can spare, and uses no more than its
// share from now on. It gives no slot that is not free, whatever the wishes.
func decide(me ids.ID, turn int64, w wish, s standing) verdict {
	seen := look(me, w.period, s)
	v := verdict{period: w.period, cap: uncapped, gone: seen.gone, freeAt: seen.freeAt}
	held, aside, used := int64(0), w.aside, seen.used
	if seen.own != nil {
		held = seen.own.held
		if seen.own.turn == turn { // this very refresh was committed, and only its answer was lost
			aside = 0
		}
	}
	for _, m := range w.moves {
		if seen.own == nil && m.turn < turn || seen.own != nil && m.turn <= seen.own.turn {
			continue // an earlier refresh has moved it, whose answer was lost
		}
		v.moved = append(v.moved, m)
		held -= m.units
		used += m.units
	}
	held = max(held, 0)

	cools := s.cooling + used - seen.used // in the database, and with it all that nodes have spent
	claims := []claim{{me, w.want, w.unit, min(w.spent, cools)}}
	cools -= claims[0].spent
	for _, l := range seen.others {
		spent := min(l.spent, cools) // some of it may be free again since the other node said so
		cools -= spent
		claims = append(claims, claim{l.holder, l.want, l.unit, spent})
	}
	shares := share(max(s.limit-used, 0), claims, s.at.UnixNano()/int64(max(longerThan, w.period)))
	free, lacking := s.limit-used-held, int64(0)
	most := s.limit - used // that is, what the others may not use
	for _, l := range seen.others {
		free -= l.held
		most -= l.usable
		lacking += max(shares[l.holder]-l.held, 0)
	}
	mine := shares[me]
	owed := max(lacking-free, 0) // what others lack and is not free, or is held above a limit that was lowered
	switch {
	case w.idle:
		held -= min(aside, held)
	case held < mine:
		held += max(min(free, mine-held), 0)
	case owed > 0:
		give := min(owed, held-mine)
		v.cap = held - give
		held -= min(give, aside)
	}
	// Normally there is no more held than the limit. After the limit was lowered, this keeps what all may use below it.
	v.cap = min(v.cap, max(most, 0))
	v.held = held
	v.others = slices.ContainsFunc(seen.others, func(l lease) bool { return l.held > 0 })
	// A row is kept for one refresh more where it has to tell what became of this one.
	v.leased = held > 0 || w.want > 0 || len(v.moved) > 0
	return v
}

// claim is how many slots a node has use for besides those that it has spent, and how many of them a use takes.
type claim struct {
	holder            ids.ID
	want, unit, spent int64
}

// share divides slots: everybody gets what it wants or an equal part of what there is, whichever is less. What a node has spent is a part
// of both: else who asks first, whenever some come free, would have half of the rest again and again. What cannot be
// divided equally goes around among the nodes by the turn of time, so that one slot serves two nodes in turn, and a use that takes
// more than an equal part has its turn too.
func share(total int64, claims []claim, round int64) map[ids.ID]int64 {
	out := make(map[ids.ID]int64, len(claims))
	open := slices.Clone(claims)
	for i := range open {
		open[i].want += open[i].spent
		total += open[i].spent
	}
	slices.SortFunc(open, func(a, b claim) int { return cmp.Compare(a.want, b.want) })
	for len(open) > 0 && open[0].want <= total/int64(len(open)) {
		out[open[0].holder] = open[0].want
		total -= open[0].want
		open = open[1:]
	}
	if len(open) > 0 {
		slices.SortFunc(open, func(a, b claim) int { return bytes.Compare(a.holder[:], b.holder[:]) })
		begin := int(uint64(round) % uint64(len(open)))
		open = slices.Concat(open[begin:], open[:begin])
	}
	for i, c := range open {
		left := int64(len(open) - i)
		part := (total + left - 1) / left / c.unit * c.unit
		if i == 0 && part == 0 && c.unit <= total {
			part = c.unit
		}
		out[c.holder] = min(part, c.want)
		total -= out[c.holder]
	}
	for _, c := range open { // what was too little for a use of somebody else
		more := min(total, c.want-out[c.holder]) / c.unit * c.unit
		out[c.holder] += more
		total -= more
	}
	for _, c := range claims { // of that, it has to get what it has not spent
		out[c.holder] = max(out[c.holder]-c.spent, 0)
	}
	return out
}
