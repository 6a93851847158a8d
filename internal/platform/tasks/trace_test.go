package tasks

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestAnAttemptIsPartOfTheTraceThatQueuedItsTask(t *testing.T) {
	b := setup(t)
	recorder := tracetest.NewSpanRecorder()
	node := b.node("a", Config{})
	node.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer(tracerName)
	var seen trace.SpanContext
	node.Handle("test", Policy{MinBackoff: time.Millisecond}, func(ctx context.Context, task Task) Verdict {
		if task.Attempt == 1 {
			return Retry("broken", errors.New("no luck"))
		}
		seen = trace.SpanContextFromContext(ctx)
		return Succeeded()
	})
	b.run(node)
	spec := b.spec(0)
	spec.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	b.untilFinished(b.queue(node, spec)...)
	spans := recorder.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	for i, span := range spans {
		if span.Name() != "process default" || span.SpanKind() != trace.SpanKindConsumer ||
			span.SpanContext().TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || span.Parent().SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("span %d: %+v", i, span)
		}
	}
	if first := spans[0]; first.Status() != (sdktrace.Status{Code: codes.Error, Description: "no luck"}) || !has(first, "error.type", "broken") ||
		!has(first, "kontor.task.outcome", OutcomeFailed) || len(first.Events()) != 1 {
		t.Errorf("the failed one: %+v", first)
	}
	if second := spans[1]; second.Status().Code != codes.Unset || !has(second, "kontor.task.outcome", OutcomeSucceeded) ||
		!has(second, "messaging.system", "kontor") || !has(second, "kontor.task.kind", "test") || second.SpanContext().SpanID() != seen.SpanID() {
		t.Errorf("the other one: %+v", second)
	}
}

func has(span sdktrace.ReadOnlySpan, key, value string) bool {
	for _, a := range span.Attributes() {
		if string(a.Key) == key {
			return a.Value == attribute.StringValue(value)
		}
	}
	return false
}

func TestASpanIsNotMadeWhereNobodyLooks(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	ctx, span := node.trace(t.Context(), &Task{TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
	if span.IsRecording() || trace.SpanContextFromContext(ctx).IsValid() {
		t.Error("there is a span")
	}
}
