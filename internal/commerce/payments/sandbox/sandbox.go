// Package sandbox is a payment provider of Kontor's own: an HTTP server with its own memory of every charge it
// really made, and the adapter that speaks to it. Users try their integration against it; Kontor's simulation
// uses it as the independent witness of what happened to the money.
//
// It owns no tables. Everything is in memory and gone when the process ends.
//
// # The faults
//
// Seeded faults ([Faults]) make it decline to be well-behaved: slow, rate limited, failing before or after the
// effect, resetting or hanging connections, webhooks twice, late and out of order. What befalls a request is a pure
// function of the seed, the reference and how often that reference was sent, so a seed reproduces a run.
//
// # The guarantee
//
// An effect is made within [Faults].SettleWithin of the request being received, or never. A request that is slow and
// whose client has gone away still has its effect, as with a real provider; but one that could not be served within
// the bound is refused without an effect (503 too_late). A client that knows when it sent the request may tighten
// the bound with the header Request-Deadline (Unix milliseconds): the effect is not made after that moment, however
// long the request lay in a buffer. A look-up that finds nothing after the bound therefore proves that nothing
// happened. Settling a charge that was answered "pending" and expiring an authorisation are later events of a
// known charge, not effects of a request.
//
// # The files
//
// wire.go has the nouns as JSON shows them, charge.go the rules of a charge, book.go the record, api.go the provider's
// API, perform.go a request's way through its faults to its effect, witness.go the witness, faults.go and chance.go
// the faults, webhooks.go and deliver.go the notifications; provider.go, classify.go and notification.go are the
// adapter.
package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The defaults of a ServerConfig, and bounds that are not worth a setting.
const (
	SettleDelayDefault      = 2 * time.Second
	AuthorisationTTLDefault = 7 * 24 * time.Hour
	hangMax                 = 30 * time.Second
	advanceEvery            = 100 * time.Millisecond
)

// ServerConfig says how the provider behaves. The zero value is a well-behaved provider without webhooks.
type ServerConfig struct {
	Faults           Faults
	WebhookURL       string        // empty: no webhooks until POST /witness/webhooks
	WebhookSecret    string        // "whsec_" and base64; needed with a WebhookURL
	SettleDelay      time.Duration // how long tok_requires_time stays pending; 0 means SettleDelayDefault
	AuthorisationTTL time.Duration // how long an authorisation can be captured; 0 means AuthorisationTTLDefault
	Clock            clock.Clock   // nil means clock.System
	Logger           *slog.Logger  // nil means no logging
}

// Server is the provider as an http.Handler. Run delivers its webhooks; everything else works without Run.
// Safe for concurrent use.
type Server struct {
	clock    clock.Clock
	log      *slog.Logger
	faults   atomic.Pointer[Faults]
	book     *book
	webhooks *webhooks
	tally    tally
	requests atomic.Int64
	handler  http.Handler
	invalid  error // what was wrong with the configuration; Run reports it
	stopOnce sync.Once
	stopped  chan struct{}
}

// NewServer makes a provider with an empty record. A webhook target that cannot work is reported by Run.
func NewServer(cfg ServerConfig) *Server {
	if cfg.SettleDelay <= 0 {
		cfg.SettleDelay = SettleDelayDefault
	}
	if cfg.AuthorisationTTL <= 0 {
		cfg.AuthorisationTTL = AuthorisationTTLDefault
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{clock: cfg.Clock, log: cfg.Logger, stopped: make(chan struct{})}
	source := ids.NewSource(cfg.Clock)
	newID := func(prefix string) string { return ids.Format(prefix, source.New()) }
	s.setFaults(cfg.Faults)
	s.webhooks = newWebhooks(cfg.Clock, cfg.Logger, newID, &s.faults, &s.tally)
	s.book = newBook(newID, cfg.SettleDelay, cfg.AuthorisationTTL, s.webhooks.enqueue)
	if cfg.WebhookURL != "" {
		s.invalid = s.webhooks.aim(cfg.WebhookURL, cfg.WebhookSecret)
	}
	s.handler = s.routes()
	return s
}

// ServeHTTP answers one request of the provider's API or of the witness.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run delivers webhooks, settles pending charges and expires authorisations until ctx ends; undelivered webhooks
// are then dropped and hanging requests let go. Call it once. It returns an error only for a webhook target that
// cannot work.
func (s *Server) Run(ctx context.Context) error {
	defer s.stopOnce.Do(func() { close(s.stopped) })
	if s.invalid != nil {
		return fmt.Errorf("sandbox: %w", s.invalid)
	}
	var running sync.WaitGroup
	running.Go(func() { s.webhooks.run(ctx) })
	ticker := time.NewTicker(advanceEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			return nil
		case <-ticker.C:
			s.book.mu.Lock()
			s.book.advance(s.clock())
			s.book.mu.Unlock()
		}
	}
}

// setFaults puts a profile in force for the requests that come from now on.
func (s *Server) setFaults(f Faults) {
	f = f.withDefaults()
	s.faults.Store(&f)
}

// routes is the whole surface. Only /v1 suffers faults.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/charges", s.provider(s.postCharge))
	mux.HandleFunc("POST /v1/charges/{id}/captures", s.provider(s.postMovement(KindCapture)))
	mux.HandleFunc("POST /v1/charges/{id}/refunds", s.provider(s.postMovement(KindRefund)))
	mux.HandleFunc("POST /v1/charges/{id}/voids", s.provider(s.postMovement(KindVoid)))
	mux.HandleFunc("GET /v1/charges", s.provider(s.listCharges))
	mux.HandleFunc("GET /v1/operations/{reference}", s.provider(s.getOperations))
	mux.HandleFunc("GET /witness/summary", s.getSummary)
	mux.HandleFunc("GET /witness/payments", s.listPayments)
	mux.HandleFunc("POST /witness/charges/{reference}/duplicate", s.plantDuplicate)
	mux.HandleFunc("GET /witness/faults", s.getFaults)
	mux.HandleFunc("PUT /witness/faults", s.putFaults)
	mux.HandleFunc("POST /witness/webhooks", s.postWebhookTarget)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, []byte(`{"status":"ok"}`))
	})
	return mux
}

var _ http.Handler = (*Server)(nil)
