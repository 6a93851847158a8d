package destinations

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func TestADestinationIsKeptAsItWasMade(t *testing.T) {
	h := newHouse(t)
	plain := h.create("plain")
	if got := h.read("plain"); !reflect.DeepEqual(got.Settings.withDefaults(), got.Settings) || got.TimeoutSeconds != 30 || got.MaxResponseBytes != 64<<10 ||
		got.Auth.Type != AuthNone || got.CircuitBreaker != BreakerDefault() || got.Version != 1 || got.ID != plain.ID || got.State.Revision != plain.State.Revision {
		t.Fatalf("%+v", got)
	}
	full := Settings{
		BaseURL: "https://api.example/v1", Auth: Auth{Type: AuthOAuth2, TokenURL: "https://id.example/token", ClientID: "me", ClientSecret: "env:SECRET_X", Scope: "a b"},
		RateLimits: []RateLimit{
			{Name: "second", Limit: 10, PeriodSeconds: 1, Burst: 2, Per: PerDestination, Units: 1},
			{Name: "tenant", Limit: 5000, PeriodSeconds: 86400, Per: PerLimitKey, Units: 5},
		},
		MaxConcurrentDispatches: 7, TimeoutSeconds: 12, MaxResponseBytes: 999, AllowPrivateNetworks: true, AllowAbsoluteURLs: true,
		TLS: TLS{Certificate: "env:SECRET_C", Key: "file:" + Secret(h.dir) + "/key", CA: "env:SECRET_A"}, CloudTasksHeaders: true,
		CircuitBreaker: CircuitBreaker{
			Disabled: true, WindowSeconds: 1, MinimumRequestCount: 2, FailureThreshold: 0.25, BreakerTimeoutSeconds: 3, BreakerTimeoutSecondsMax: 4,
			ProbesMax: 5, SuccessThreshold: 6,
		},
		Classifier: Classifier{"409": ClassSucceeded, "5xx": ClassDeadLetter, "timed_out": ClassRetry},
		Redact:     Redact{Pointers: []string{"/card/number"}, Headers: []string{"X-Own"}},
	}
	made := h.create("full", func(s *Settings) { *s = full })
	got := h.read("full")
	if !reflect.DeepEqual(got.Settings, full) || !reflect.DeepEqual(got.State, made.State) || got.CreatedAt.IsZero() {
		t.Fatalf("%+v\n%+v", got, made)
	}
	list, err := h.List(t.Context(), h.db.Pool(), h.org, ids.ID{}, 1)
	if err != nil || len(list) != 1 || list[0].Name != "plain" {
		t.Fatal(list, err)
	}
	list, err = h.List(t.Context(), h.db.Pool(), h.org, list[0].ID, 10)
	if err != nil || len(list) != 1 || list[0].Name != "full" {
		t.Fatal(list, err)
	}
	err = h.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := h.Create(ctx, tx, Create{OrgID: h.org, Name: "full", Settings: full})
		return err
	})
	if !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	if _, err := h.Get(t.Context(), h.db.Pool(), ids.ID{15: 2}, "full"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}

func TestAllThatIsWrongIsTold(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		change func(*Settings)
		want   []string
	}{
		"nothing": {func(s *Settings) { *s = Settings{} }, []string{"base_url"}},
		"much": {func(s *Settings) {
			s.BaseURL, s.TimeoutSeconds, s.MaxResponseBytes, s.MaxConcurrentDispatches = "ftp://x", -1, 1<<30, -1
			s.Auth = Auth{Type: "magic"}
			s.RateLimits = []RateLimit{{Name: "a", Limit: 0, PeriodSeconds: 1}, {Name: "a", Limit: 1, PeriodSeconds: 0, Burst: 2, Per: "moon", Units: 3}}
			s.CircuitBreaker = CircuitBreaker{FailureThreshold: 2, WindowSeconds: -1, BreakerTimeoutSeconds: 60, BreakerTimeoutSecondsMax: 10}
			s.Classifier = Classifier{"4x": ClassRetry, "200": "fine", "0xx": ClassRetry}
			s.Redact = Redact{Pointers: []string{"a", "/b"}, Headers: []string{"a b"}}
		}, []string{
			"base_url", "auth/type", "rate_limits/0/limit", "rate_limits/1/name", "rate_limits/1/period_seconds", "rate_limits/1/burst",
			"rate_limits/1/units", "rate_limits/1/per", "max_concurrent_dispatches", "timeout_seconds", "max_response_bytes",
			"circuit_breaker/window_seconds", "circuit_breaker/breaker_timeout_seconds_max", "circuit_breaker/failure_threshold",
			"classifier/0xx", "classifier/200", "classifier/4x", "redact/pointers/0", "redact/headers/0",
		}},
		"a URL with too much": {func(s *Settings) { s.BaseURL = "https://u:p@api.example:99999/a/../b?c#d" }, []string{"base_url", "base_url", "base_url", "base_url"}},
		"loopback":            {func(s *Settings) { s.BaseURL = "https://127.0.0.1/" }, []string{"base_url"}},
		"metadata":            {func(s *Settings) { s.BaseURL, s.AllowPrivateNetworks = "http://[fd00:ec2::254]/", true }, []string{"base_url"}},
		"credentials in clear": {func(s *Settings) {
			s.BaseURL, s.Auth = "http://api.example", Auth{Type: AuthBearer, Token: "env:SECRET_X"}
		}, []string{"base_url"}},
		"a literal secret": {func(s *Settings) { s.Auth = Auth{Type: AuthBearer, Token: "sk_live_4242"} }, []string{"auth/token"}},
		"a foreign secret": {func(s *Settings) { s.Auth = Auth{Type: AuthBearer, Token: "env:KONTOR_DATABASE_URL"} }, []string{"auth/token"}},
		"too little":       {func(s *Settings) { s.Auth = Auth{Type: AuthOAuth2} }, []string{"auth/token_url", "auth/client_id", "auth/client_secret"}},
		"what is ignored":  {func(s *Settings) { s.Auth = Auth{Type: AuthNone, Token: "env:SECRET_X", Scope: "a"} }, []string{"auth/token", "auth/scope"}},
		"no header":        {func(s *Settings) { s.Auth = Auth{Type: AuthAPIKey, Key: "env:SECRET_X", Header: "Host"} }, []string{"auth/header"}},
		"a name of a user": {func(s *Settings) { s.Auth = Auth{Type: AuthBasic, Password: "env:SECRET_X", Username: "a:b"} }, []string{"auth/username"}},
		"no scheme":        {func(s *Settings) { s.Auth = Auth{Type: AuthHMAC, Secret: "env:SECRET_X", Scheme: "x"} }, []string{"auth/scheme"}},
		"a foreign address": {func(s *Settings) {
			s.Auth = Auth{Type: AuthOAuth2, TokenURL: "https://10.0.0.1/", ClientID: "a", ClientSecret: "env:SECRET_X"}
		}, []string{"auth/token_url"}},
	} {
		s := Settings{BaseURL: "https://api.example"}
		c.change(&s)
		err := h.inTx(func(ctx context.Context, tx postgres.Tx) error {
			_, err := h.Create(ctx, tx, Create{OrgID: h.org, Name: "api", Settings: s})
			return err
		})
		var got []string
		for _, p := range fault.From(err).Params {
			got = append(got, p.Param)
			if strings.Contains(p.Detail, "4242") {
				t.Errorf("the secret is shown: %s", p.Detail)
			}
		}
		if !errors.Is(err, ErrInvalid) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v: %v", name, err, got)
		}
	}
	err := h.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := h.Create(ctx, tx, Create{OrgID: h.org, Name: "a b", Settings: Settings{BaseURL: "https://api.example"}})
		return err
	})
	if f := fault.From(err); !errors.Is(err, ErrInvalid) || f.Param != "name" {
		t.Errorf("%v", err)
	}
}

