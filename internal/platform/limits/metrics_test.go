package limits

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/seriestest"
)

func TestEachLimitTellsWhatItAllowsAndWhatWasUsed(t *testing.T) {
	t.Parallel()
	source := ids.NewSource(clock.System)
	l := New(nil, Config{Node: "a"}, source, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	now := moment(time.Hour)
	l.now = func() instant { return instant{now, now} }
	org := source.New()
	api, tenant, queue := Key{org, "destination/api"}, Key{org, "destination/api/tenant-7"}, Key{org, "queue/emails"}
	l.Define(api, 1, []Window{{10, time.Second}, {5000, 24 * time.Hour}})
	l.Define(tenant, 1, []Window{{3, time.Second}})
	l.Define(queue, 1, []Window{{100, 0}})
	told := func(name string) float64 {
		t.Helper()
		value, is := seriestest.Values(t, newSlots(l))[name]
		if !is {
			t.Errorf("%s is not told", name)
		}
		return value
	}
	for name, want := range map[string]float64{
		"kontor_limit_slots destination/api 1": 10, "kontor_limit_slots destination/api 86400": 5000, "kontor_limit_slots queue/emails 0": 100,
		"kontor_limit_used_total destination/api": 0, "kontor_limit_used_total destination/api/*": 0, "kontor_limit_waited_seconds_total queue/emails": 0,
	} {
		if got := told(name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	if _, is := seriestest.Values(t, newSlots(l))["kontor_limit_slots destination/api/* 1"]; is {
		t.Error("the limits of limit keys are told as one")
	}

	if grants, _, _ := l.Take([]Key{api, tenant}, 2, 1); len(grants) != 0 {
		t.Fatal("granted without slots")
	}
	now = now.plus(time.Second)
	if got := told("kontor_limit_waited_seconds_total destination/api"); got != 1 {
		t.Errorf("waited %v s", got)
	}
	for _, k := range l.keys {
		k.leasedUntil = instant{now, now}.plus(time.Minute)
		for _, w := range k.windows {
			w.held = w.limit
		}
	}
	grants, _, _ := l.Take([]Key{api, tenant}, 2, 1)
	if len(grants) != 1 || !grants[0].Sent() {
		t.Fatal("not granted")
	}
	for name, want := range map[string]float64{
		"kontor_limit_used_total destination/api": 2, "kontor_limit_used_total destination/api/*": 2, "kontor_limit_waited_seconds_total destination/api": 1,
	} {
		if got := told(name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}

func TestWhoDoesNotComeBackDoesNotWait(t *testing.T) {
	t.Parallel()
	source := ids.NewSource(clock.System)
	l := New(nil, Config{Node: "a"}, source, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	now := moment(time.Hour)
	l.now = func() instant { return instant{now, now} }
	key := Key{source.New(), "queue/emails"}
	l.Define(key, 1, []Window{{1, time.Second}})
	for range 2 {
		l.Take([]Key{key}, 1, 1)
		now = now.plus(time.Hour)
	}
	if got := seriestest.Values(t, newSlots(l))["kontor_limit_waited_seconds_total queue/emails"]; got != 2*idleAfter.Seconds() {
		t.Errorf("waited %v s", got)
	}
}

func TestLimitsAreNamedUpToABound(t *testing.T) {
	t.Parallel()
	source := ids.NewSource(clock.System)
	l := New(nil, Config{Node: "a"}, source, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	for i := range 2 * namesMax {
		l.Define(Key{source.New(), fmt.Sprintf("queue/%d", i)}, 1, []Window{{1, time.Second}})
	}
	if got := seriestest.Values(t, newSlots(l)); len(got) != 3*namesMax+2 {
		t.Errorf("there are %d series", len(got))
	}
}
