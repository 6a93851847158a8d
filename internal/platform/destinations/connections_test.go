package destinations

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

func TestABurstUsesTheConnectionsOfTheOneBefore(t *testing.T) {
	t.Parallel()
	const requests = 50
	var made atomic.Int32
	var together sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait()
		_, _ = w.Write([]byte("ok"))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	d := New(Config{Registry: prometheus.NewRegistry(), Clock: clock.System, Requests: requests})
	to, err := d.newTarget(Destination{Name: "api", Settings: Settings{BaseURL: s.URL, AllowPrivateNetworks: true}.withDefaults()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer to.links.close()
	for range 3 {
		together.Add(requests)
		var burst sync.WaitGroup
		for range requests {
			burst.Go(func() {
				if got := d.Send(t.Context(), to, Request{Method: http.MethodGet, URL: "/"}); got.Class != ClassSucceeded {
					t.Error(got.Error)
				}
			})
		}
		burst.Wait()
	}
	if n := made.Load(); n != requests {
		t.Errorf("%d connections for %d requests at once", n, requests)
	}
}