func TestChangesAreAskedForByVersion(t *testing.T) {
	h := newHouse(t)
	made := h.create("api", func(s *Settings) { s.RateLimits = []RateLimit{{Name: "second", Limit: 10, PeriodSeconds: 1}} })
	five := int64(5)
	changed, err := h.update(Update{Name: "api", IfVersion: 1, TimeoutSeconds: &five})
	if err != nil || changed.Version != 2 || changed.State.Revision <= made.State.Revision {
		t.Fatal(changed, err)
	}
	got := h.read("api")
	want := made.Settings
	want.TimeoutSeconds, want.Redact = 5, got.Redact
	if !reflect.DeepEqual(got.Settings, want) || !reflect.DeepEqual(got.State, changed.State) {
		t.Fatalf("%+v\n%+v", got, changed)
	}
	if _, err := h.update(Update{Name: "api", IfVersion: 1, TimeoutSeconds: &five}); !errors.Is(err, ErrVersion) {
		t.Fatal(err)
	}
	if _, err := h.update(Update{Name: "absent"}); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	nowhere := "nowhere"
	if _, err := h.update(Update{Name: "api", BaseURL: &nowhere}); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	if got := h.read("api"); got.Version != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestADestinationGoesWhenNobodyNeedsIt(t *testing.T) {
	h := newHouse(t)
	made := h.create("api")
	needed := true
	remove := func() error {
		return h.inTx(func(ctx context.Context, tx postgres.Tx) error {
			return h.Delete(ctx, tx, h.org, "api", func(_ context.Context, _ postgres.Tx, d Destination) (bool, error) {
				if d.ID != made.ID {
					t.Errorf("%+v", d)
				}
				return needed, nil
			})
		})
	}
	entry := h.entry(h.Destinations, "api")
	if err := remove(); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	needed = false
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	if err := remove(); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	h.refresh(h.Destinations)
	if !entry.Gone() {
		t.Error("the node still has it")
	}
	h.refresh(h.Destinations)
	if list, err := h.Use(t.Context(), []Ref{{h.org, "api"}}); err != nil || list[0] != nil {
		t.Error(list, err)
	}
	// Made again, it does not begin below what nodes know of it.
	if again := h.create("api"); again.State.Revision <= made.State.Revision {
		t.Error(again.State.Revision, made.State.Revision)
	}
}

func TestPauseAndResume(t *testing.T) {
	h := newHouse(t)
	made := h.create("api")
	soon := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	for _, until := range []time.Time{{}, soon} {
		paused, err := h.pause(until, "they asked")
		hold, held := paused.State.Hold(time.Now())
		if err != nil || !held || hold != (Hold{Reason: HeldByOperator, Until: until, Detail: "they asked"}) {
			t.Fatal(hold, held, err)
		}
		if got := h.read("api"); !reflect.DeepEqual(got, paused) {
			t.Fatalf("%+v\n%+v", got, paused)
		}
	}
	for _, c := range []struct {
		until  time.Time
		reason string
	}{{time.Now().Add(-time.Second), ""}, {soon, strings.Repeat("a", 501)}} {
		if _, err := h.pause(c.until, c.reason); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
	if resumed := h.resume(false); resumed.State.Pause.Active {
		t.Fatalf("%+v", resumed)
	}
	h.resume(false) // changes nothing
	want := []string{"destination.paused operator", "destination.paused operator", "destination.resumed operator"}
	if got := h.told(made.ID); !slices.Equal(got, want) {
		t.Fatal(got)
	}
}
