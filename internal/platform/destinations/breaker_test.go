package destinations

import (
	"testing"
	"time"
)

func start() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

// Every position meets everything that can happen; what the table does not say cannot be.
func TestBreakerInEveryPositionMeetsEverything(t *testing.T) {
	t.Parallel()
	cfg, now := BreakerDefault(), start()
	positions := map[string]Breaker{
		"new":                {Position: BreakerClosed},
		"closed":             {Position: BreakerClosed, Spell: 3, WindowAt: now.Add(-time.Second), Requests: 8, Failures: 5},
		"closed, window old": {Position: BreakerClosed, Spell: 3, WindowAt: now.Add(-time.Minute), Requests: 9, Failures: 9},
		"open":               {Position: BreakerOpen, Spell: 3, OpenUntil: now.Add(time.Second), Openings: 1},
		"open, time over":    {Position: BreakerOpen, Spell: 3, OpenUntil: now, Openings: 2},
		"half open":          {Position: BreakerHalfOpen, Spell: 3, Openings: 1, Successes: 2},
		"nearly closed":      {Position: BreakerHalfOpen, Spell: 3, Openings: 5, Successes: 4},
	}
	happenings := map[string]Tally{
		"nothing":          {Spell: 3},
		"success":          {Spell: 3, Successes: 1},
		"failure":          {Spell: 3, Failures: 1},
		"refusal":          {Spell: 3, Refusals: 1},
		"much success":     {Spell: 3, Successes: 50},
		"much failure":     {Spell: 3, Failures: 50},
		"more good":        {Spell: 3, Successes: 60, Failures: 5},
		"more bad":         {Spell: 3, Successes: 5, Failures: 60},
		"another spell's":  {Spell: 2, Failures: 100},
		"a future spell's": {Spell: 4, Failures: 100},
	}
	expected := map[string]map[string]BreakerPosition{
		"closed":             {"failure": BreakerClosed, "much failure": BreakerOpen, "more bad": BreakerOpen},
		"closed, window old": {"much failure": BreakerOpen, "more bad": BreakerOpen},
		"open, time over":    {"failure": BreakerOpen, "much failure": BreakerOpen, "more good": BreakerOpen, "more bad": BreakerOpen, "much success": BreakerClosed},
		"half open":          {"failure": BreakerOpen, "much failure": BreakerOpen, "more good": BreakerOpen, "more bad": BreakerOpen, "much success": BreakerClosed},
		"nearly closed": {
			"failure": BreakerOpen, "much failure": BreakerOpen, "more good": BreakerOpen, "more bad": BreakerOpen,
			"success": BreakerClosed, "refusal": BreakerClosed, "much success": BreakerClosed,
		},
	}
	for from, b := range positions {
		for what, tally := range happenings {
			if from == "new" {
				tally.Spell -= 3
			}
			want := b.At(now).Position
			if other, said := expected[from][what]; said {
				want = other
			} else if from == "new" && (what == "much failure" || what == "more bad") {
				want = BreakerOpen
			}
			got := b.Count(cfg, tally, now)
			if got.Position != want {
				t.Errorf("%s, %s: %+v, want %s", from, what, got, want)
			}
			whole(t, cfg, b, got, now)
		}
	}
}

// whole checks what is true of every breaker.
func whole(t *testing.T, cfg CircuitBreaker, before, b Breaker, now time.Time) {
	t.Helper()
	opened := b.Position == BreakerOpen && before.At(now).Position != BreakerOpen
	switch {
	case b.Failures > b.Requests, b.Spell < before.Spell:
		t.Errorf("%+v from %+v", b, before)
	case opened && (b.Spell != before.Spell+1 || !b.OpenUntil.After(now) || b.Openings != before.Openings+1 || b.Requests != 0):
		t.Errorf("opened: %+v from %+v", b, before)
	case !opened && b.Spell != before.Spell:
		t.Errorf("%+v from %+v", b, before)
	case b.Position == BreakerClosed && before.Position != BreakerClosed && (b.Openings != 0 || b.Successes != 0):
		t.Errorf("closed: %+v from %+v", b, before)
	case b.Probes(cfg) < 1 || b.Probes(cfg) > cfg.ProbesMax:
		t.Errorf("%d probes: %+v", b.Probes(cfg), b)
	}
}

