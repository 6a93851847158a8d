// Package destinations is the other side: the APIs of third parties that tasks call, one destination for each account
// there. It knows their address and credentials, sends requests to them, says what became of each, and holds back what
// should not be sent now.
//
// It owns the tables destination (what people set), destination_state (what is learned at run time: pauses, the breaker,
// the learned limit) and destination_limited_key (which limit keys have used up their part), and publishes
// destination.created, .updated, .deleted, .paused and .resumed.
package destinations

import (
	"log/slog"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// Config is what Destinations needs.
type Config struct {
	DB       *postgres.DB
	IDs      *ids.Source
	Clock    clock.Clock
	Events   *events.Events
	Registry prometheus.Registerer
	Log      *slog.Logger
	Tracers  trace.TracerProvider // nil: no spans
	Secrets  SecretSources
	// AllowCIDRs are networks of the operator's own that every destination may lead to.
	AllowCIDRs []netip.Prefix
	// UserAgent is sent where the request has none; empty means "Kontor".
	UserAgent string
	// Requests is how many this node sends at once: as many connections to a destination are kept, or every burst would make
	// them anew. 0 means egress's default.
	Requests int
}

// Destinations keeps destinations and sends to them. Safe for concurrent use.
type Destinations struct {
	Config
	secrets  *secrets
	metrics  *metrics
	tracer   trace.Tracer
	registry *registry
}

// New makes Destinations; it starts nothing.
func New(cfg Config) *Destinations {
	if cfg.Tracers == nil {
		cfg.Tracers = noop.NewTracerProvider()
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "Kontor"
	}
	d := &Destinations{
		Config: cfg, secrets: newSecrets(cfg.Secrets), registry: newRegistry(),
		tracer: cfg.Tracers.Tracer("github.com/kontorhq/kontor/internal/platform/destinations"),
	}
	d.metrics = newMetrics(cfg.Registry, d)
	return d
}
