package tasks

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

const tracerName = "github.com/kontorhq/kontor/internal/platform/tasks"

// trace begins an attempt's span, a part of the trace of what has queued the task. Names are OpenTelemetry's for messaging: an attempt
// processes what a queue has.
func (t *Tasks) trace(ctx context.Context, task *Task) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	if task.TraceParent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": task.TraceParent})
	}
	return t.tracer.Start(ctx, "process "+task.Queue, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "kontor"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.destination.name", task.Queue),
		attribute.String("messaging.message.id", ids.Format(Prefix, task.ID)),
		attribute.String("kontor.task.kind", task.Kind),
		attribute.Int("kontor.task.attempt", task.Attempt),
	))
}

// endTrace says on the span how the attempt ended.
func endTrace(span trace.Span, outcome, code string, detail error) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("kontor.task.outcome", outcome))
	switch outcome {
	case OutcomeFailed, OutcomeTimedOut, OutcomeUnknown, OutcomeExpired:
		if code == "" {
			code = outcome
		}
		span.SetAttributes(attribute.String("error.type", code))
		text := outcome
		if detail != nil {
			text = detail.Error()
			span.RecordError(detail)
		}
		span.SetStatus(codes.Error, text)
	}
	span.End()
}

// inTrace is a context for what is told of an attempt after its end.
func (h *held) inTrace(ctx context.Context) context.Context {
	if !h.span.IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, h.span)
}