func TestTheBreakerOpensAtItsThreshold(t *testing.T) {
	t.Parallel()
	cfg, now := BreakerDefault(), start()
	for _, c := range []struct {
		successes, failures int64
		want                BreakerPosition
	}{
		{0, 9, BreakerClosed}, // fewer than 10
		{0, 10, BreakerOpen},
		{4, 6, BreakerOpen}, // exactly six tenths
		{5, 6, BreakerClosed},
		{40, 60, BreakerOpen},
		{41, 59, BreakerClosed},
	} {
		b := Breaker{Position: BreakerClosed}
		for range c.successes { // one by one, successes first
			b = b.Count(cfg, Tally{Successes: 1}, now)
		}
		for range c.failures {
			b = b.Count(cfg, Tally{Spell: b.Spell, Failures: 1}, now)
		}
		together := Breaker{Position: BreakerClosed}.Count(cfg, Tally{Successes: c.successes, Failures: c.failures}, now)
		if b.Position != c.want || together.Position != c.want {
			t.Errorf("%+v: %s one by one, %s together", c, b.Position, together.Position)
		}
	}
	cfg.Disabled = true
	if b := (Breaker{Position: BreakerClosed}).Count(cfg, Tally{Failures: 100}, now); b.Position != BreakerClosed {
		t.Errorf("%+v", b)
	}
}

func TestTheBreakerWaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	cfg, now := BreakerDefault(), start()
	b := Breaker{Position: BreakerClosed}.Count(cfg, Tally{Failures: 10}, now)
	for i, want := range []time.Duration{30, 60, 120, 240, 480, 900, 900, 900} {
		if got := b.OpenUntil.Sub(now); got != want*time.Second {
			t.Fatalf("opening %d lasts %s", i+1, got)
		}
		if early := b.Count(cfg, Tally{Spell: b.Spell, Failures: 1}, b.OpenUntil.Add(-1)); early != b {
			t.Fatalf("%+v from %+v", early, b)
		}
		now = b.OpenUntil
		b = b.Count(cfg, Tally{Spell: b.Spell, Failures: 1}, now)
	}
	// Probes grow with success, and the fifth closes it; then it begins at half a minute again.
	now = b.OpenUntil
	for want := int64(1); want <= 5; want++ {
		if b = b.At(now); b.Position != BreakerHalfOpen || b.Probes(cfg) != want {
			t.Fatalf("%+v", b)
		}
		b = b.Count(cfg, Tally{Spell: b.Spell, Successes: 1}, now)
	}
	if b.Position != BreakerClosed {
		t.Fatalf("%+v", b)
	}
	if b = b.Count(cfg, Tally{Spell: b.Spell, Failures: 10}, now); b.OpenUntil.Sub(now) != 30*time.Second {
		t.Fatalf("%+v", b)
	}
	spell := b.Spell
	if b = b.Reset(now); b.Position != BreakerClosed || b.Spell != spell+1 || b.Reset(now) != b {
		t.Fatalf("%+v", b)
	}
	if b = b.Count(cfg, Tally{Spell: spell, Failures: 100}, now); b.Position != BreakerClosed {
		t.Fatalf("what was under way when it was reset counts: %+v", b)
	}
}

func TestTheLearnedShare(t *testing.T) {
	t.Parallel()
	now := start()
	l := Learned{}
	if l.Share(now) != 1000 {
		t.Fatal(l)
	}
	l = l.Limited(now)
	if l.Share(now) != 700 || l.Limited(now.Add(time.Second)) != l {
		t.Fatal(l)
	}
	for quiet, want := range map[time.Duration]int64{0: 700, 9 * time.Second: 700, 10 * time.Second: 750, 59 * time.Second: 950, time.Minute: 1000, time.Hour: 1000, -time.Hour: 700} {
		if got := l.Share(now.Add(quiet)); got != want {
			t.Errorf("after %s: %d", quiet, got)
		}
	}
	again := l.Limited(now.Add(20 * time.Second))
	if again.Permille != 560 {
		t.Fatal(again)
	}
	for range 100 {
		now = now.Add(3 * time.Second)
		l = l.Limited(now)
	}
	if l.Permille != leastShare {
		t.Fatal(l)
	}
	// What the other side names is a ceiling for a while, and written down once a minute.
	told := Learned{}.Told(300, now)
	if told.Share(now) != 300 || told.Told(300, now.Add(59*time.Second)) != told || told.Told(300, now.Add(time.Minute)) == told {
		t.Error(told)
	}
	if told.Told(299, now) == told || told.Told(2000, now) != (Learned{}) || told.Told(1, now).Ceiling != leastShare {
		t.Error(told)
	}
	if both := told.Limited(now); both.Share(now) != 210 || both.Share(now.Add(time.Minute)) != 300 || both.Share(now.Add(time.Hour)) != 1000 {
		t.Error(both)
	}
	for _, c := range [][3]int64{{1000, 7, 7}, {700, 10, 7}, {700, 1, 1}, {10, 50, 1}, {560, 1_000_000_000, 560_000_000}, {750, 5000, 3750}} {
		if got := share(c[0], c[1]); got != c[2] {
			t.Errorf("%v: %d", c, got)
		}
	}
}
