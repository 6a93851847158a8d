package app

import (
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
)

func TestHowLongAnImportTakes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	perKey := client.RateLimitPerLimitKey
	two := int64(2)
	limit := func(limit, seconds int64) client.RateLimit {
		return client.RateLimit{Limit: limit, PeriodSeconds: seconds}
	}
	for name, c := range map[string]struct {
		n           int64
		queue       float64
		limits      []client.RateLimit
		permille    int64
		waiting     int32
		took        time.Duration
		by, message string
	}{
		"two days' worth": {
			10_000, 50,
			[]client.RateLimit{limit(5000, 86400), limit(10, 1)},
			1000, 0, day, "crm allows 5000 in a day",
			"At the limits as they are now, the last of them begins in about a day: crm allows 5000 in a day.",
		},
		"three days' worth": {
			10_001, 50,
			[]client.RateLimit{limit(5000, 86400)},
			1000, 0, 2 * day, "crm allows 5000 in a day",
			"At the limits as they are now, the last of them begins in about 2 days: crm allows 5000 in a day.",
		},
		"what waits goes first": {
			10_000, 50,
			[]client.RateLimit{limit(5000, 86400)},
			1000, 1, 2 * day, "crm allows 5000 in a day",
			"At the limits as they are now, the last of them begins in about 2 days: crm allows 5000 in a day. 1 task waits in the queue already.",
		},
		"a slow queue": {
			100, 0.5,
			[]client.RateLimit{limit(10, 1)},
			1000, 0, 198 * time.Second, "the queue q begins 0.5 in a second",
			"At the limits as they are now, the last of them begins in about 3 minutes: the queue q begins 0.5 in a second.",
		},
		"a share that was learned": {
			101, 1000,
			[]client.RateLimit{limit(10, 1)},
			500, 0, 20 * time.Second, "crm allows 5 in a second",
			"At the limits as they are now, the last of them begins in about 20 seconds: crm allows 5 in a second.",
		},
		"units, and not the limits of keys": {
			101, 1000,
			[]client.RateLimit{{Limit: 10, PeriodSeconds: 1, Units: &two}, {Limit: 1, PeriodSeconds: 86400, Per: &perKey}},
			1000, 0, 20 * time.Second,
			"crm allows 5 in a second", "At the limits as they are now, the last of them begins in about 20 seconds: crm allows 5 in a second.",
		},
		"a few": {5, 50, nil, 1000, 0, 80 * time.Millisecond, "the queue q begins 50 in a second", "No limit holds them up for longer than a second."},
	} {
		var f importForecast
		list := append(f.ofQueue(&client.Queue{Name: "q", MaxDispatchesPerSecond: c.queue, Tasks: &client.QueueCounts{Available: c.waiting}}),
			f.ofDestination(&client.Destination{Name: "crm", RateLimits: c.limits, LearnedPermille: c.permille})...)
		took, by := slowest(list, c.n+f.Ahead)
		f.Limit, f.Seconds = by, int64((took+time.Second-1)/time.Second)
		if took != c.took || by != c.by || f.sentence() != c.message {
			t.Errorf("%s: %s by %q\n%s", name, took, by, f.sentence())
		}
	}
	held := importForecast{}
	held.ofQueue(&client.Queue{Name: "q", State: client.QueueStatePaused, MaxDispatchesPerSecond: 1})
	if held.Held == "" || (allowance{limit: 1, period: 1 << 62}).last(1<<40) <= 0 {
		t.Errorf("%+v", held)
	}
}
