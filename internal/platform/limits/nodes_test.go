package limits

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// witness is the other side of an API: it writes down when each request arrived, and looks afterwards.
type witness struct {
	mu       sync.Mutex
	arrivals []time.Time
	by       map[string]int
	atOnce   int
	mostAt   int
}

func (w *witness) arrive(node string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[string]int{}
	}
	w.arrivals = append(w.arrivals, at)
	w.by[node]++
	w.atOnce++
	w.mostAt = max(w.mostAt, w.atOnce)
}

func (w *witness) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.atOnce--
}

// most is the largest number of arrivals in any half-open stretch of the period.
func (w *witness) most(period time.Duration) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.arrivals, time.Time.Compare)
	most, first := 0, 0
	for last := range w.arrivals {
		for w.arrivals[last].Sub(w.arrivals[first]) >= period {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// between counts arrivals from a beginning to an end.
func (w *witness) between(begin, end time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, at := range w.arrivals {
		if !at.Before(begin) && at.Before(end) {
			n++
		}
	}
	return n
}

// client sends requests through a node as fast as it may until ctx ends. A request takes a random time there and back.
type client struct {
	node    *Limits
	name    string
	keys    []Key
	most    int // requests at once
	there   time.Duration
	back    time.Duration
	witness *witness
}

func (c *client) run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	slots := make(chan struct{}, c.most)
	for ctx.Err() == nil {
		grants, _, retry := c.node.Take(c.keys, 1, c.most-len(slots))
		for _, g := range grants {
			slots <- struct{}{}
			sending.Go(func() {
				defer func() { <-slots }()
				c.send(g)
			})
		}
		if len(grants) > 0 && retry == 0 {
			retry = time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-c.node.Freed():
		case <-time.After(max(retry, time.Millisecond)):
		}
	}
}

func (c *client) send(g *Grant) {
	if !g.Sent() {
		return
	}
	<-time.After(rand.N(c.there + 1))
	c.witness.arrive(c.name, time.Now())
	<-time.After(rand.N(c.back + 1))
	c.witness.leave()
	g.Done()
}

// saturate has clients of several nodes send as fast as they may, for so long.
func saturate(b *bench, clients []*client, duration time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), duration)
	defer cancel()
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() { c.run(ctx) })
	}
	all.Wait()
}

func TestSeveralNodesNeverExceedALimitAndUseIt(t *testing.T) {
	b := setup(t)
	const nodes, limit, period = 3, 50, time.Second
	seen, key := &witness{}, b.key("destination/api")
	var clients []*client
	for i := range nodes {
		name := fmt.Sprint("node-", i)
		node := b.node(name, Config{})
		b.run(node)
		node.Define(key, 1, []Window{{limit, period}, {Limit: 40}})
		clients = append(clients, &client{node: node, name: name, keys: []Key{key}, most: 60, there: 10 * time.Millisecond, back: 20 * time.Millisecond, witness: seen})
	}
	began := time.Now()
	saturate(b, clients, 10*time.Second)
	if most := seen.most(period); most > limit {
		t.Errorf("%d arrivals within %v, allowed are %d", most, period, limit)
	}
	if seen.mostAt > 40 {
		t.Errorf("%d at once, allowed are 40", seen.mostAt)
	}
	steady := seen.between(began.Add(3*time.Second), began.Add(10*time.Second))
	t.Logf("%.1f %% of the rate; by node %v", 100*float64(steady)/(7*limit), seen.by)
}
