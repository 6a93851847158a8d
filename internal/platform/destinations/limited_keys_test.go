package destinations

import (
	"fmt"
	"testing"
	"time"
)

// Where requests are counted by limit key, what is turned away for its rate is one key's: it is held on all nodes, and the others go on.
func TestALimitKeyIsHeldByItself(t *testing.T) {
	h := newHouse(t)
	made := h.create("api", func(s *Settings) {
		s.RateLimits = []RateLimit{{Name: "all", Limit: 100, PeriodSeconds: 1}, {Name: "tenant", Limit: 10, PeriodSeconds: 1, Per: PerLimitKey}}
	})
	first, second, one, two := h.pair()
	held := func(key string, entries ...*Entry) {
		t.Helper()
		for i, e := range entries {
			if hold, is := e.Gate(key); !is || hold.Reason != HeldByRetryAfter || hold.LimitKey != key {
				t.Fatalf("node %d: %+v, %v", i+1, hold, is)
			}
		}
	}
	free := func(key string, entries ...*Entry) {
		t.Helper()
		for i, e := range entries {
			if hold, is := e.Gate(key); is {
				t.Fatalf("node %d: %+v", i+1, hold)
			}
		}
	}
	one.Learn(one.Begin("noisy"), answer(ClassRateLimited, 429, after(time.Minute), func(r *Response) {
		r.Advice = Advice{Quotas: []Quota{{1, time.Second}}} // the tenant's, not everybody's
	}))
	two.Learn(two.Begin("spent"), answer(ClassSucceeded, 200, func(r *Response) { r.Advice = Advice{Exhausted: true, Reset: time.Hour} }))
	held("noisy", one) // at once
	held("spent", two)
	free("noisy", two)
	h.refresh(first, second, first)
	held("noisy", one, two)
	held("spent", one, two)
	free("quiet", one, two)
	free("", one, two)
	held("noisy", h.entry(h.node(), "api")) // one that begins now
	if state := h.read("api").State; state.Learned != (Learned{}) || !state.LimitedUntil.IsZero() {
		t.Fatalf("%+v", state)
	}
	if told := h.told(made.ID); len(told) != 0 {
		t.Fatal(told)
	}
	hold, is, err := second.KeyHold(t.Context(), h.db.Pool(), h.org, made.ID, "noisy")
	if left := time.Until(hold.Until); err != nil || !is || hold.Detail != "429" || left < 50*time.Second || left > time.Minute {
		t.Fatalf("%+v, %v, %v", hold, is, err)
	}
	if _, is, err := second.KeyHold(t.Context(), h.db.Pool(), h.org, made.ID, "quiet"); is || err != nil {
		t.Fatal(is, err)
	}
	holds, err := second.KeyHolds(t.Context(), h.db.Pool(), h.org, made.ID, 10)
	if err != nil || len(holds) != 2 || holds[0] != hold || holds[1].LimitKey != "spent" {
		t.Fatalf("%+v, %v", holds, err)
	}
	// A shorter time changes nothing, a longer one extends.
	two.Learn(two.Begin("noisy"), answer(ClassRateLimited, 429, after(time.Second)))
	one.Learn(one.Begin("noisy"), answer(ClassRateLimited, 429, after(time.Hour)))
	h.refresh(second, first, second)
	if hold, _ := two.Gate("noisy"); time.Until(hold.Until) < 59*time.Minute {
		t.Fatalf("%+v", hold)
	}
	h.resume(false)
	h.refresh(first, second)
	held("noisy", one, two)
	h.resume(true)
	h.refresh(first, second)
	free("noisy", one, two)
	free("spent", one, two)
	if holds, err := second.KeyHolds(t.Context(), h.db.Pool(), h.org, made.ID, 10); err != nil || len(holds) > 0 {
		t.Fatalf("%+v, %v", holds, err)
	}
}

func TestWhatIsEverybodysHoldsTheDestination(t *testing.T) {
	for name, c := range map[string]struct {
		per      Scope
		key      string
		response Response
	}{
		"nothing is counted by key":             {PerDestination, "a", answer(ClassRateLimited, 429, after(time.Minute))},
		"it has no key":                         {PerLimitKey, "", answer(ClassRateLimited, 429, after(time.Minute))},
		"the other side is down":                {PerLimitKey, "a", answer(ClassRateLimited, 503, after(time.Minute))},
		"it asks for time, not for its rate":    {PerLimitKey, "a", answer(ClassRetry, 500, after(time.Minute))},
		"the classifier says it is everybody's": {PerLimitKey, "a", answer(ClassRateLimited, 429, after(time.Minute), func(r *Response) { r.everybody = true })},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.create("api", func(s *Settings) {
				s.RateLimits = []RateLimit{{Name: "tenant", Limit: 10, PeriodSeconds: 1, Per: c.per}}
			})
			_, _, one, _ := h.pair()
			one.Learn(one.Begin(c.key), c.response)
			h.closed(HeldByRetryAfter, one)
			if hold, is := one.Gate("b"); !is || hold.LimitKey != "" {
				t.Fatalf("%+v, %v", hold, is)
			}
		})
	}
}

func TestAsManyKeysAsThatHoldTheDestinationForAWhile(t *testing.T) {
	h := newHouse(t)
	h.create("api", func(s *Settings) {
		s.RateLimits = []RateLimit{{Name: "tenant", Limit: 10, PeriodSeconds: 1, Per: PerLimitKey}}
	})
	_, _, one, _ := h.pair()
	for i := range limitedKeysMax {
		one.Learn(one.Begin(fmt.Sprint(i)), answer(ClassRateLimited, 429, after(time.Hour)))
	}
	h.open(one)
	one.Learn(one.Begin("one more"), answer(ClassRateLimited, 429, after(time.Hour)))
	h.closed(HeldByRetryAfter, one)
	if hold, _ := one.Gate("one more"); time.Until(hold.Until) > limitedKeysFull {
		t.Fatalf("%+v", hold)
	}
	h.refresh(h.Destinations)
	if n := one.keysHeld(); n != limitedKeysMax {
		t.Fatal(n)
	}
}

func TestHoldsOfKeysThatAreLongOverAreForgotten(t *testing.T) {
	h := newHouse(t)
	h.create("api", func(s *Settings) {
		s.RateLimits = []RateLimit{{Name: "tenant", Limit: 10, PeriodSeconds: 1, Per: PerLimitKey}}
	})
	_, _, one, _ := h.pair()
	learn := func(key string) {
		one.Learn(one.Begin(key), answer(ClassRateLimited, 429, after(time.Hour)))
		h.refresh(h.Destinations)
	}
	learn("a")
	if _, err := h.db.Pool().Exec(t.Context(), `update destination_limited_key set limited_until = now() - interval '2 hours'`); err != nil {
		t.Fatal(err)
	}
	learn("b")
	var left string
	if err := h.db.Pool().QueryRow(t.Context(), `select string_agg(limit_key, ' ') from destination_limited_key`).Scan(&left); err != nil || left != "b" {
		t.Fatal(left, err)
	}
}
