package destinations

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// What a request costs beside the same one through net/http's transport alone.
func BenchmarkSend(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	d := New(Config{
		Registry: prometheus.NewRegistry(), Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		Secrets: SecretSources{Lookup: func(string) (string, bool) { return "s3cret", true }},
	})
	settings := Settings{BaseURL: s.URL, AllowPrivateNetworks: true, Auth: Auth{Type: AuthBearer, Token: "env:SECRET_X"}}.withDefaults()
	to, err := d.newTarget(Destination{ID: ids.ID{1}, Name: "api", Settings: settings}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("net/http", func(b *testing.B) {
		u, _ := url.Parse(s.URL)
		for b.Loop() {
			answer, err := http.DefaultTransport.RoundTrip(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	})
	b.Run("kontor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := d.Send(b.Context(), to, Request{Method: http.MethodGet, URL: "/", IdempotencyKey: "k"}); got.Class != ClassSucceeded {
				b.Fatal(got)
			}
		}
	})
}

// What the engine asks for each task, in memory.
func BenchmarkEntry(b *testing.B) {
	d := New(Config{Registry: prometheus.NewRegistry(), Clock: clock.System})
	settings := Settings{BaseURL: "https://api.example", RateLimits: []RateLimit{
		{Name: "second", Limit: 10, PeriodSeconds: 1}, {Name: "tenant", Limit: 5000, PeriodSeconds: 86400, Per: PerLimitKey},
	}}.withDefaults()
	to, err := d.newTarget(Destination{Name: "api", Settings: settings, State: State{Breaker: Breaker{Position: BreakerClosed}}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	e := &Entry{d: d, target: to}
	ok := Response{Class: ClassSucceeded}
	b.Run("gate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Gate("")
		}
	})
	b.Run("limits", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Limits("tenant-7")
		}
	})
	b.Run("learn", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Learn(e.Begin(""), ok)
		}
	})
}
