// Package payments takes payments through a provider, once.
//
// It owns the tables payment and payment_attempt, the task kind payments.attempt, and publishes the events payment.created,
// .pending, .authorised, .captured, .refunded, .voided, .declined, .expired, .unknown, .capture_unknown, .refund_unknown, .void_unknown, .capture_requested, .refund_requested, .void_requested,
// .capture_declined, .refund_declined and .void_declined, each with the payment as its payload.
//
// A payment goes through attempts, one at a time: an attempt is one request to the provider, however often it has to be sent. It is
// committed, with the money held in the ledger and a task to carry it out, before the provider hears of it; the provider is called
// outside any transaction; the outcome is committed with the ledger entries it causes. An answer that is lost makes the attempt unknown: the
// provider is then asked what became of it, by our reference, before anything is sent again.
package payments

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// The shown prefixes of ids.
const (
	PaymentPrefix = "pay"
	AttemptPrefix = "att"
)

// Config tunes the module; zero fields take their defaults.
type Config struct {
	ProviderTimeout  time.Duration // bound on one call to a provider; default 5 s
	GiveUpAfter      time.Duration // an attempt that certainly was not carried out is declined once it is as old; default 15 min
	AuthorisationTTL time.Duration // of an authorisation whose provider does not say; default 7 days
}

func (c Config) withDefaults() Config {
	if c.ProviderTimeout <= 0 {
		c.ProviderTimeout = 5 * time.Second
	}
	if c.GiveUpAfter <= 0 {
		c.GiveUpAfter = 15 * time.Minute
	}
	if c.AuthorisationTTL <= 0 {
		c.AuthorisationTTL = 7 * 24 * time.Hour
	}
	return c
}

// Deps are what the module stands on.
type Deps struct {
	DB        *postgres.DB
	Ledger    *ledger.Ledger
	Events    *events.Events
	Tasks     *tasks.Tasks
	IDs       *ids.Source
	Providers []Provider
	Lanes     *lane.Metrics
	Registry  prometheus.Registerer
	Logger    *slog.Logger
}

// Payments is the module. Safe for concurrent use; Run must be running.
type Payments struct {
	Deps
	cfg       Config
	providers map[string]Provider
	metrics   *metrics
	outcomes  *lane.Lane[outcome, struct{}]
	webhooks  *lane.Lane[ProviderWebhook, struct{}]
	flights   flights
	accounts  sync.Map // accountSet -> struct{}: sets that are known to exist
}

// New makes the module and registers its task kind and its sweep.
func New(d Deps, cfg Config) *Payments {
	p := &Payments{Deps: d, cfg: cfg.withDefaults(), providers: map[string]Provider{}, metrics: newMetrics(d.Registry)}
	for _, provider := range d.Providers {
		p.providers[provider.Name()] = provider
		p.metrics.known(provider.Name())
	}
	p.flights.byAttempt = map[ids.ID]*flight{}
	batches := lane.Config{Name: "payment_outcomes", BatchMax: 256, QueueMax: 8192, Workers: 2, Timeout: 30 * time.Second}
	p.outcomes = lane.New(batches, d.Lanes, p.settle)
	batches.Name = "payment_webhooks"
	batches.Workers = 1
	p.webhooks = lane.New(batches, d.Lanes, p.receive)
	// An attempt is never given up: money may have moved, and only the provider can tell. Nor when nodes die under it, one
	// after the other: a payment is not what they die of.
	policy := tasks.Policy{MaxAttempts: -1, LostMax: -1, MinBackoff: 200 * time.Millisecond, MaxBackoff: 30 * time.Second}
	d.Tasks.Handle(taskKind, policy, p.work)
	d.Tasks.Every("payments.expire", 5*time.Second, func(ctx context.Context) error {
		_, err := p.Expire(ctx)
		return err
	})
	return p
}

// Run works its lanes until ctx ends.
func (p *Payments) Run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { _ = p.webhooks.Run(ctx) })
	both.Go(func() { _ = p.outcomes.Run(ctx) })
	both.Wait()
	return nil
}
