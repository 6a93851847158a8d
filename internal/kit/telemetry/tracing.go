package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// tracing is where spans go. sdk is nil when they go nowhere.
type tracing struct {
	provider trace.TracerProvider
	sdk      *sdktrace.TracerProvider
}

// newTracing sends spans over OTLP and HTTP in batches; when the collector does not keep up, spans are dropped and
// nothing waits. Which requests are sampled is told by OpenTelemetry's own variables, OTEL_TRACES_SAMPLER and
// OTEL_TRACES_SAMPLER_ARG; by default all are.
func newTracing(ctx context.Context, cfg Config, log *slog.Logger) (*tracing, error) {
	if cfg.OTLPEndpoint == "" {
		return &tracing{provider: noop.NewTracerProvider()}, nil
	}
	url := strings.TrimSuffix(cfg.OTLPEndpoint, "/")
	if !strings.HasSuffix(url, "/v1/traces") {
		url += "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(url))
	if err != nil {
		return nil, fmt.Errorf("make the exporter: %w", err)
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", cfg.Service),
		attribute.String("service.version", cfg.Version),
		attribute.String("service.instance.id", cfg.Node),
	))
	if err != nil {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	sdk := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	otel.SetTracerProvider(sdk)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry was not delivered", "error", err)
	}))
	return &tracing{provider: sdk, sdk: sdk}, nil
}

func (t *tracing) shutdown(ctx context.Context) error {
	if t.sdk == nil {
		return nil
	}
	return t.sdk.Shutdown(ctx)
}
