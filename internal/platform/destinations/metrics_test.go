package destinations

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kontorhq/kontor/internal/kit/seriestest"
)

func TestTheStateOfADestinationIsShownWhateverItIs(t *testing.T) {
	d := newDesk(t)
	now := d.Now()
	closed, open := d.target("http://a.example"), d.target("http://b.example")
	closed.Name, open.Name = "calm", "broken"
	closed.State.Breaker.Position = BreakerClosed
	closed.RateLimits = []RateLimit{
		{Limit: 100, PeriodSeconds: 1, Per: PerDestination},
		{Limit: 5000, PeriodSeconds: 86400, Per: PerDestination, Units: 2},
		{Limit: 5, PeriodSeconds: 60, Per: PerLimitKey},
	}
	open.State.Breaker = Breaker{Position: BreakerOpen, OpenUntil: now.Add(time.Hour)}
	open.State.Learned = Learned{}.Limited(now)
	for _, target := range []*Target{closed, open} {
		d.registry.entries[Ref{Name: target.Name}] = &Entry{d: d.Destinations, target: target, usedAt: now}
	}
	got := seriestest.Values(t, newStates(d.Destinations))
	for name, want := range map[string]float64{
		"kontor_destination_held calm breaker": 0, "kontor_destination_held calm auth": 0, "kontor_destination_held broken breaker": 1,
		"kontor_destination_breaker calm closed": 1, "kontor_destination_breaker calm open": 0, "kontor_destination_breaker broken open": 1,
		"kontor_destination_learned_ratio calm": 1, "kontor_destination_learned_ratio broken": 0.7,
		"kontor_destination_rate_limit calm 1": 100, "kontor_destination_rate_limit calm 86400": 2500,
	} {
		if value, told := got[name]; !told || value != want {
			t.Errorf("%s is %v, not %v", name, value, want)
		}
	}
	if _, told := got["kontor_destination_rate_limit calm 60"]; told {
		t.Error("a limit of limit keys is told as the destination's")
	}
}

func TestAnAddressThatMayNotBeReachedIsCounted(t *testing.T) {
	d := newDesk(t)
	target := d.target("http://169.254.169.254")
	target.AllowPrivateNetworks = false
	fresh, err := d.newTarget(target.Destination, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Send(t.Context(), fresh, Request{Method: http.MethodGet, URL: "/latest/meta-data"})
	if got := testutil.ToFloat64(d.metrics.refused.WithLabelValues("api")); got != 1 {
		t.Errorf("%v were counted", got)
	}
}
