package lane

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const tracerName = "github.com/kontorhq/kontor/internal/kit/lane"

// linksMax bounds how many commands a batch's span names.
const linksMax = 128

// Traced gives commands and batches spans: a command's belongs to its caller's trace, from its arrival to its outcome; a batch, which
// is several callers', has a trace of its own that links to its commands. Call it before any lane is made;
// with nil it does nothing.
func (m *Metrics) Traced(tracers trace.TracerProvider) *Metrics {
	if tracers != nil {
		m.tracer = tracers.Tracer(tracerName)
	}
	return m
}

// begin begins a command's span, where somebody traces its caller.
func (m *laneMetrics) begin(ctx context.Context, lane string) (context.Context, trace.Span) {
	span := trace.SpanFromContext(ctx)
	if m.tracer == nil || !span.SpanContext().IsSampled() {
		return ctx, nil
	}
	return m.tracer.Start(ctx, "command "+lane, trace.WithAttributes(attribute.String("kontor.lane", lane)))
}

// end ends a command's span.
func end(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// traceBatch begins the span of a batch, if somebody traces one of its commands.
func (l *Lane[In, Out]) traceBatch(ctx context.Context, batch []*call[In, Out]) (context.Context, func()) {
	if l.metrics.tracer == nil {
		return ctx, func() {}
	}
	var links []trace.Link
	for _, c := range batch {
		if of := trace.SpanContextFromContext(c.ctx); of.IsSampled() && len(links) < linksMax {
			links = append(links, trace.Link{SpanContext: of})
		}
	}
	if len(links) == 0 {
		return ctx, func() {}
	}
	ctx, span := l.metrics.tracer.Start(ctx, "batch "+l.cfg.Name, trace.WithNewRoot(), trace.WithLinks(links...),
		trace.WithAttributes(attribute.String("kontor.lane", l.cfg.Name), attribute.Int("kontor.lane.batch_size", len(batch))))
	return ctx, func() { span.End() }
}
