package lane_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/lane"
)

func TestACommandsSpanIsItsCallersAndABatchLinksToIt(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	var within trace.SpanContext
	l := lane.New(config(), lane.NewMetrics(prometheus.NewRegistry()).Traced(tracers),
		func(ctx context.Context, _ []int) ([]lane.Result[int], error) {
			within = trace.SpanContextFromContext(ctx)
			return []lane.Result[int]{{Err: errors.New("no")}}, nil
		})
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(running) }()
	ctx, caller := tracers.Tracer("test").Start(t.Context(), "request")
	if _, err := l.Do(ctx, 1); err == nil {
		t.Fatal("no error")
	}
	caller.End()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range recorder.Ended() {
		byName[span.Name()] = span
	}
	command, batch := byName["command doubling"], byName["batch doubling"]
	if command == nil || batch == nil || len(byName) != 3 {
		t.Fatalf("%v", byName)
	}
	if command.Parent().SpanID() != caller.SpanContext().SpanID() || command.Status().Code != codes.Error {
		t.Errorf("the command: %+v", command)
	}
	if batch.Parent().IsValid() || len(batch.Links()) != 1 || batch.Links()[0].SpanContext.SpanID() != command.SpanContext().SpanID() ||
		within.SpanID() != batch.SpanContext().SpanID() {
		t.Errorf("the batch: %+v", batch)
	}
}

func TestNothingIsTracedForACallerWhoIsNot(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	l := lane.New(config(), lane.NewMetrics(prometheus.NewRegistry()).Traced(tracers),
		func(context.Context, []int) ([]lane.Result[int], error) { return make([]lane.Result[int], 1), nil })
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(running) }()
	if _, err := l.Do(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if spans := recorder.Ended(); len(spans) != 0 {
		t.Errorf("%+v", spans)
	}
}
