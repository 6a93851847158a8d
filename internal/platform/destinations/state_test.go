package destinations

import (
	"reflect"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Every set of holds together: the one that ends last is told, and none is told after its end.
func TestOfSeveralHoldsTheLongestIsTold(t *testing.T) {
	t.Parallel()
	now := start()
	later := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	pauses := []Pause{{}, {Active: true}, {Active: true, Until: later(20)}, {Active: true, Until: later(-1)}, {Until: later(99)}}
	limited := []time.Time{{}, later(-1), now, later(10), later(40)}
	auths := []AuthHold{{}, {HeldAt: now}}
	breakers := []Breaker{{Position: BreakerClosed}, {Position: BreakerOpen, OpenUntil: later(30)}, {Position: BreakerOpen, OpenUntil: now}, {Position: BreakerHalfOpen}}
	for _, p := range pauses {
		for _, l := range limited {
			for _, a := range auths {
				for _, b := range breakers {
					s := State{Pause: p, LimitedUntil: l, Auth: a, Breaker: b}
					got, held := s.Hold(now)
					ends := []time.Time{}
					forever := p.Active && p.Until.IsZero() || !a.HeldAt.IsZero()
					if p.Active {
						ends = append(ends, p.Until)
					}
					ends = append(ends, l)
					if b.Position == BreakerOpen {
						ends = append(ends, b.OpenUntil)
					}
					var last time.Time
					for _, end := range ends {
						if end.After(now) && end.After(last) {
							last = end
						}
					}
					if held != (forever || !last.IsZero()) || forever && !got.Until.IsZero() || !forever && !got.Until.Equal(last) {
						t.Errorf("%+v: %+v, %v", s, got, held)
					}
				}
			}
		}
	}
}

func TestWhatANodeLearnedIsAddedToWhatAllKnow(t *testing.T) {
	t.Parallel()
	now, cfg := start(), BreakerDefault()
	fresh := State{Revision: 7, Breaker: Breaker{Position: BreakerClosed}}
	held := fresh
	held.Auth = AuthHold{HeldAt: now.Add(-time.Hour), Mark: "old"}
	limitedAlready := fresh
	limitedAlready.LimitedUntil = now.Add(time.Minute)
	for name, c := range map[string]struct {
		from    State
		delta   Delta
		changes bool
		check   func(State) bool
	}{
		"nothing":               {fresh, Delta{}, false, func(s State) bool { return s == fresh }},
		"a success":             {fresh, Delta{Tallies: []Tally{{Successes: 1}}}, false, func(s State) bool { return s.Breaker.Requests == 1 }},
		"too many failures":     {fresh, Delta{Tallies: []Tally{{Failures: 10}}, LastError: "500"}, true, func(s State) bool { return s.Breaker.Position == BreakerOpen && s.LastError == "500" }},
		"a failure":             {fresh, Delta{Tallies: []Tally{{Failures: 1}}, LastError: "500"}, false, func(s State) bool { return s.LastError == "" }},
		"come later":            {fresh, Delta{PauseFor: time.Minute}, true, func(s State) bool { return s.LimitedUntil.Equal(now.Add(time.Minute)) }},
		"come sooner than told": {limitedAlready, Delta{PauseFor: time.Second}, false, func(s State) bool { return s.LimitedUntil.Equal(now.Add(time.Minute)) }},
		"come later than told":  {limitedAlready, Delta{PauseFor: time.Hour}, true, func(s State) bool { return s.LimitedUntil.Equal(now.Add(time.Hour)) }},
		"turned away":           {fresh, Delta{Limited: true}, true, func(s State) bool { return s.Learned.Share(now) == 700 }},
		"told less":             {fresh, Delta{Told: 400}, true, func(s State) bool { return s.Learned.Share(now) == 400 }},
		"told as much":          {fresh, Delta{Told: 1000}, false, func(s State) bool { return s.Learned == Learned{} }},
		"refused":               {fresh, Delta{Refused: true, Mark: "m", Version: 2}, true, func(s State) bool { return s.Auth == AuthHold{now, "m"} }},
		"refused before change": {fresh, Delta{Refused: true, Mark: "m", Version: 1}, false, func(s State) bool { return s.Auth.HeldAt.IsZero() }},
		"refused again":         {held, Delta{Refused: true, Mark: "m", Version: 2}, false, func(s State) bool { return s.Auth == held.Auth }},
		"renewed":               {held, Delta{Renewed: true, Mark: "old"}, true, func(s State) bool { return s.Auth == AuthHold{} }},
		"renewed long ago":      {held, Delta{Renewed: true, Mark: "older"}, false, func(s State) bool { return s.Auth == held.Auth }},
	} {
		got := c.from.After(c.delta, cfg, 2, now)
		if !c.check(got) || (got.Revision != c.from.Revision) != c.changes {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestLimitsAreTranslated(t *testing.T) {
	t.Parallel()
	now := start()
	d := Destination{OrgID: ids.ID{1}, Name: "api", Settings: Settings{
		MaxConcurrentDispatches: 20, CircuitBreaker: BreakerDefault(),
		RateLimits: []RateLimit{
			{Name: "second", Limit: 10, PeriodSeconds: 1, Per: PerDestination, Units: 1},
			{Name: "day", Limit: 5000, PeriodSeconds: 86400, Burst: 100, Per: PerDestination, Units: 1},
			{Name: "points", Limit: 1000, PeriodSeconds: 60, Per: PerLimitKey, Units: 10},
		},
	}}
	d.State = State{Revision: 5, Breaker: Breaker{Position: BreakerClosed}}
	target := &Target{Destination: d}
	w := func(limit int64, period time.Duration) limits.Window {
		return limits.Window{Limit: limit, Period: period}
	}
	own, each := limits.Key{OrgID: d.OrgID, Name: "destination/api"}, limits.Key{OrgID: d.OrgID, Name: "destination/api/tenant"}
	expect := func(when string, at time.Time, version int64, first, second []limits.Window) {
		t.Helper()
		if got, want := target.limits("tenant", at), []Limit{{own, version, first}, {each, version, second}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", when, got, want)
		}
	}
	burst := 1728 * time.Second
	expect("at first", now, 320, []limits.Window{w(10, time.Second), w(5000, 24*time.Hour), w(100, burst), w(20, 0)}, []limits.Window{w(100, time.Minute)})
	target.State.Learned = Learned{Permille: 700, At: now}
	expect("limited", now, 320, []limits.Window{w(7, time.Second), w(3500, 24*time.Hour), w(70, burst), w(20, 0)}, []limits.Window{w(70, time.Minute)})
	expect("a while later", now.Add(25*time.Second), 324, []limits.Window{w(8, time.Second), w(4000, 24*time.Hour), w(80, burst), w(20, 0)}, []limits.Window{w(80, time.Minute)})
	expect("long after", now.Add(time.Hour), 332, []limits.Window{w(10, time.Second), w(5000, 24*time.Hour), w(100, burst), w(20, 0)}, []limits.Window{w(100, time.Minute)})
	target.State.Learned = Learned{}.Told(target.told([]Quota{{5000, 24 * time.Hour}, {5, time.Second}, {1, time.Hour}}), now)
	expect("told less", now, 320, []limits.Window{w(5, time.Second), w(2500, 24*time.Hour), w(50, burst), w(20, 0)}, []limits.Window{w(50, time.Minute)})
	expect("told less long ago", now.Add(time.Hour), 321, []limits.Window{w(10, time.Second), w(5000, 24*time.Hour), w(100, burst), w(20, 0)}, []limits.Window{w(100, time.Minute)})
	target.State = State{Revision: 6, Breaker: Breaker{Position: BreakerHalfOpen, Successes: 2}}
	expect("half open", now, 384, []limits.Window{w(10, time.Second), w(5000, 24*time.Hour), w(100, burst), w(20, 0), w(3, 0), w(3, time.Second)}, []limits.Window{w(100, time.Minute)})
	if configured, effective := target.DispatchRates(now); configured != (Pace{5000.0 / 86400, true}) || effective != configured {
		t.Errorf("%+v, %+v", configured, effective)
	}
	target.RateLimits = target.RateLimits[:1]
	target.State.Learned = Learned{Permille: 700, At: now}
	if configured, effective := target.DispatchRates(now); configured != (Pace{10, true}) || effective != (Pace{3, true}) {
		t.Errorf("half open: %+v, %+v", configured, effective)
	}
	target.State.Breaker = Breaker{Position: BreakerClosed}
	if _, effective := target.DispatchRates(now); effective != (Pace{7, true}) {
		t.Errorf("learned: %+v", effective)
	}
	target.State.Pause = Pause{Active: true}
	if _, effective := target.DispatchRates(now); effective != (Pace{0, true}) {
		t.Errorf("held: %+v", effective)
	}
	target.Settings, target.State = Settings{}, State{Breaker: Breaker{Position: BreakerClosed}}
	if got := target.limits("tenant", now); got != nil {
		t.Errorf("%+v", got)
	}
	if configured, effective := target.DispatchRates(now); configured.Limited || effective.Limited {
		t.Errorf("without limits: %+v, %+v", configured, effective)
	}
}
