package egress

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/nettest"
)

// arrivals is what a server saw of each request.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]int
}

func (a *arrivals) count(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[id]
}

// Whatever the network does, no request arrives twice; one that was said not to have been sent has not arrived, and one that
// was answered has.
func TestOnABadNetworkEachRequestArrivesOnceAtMost(t *testing.T) {
	t.Parallel()
	a := &arrivals{seen: map[string]int{}}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.seen[r.Header.Get("Idempotency-Key")]++
		a.mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("a", 2000))
	})
	proxy := nettest.NewAbrupt(t, server.Host)
	server.Host = proxy.Address()
	c := inside(t)
	ctx, done := context.WithCancel(t.Context())
	var network sync.WaitGroup
	network.Go(func() { worsen(ctx, proxy) })
	verdicts, unsent := map[Sent]int{}, []string{}
	var mu sync.Mutex
	seenAll := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(verdicts) == 3
	}
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for n := 0; n < 150 || n < 15_000 && !seenAll(); n++ { // a fast machine is done before the network is bad
				id := fmt.Sprint(client, "-", n)
				r := Request{Method: http.MethodPost, URL: server, Header: http.Header{"Idempotency-Key": {id}}, Timeout: 30 * time.Millisecond, BodyBytesMax: 10}
				switch n % 3 {
				case 0:
					r.Method = http.MethodGet
				case 1:
					r.Body = []byte(strings.Repeat("b", 10_000))
				}
				got := c.Do(t.Context(), r)
				arrived := a.count(id)
				if arrived > 1 || got.Sent == SentYes && arrived == 0 || got.Sent == SentNo && arrived > 0 || (got.Sent == SentYes) != (got.Status != 0) {
					t.Errorf("%s arrived %d times: %+v", id, arrived, got)
				}
				mu.Lock()
				if verdicts[got.Sent]++; got.Sent == SentNo {
					unsent = append(unsent, id)
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	done()
	network.Wait()
	for _, id := range unsent {
		if a.count(id) > 0 {
			t.Errorf("%s arrived after all", id)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, n := range a.seen { // late arrivals too
		if n > 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
	t.Logf("%v; %d arrived", verdicts, len(a.seen))
	for _, verdict := range []Sent{SentNo, SentMaybe, SentYes} {
		if verdicts[verdict] == 0 {
			t.Errorf("the network was not bad enough: never %s", verdict)
		}
	}
}

// worsen has a fault in the network for a third of the time, until ctx ends.
func worsen(ctx context.Context, proxy *nettest.Proxy) {
	down := false
	heal := func() {
		if down {
			proxy.Up()
		}
		down = false
		proxy.Heal()
	}
	faults := []func(){
		func() { proxy.Reset(nettest.ToServer, 0) }, func() { proxy.Reset(nettest.ToClient, time.Millisecond) },
		func() { proxy.Lose(nettest.ToClient) }, func() { proxy.Lose(nettest.ToServer) },
		proxy.Cut, func() { proxy.Down(); down = true },
		func() { proxy.Latency(nettest.ToServer, 3*time.Millisecond, 3*time.Millisecond) },
	}
	tick := time.NewTicker(7 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		<-tick.C
		if n%3 > 0 { // two thirds of the time it is well
			heal()
			continue
		}
		faults[rand.IntN(len(faults))]()
	}
	heal()
}
