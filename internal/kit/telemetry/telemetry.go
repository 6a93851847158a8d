// Package telemetry is how a running Kontor is seen: structured logs whose every line carries the request id and
// the trace id found in its context, one registry of Prometheus metrics, and OpenTelemetry traces when there is
// somewhere to send them. Without an OTLP endpoint no tracing code runs at all.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
)

// The formats of log lines.
const (
	FormatJSON = "json"
	FormatText = "text"
)

// Config says what is told and where to. Service is required.
type Config struct {
	Service      string     // in every log line and span
	Version      string     // of the binary
	Node         string     // this process, as leases and attempts name it
	LogLevel     slog.Level // lines below it are not written
	LogFormat    string     // FormatJSON or FormatText; empty means FormatJSON
	OTLPEndpoint string     // base URL of a collector, such as http://localhost:4318; empty: no tracing
	Output       io.Writer  // where log lines go; nil means standard error
}

// Telemetry is the telemetry of one process. Safe for concurrent use.
type Telemetry struct {
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Tracers  trace.TracerProvider // does nothing unless Tracing

	lines   *lineWriter
	tracing *tracing
}

// New starts telemetry. With an OTLPEndpoint it also becomes OpenTelemetry's global tracer provider, because that is
// where libraries look for theirs.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Output == nil {
		cfg.Output = os.Stderr
	}
	lines := &lineWriter{out: cfg.Output}
	t := &Telemetry{Logger: slog.New(newHandler(lines, cfg)), Registry: newRegistry(cfg), lines: lines}
	var err error
	if t.tracing, err = newTracing(ctx, cfg, t.Logger); err != nil {
		return nil, fmt.Errorf("start tracing to %s: %w", cfg.OTLPEndpoint, err)
	}
	t.Tracers = t.tracing.provider
	return t, nil
}

// Tracing tells whether spans go anywhere: with false, do not wrap handlers and statements at all.
func (t *Telemetry) Tracing() bool { return t.tracing.sdk != nil }

// Shutdown sends what is still buffered, spans first. Lines logged later are still written, without a buffer.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	err := t.tracing.shutdown(ctx)
	if closeErr := t.lines.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("send the last telemetry: %w", err)
	}
	return nil
}

func newRegistry(cfg Config) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kontor_info", Help: "Always 1; the labels say which binary and which node this is. Several versions for long: a deployment is stuck.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "node": cfg.Node},
	})
	info.Set(1)
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return registry
}
