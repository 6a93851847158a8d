// Package mockapi is a third-party API of Kontor's own: an HTTP server that answers any request, is strict about its
// limits, misbehaves when told to, and keeps an exact record of what arrived when and what it did. Users try their limits
// and retries against it; Kontor's tests use it as the independent witness of what its tasks did to the outside.
//
// It owns no tables. Everything is in memory and gone when the process ends.
//
// # A request's way
//
// Under one lock a request gets its number and its moment and passes the gate, or does not: limits, then requests at once.
// So the order of the record is the order of its times, and the limits are exact by them. Then its body is read, its
// credential checked, its fate decided: by what it says itself ([overrideNames]), else by the fault profile, whose chance is
// a function of the seed, the request's idempotency key and how often that came. Then its effect is made, once for its
// idempotency key, and it is answered, or not.
//
// An effect is made at once when the request has been read, before any latency, unless a late effect is asked for: so a
// look-up that comes after it is true. A request no longer counts as under way just before its answer is written: whoever
// has the answer may send the next.
//
// # The files
//
// limit.go has the limits as people write them, meter.go the three ways to count, gate.go who gets through; faults.go,
// latency.go and plan.go what is done to a request; serve.go its way; record.go and summary.go the truth; auth.go the
// credentials; control.go the API that changes all that and tells the truth; start.go a server for tests.
package mockapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says how the API behaves. The zero value takes everything and does it once.
type Config struct {
	Limits                Limits
	Faults                Faults
	Auth                  Auth
	IgnoreIdempotencyKeys bool   // a repeated request has its effect again
	OmitLimitHeaders      bool   // say nothing of the limits but Retry-After, as many APIs do
	RetryAfterStyle       string // StyleSeconds or StyleHTTPDate; empty means StyleSeconds
	ResetStyle            string // of X-RateLimit-Reset: StyleUnix or StyleSeconds; empty means StyleUnix
	RecordMax             int    // arrivals, and keys, that are remembered; 0 means RecordMaxDefault
	Logger                *slog.Logger
}

// How times are said in headers.
const (
	StyleSeconds  = "seconds"   // from now
	StyleHTTPDate = "http-date" // Tue, 24 Nov 2026 16:00:00 GMT
	StyleUnix     = "unix"      // seconds since 1970
)

// ErrConfig is what Check wraps.
var ErrConfig = errors.New("wrong configuration")

// Check reports everything that is wrong, joined.
func (c Config) Check() error {
	c = c.withDefaults()
	problems := []error{c.Limits.check(), c.Faults.check(), c.Auth.check()}
	if !slices.Contains([]string{StyleSeconds, StyleHTTPDate}, c.RetryAfterStyle) {
		problems = append(problems, fmt.Errorf("%w: Retry-After is said in seconds or as an http-date, not %q", ErrConfig, c.RetryAfterStyle))
	}
	if !slices.Contains([]string{StyleSeconds, StyleUnix}, c.ResetStyle) {
		problems = append(problems, fmt.Errorf("%w: X-RateLimit-Reset is said in unix or in seconds, not %q", ErrConfig, c.ResetStyle))
	}
	if c.RecordMax < 1 {
		problems = append(problems, fmt.Errorf("%w: a record of %d arrivals is no record", ErrConfig, c.RecordMax))
	}
	return errors.Join(problems...)
}

func (c Config) withDefaults() Config {
	if c.RetryAfterStyle == "" {
		c.RetryAfterStyle = StyleSeconds
	}
	if c.ResetStyle == "" {
		c.ResetStyle = StyleUnix
	}
	if c.RecordMax == 0 {
		c.RecordMax = RecordMaxDefault
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits, c.Faults = c.Limits.withDefaults(), c.Faults.withDefaults()
	return c
}

// Server is the API as an http.Handler. Safe for concurrent use.
type Server struct {
	cfg     Config
	watch   stopwatch
	url     string // if it was started by Start
	control http.Handler
	stop    func()
	stopped <-chan struct{}

	mu       sync.Mutex
	gate     *gate
	faults   Faults
	auth     credentials
	outage   outage
	record   *record
	callers  *callers
	total    total
	number   int64 // of the last arrival, also over resets
	effect   int64 // of the last effect, likewise
	underWay int
	era      int // how often the record was emptied
}

// outage is the API being down.
type outage struct {
	how   string        // downAnswer or downReset; empty: it is up
	until time.Duration // 0: until it is told to be up
}

// The ways to be down.
const (
	downAnswer = "503"
	downReset  = "reset"
)

// New makes an API with an empty record. Close it.
func New(cfg Config) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cfg: cfg.withDefaults(), watch: startStopwatch(), stop: cancel, stopped: ctx.Done()}
	s.faults = s.cfg.Faults
	s.auth = newCredentials(s.cfg.Auth)
	s.control = s.controlRoutes()
	s.Reset()
	return s, nil
}

// ServeHTTP answers one request of the API or of its control.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == strings.TrimSuffix(controlPath, "/") || strings.HasPrefix(r.URL.Path, controlPath):
		s.control.ServeHTTP(w, r)
	case r.URL.Path == tokenPath && s.issuesTokens():
		s.postToken(w, r)
	default:
		s.visit(w, r)
	}
}

// Reset empties the record and the counts of the limits, forgets every key, and leaves the settings as they are.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	limits := s.cfg.Limits
	if s.gate != nil {
		limits = s.gate.limits
	}
	s.gate = newGate(limits, s.cfg.RecordMax)
	s.record = newRecord(s.cfg.RecordMax, s.number+1)
	s.callers = newCallers(s.cfg.RecordMax)
	s.total = total{faults: map[string]int64{}, verdicts: map[Verdict]int64{}}
}

// SetLimits puts other limits in force. Their counts begin anew; the record goes on.
func (s *Server) SetLimits(limits Limits) error {
	if err := limits.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = newGate(limits, s.cfg.RecordMax)
	return nil
}

// SetFaults puts another profile in force for the requests that come from now on.
func (s *Server) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f.withDefaults()
	return nil
}

// Down makes the API answer nothing but 503; or, with reset, break every connection without an answer. It lasts until Up,
// or for a time if that is not 0.
func (s *Server) Down(reset bool, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = outage{how: downAnswer}
	if reset {
		s.outage.how = downReset
	}
	if lasts > 0 {
		s.outage.until = s.watch.now() + lasts
	}
}

// Up ends Down.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = outage{}
}

var _ http.Handler = (*Server)(nil)
