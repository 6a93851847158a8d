package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/nettest"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const unknownSQL = `select count(*) from task_attempt where outcome = 'unknown'`

// spoil has the network before the third party lose answers in every way, one after the other, each until a good number of
// outcomes are unknown.
func (w *witness) spoil(network *nettest.Proxy) {
	w.Helper()
	const doubts = 12
	for _, way := range []struct {
		name  string
		spoil func()
	}{
		{"connections are reset", func() { network.Reset(nettest.ToClient, 0) }},
		{"answers come too late", func() { network.Latency(nettest.ToClient, 3*time.Second, 0) }},
		{"answers are swallowed", func() { network.Lose(nettest.ToClient) }},
		{"requests are swallowed", func() { network.Lose(nettest.ToServer) }},
	} {
		before := w.count(unknownSQL)
		way.spoil()
		w.eventually(way.name, func() bool { return w.count(unknownSQL) >= before+doubts })
		network.Heal()
		w.amid(w.mock.Summary().Arrivals + doubts)
	}
}

// Answers are lost on the way. Every request is repeated under its key, which the third party knows: each was done once.
func TestLostAnswersAreAskedForUnderTheSameKey(t *testing.T) {
	w := newWitness(t, careful(50*time.Millisecond))
	network := nettest.NewAbrupt(t, strings.TrimPrefix(w.mock.URL(), "http://"))
	w.reachedAt("http://"+network.Address(), 1)
	const calls = 1000
	w.start("a")
	w.start("b")
	w.calls(w.program, calls)
	w.amid(calls / 10)
	w.spoil(network)
	w.settled()
	unclear := w.agree(calls)
	s := w.mock.Summary()
	if s.Effects != calls || s.DuplicateEffects != 0 || s.Replayed == 0 {
		t.Errorf("%+v", s)
	}
	t.Logf("%d attempts in doubt, %d requests were answered with the effect that was there", unclear, s.Replayed)
}

// The third party knows no keys. What it has done is looked up before anything is sent again: each was done once.
func TestLostAnswersAreLookedUp(t *testing.T) {
	w := newWitness(t, careless(50*time.Millisecond))
	network := nettest.NewAbrupt(t, strings.TrimPrefix(w.mock.URL(), "http://"))
	w.reachedAt("http://"+network.Address(), 1)
	const calls = 1000
	w.start("a")
	w.start("b")
	specs := make([]tasks.Spec, calls)
	for i := range specs {
		key := fmt.Sprint("order-", i)
		specs[i] = w.call(w.program, &tasks.HTTPRequest{Method: http.MethodGet, URL: "/records/" + key})
		specs[i].IdempotencyKey = key
	}
	w.enqueue(w.program, specs)
	w.amid(calls / 10)
	w.spoil(network)
	w.settled()
	unclear := w.agree(calls)
	if s := w.mock.Summary(); s.Effects != calls || s.DuplicateEffects != 0 {
		t.Errorf("%+v", s)
	}
	t.Logf("%d attempts in doubt", unclear)
}
