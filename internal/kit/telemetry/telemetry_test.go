package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// output is a buffer that several goroutines may write to and read.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

func start(t *testing.T, cfg telemetry.Config) (*telemetry.Telemetry, *output) {
	t.Helper()
	out := &output{}
	cfg.Service, cfg.Output = "kontor", out
	tel, err := telemetry.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tel, out
}

func TestEveryLineCarriesTheRequestAndTheTrace(t *testing.T) {
	t.Parallel()
	tel, out := start(t, telemetry.Config{Node: "n1"})
	ctx := telemetry.WithRequestID(t.Context(), "req_1")
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
	tel.Logger.With("module", "x").InfoContext(ctx, "hello", "a", 1)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	want := map[string]any{
		"msg": "hello", "service": "kontor", "node": "n1", "module": "x", "a": 1.0, "request_id": "req_1",
		"trace_id": "01000000000000000000000000000000", "span_id": "0200000000000000",
	}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s is %v, want %v", key, line[key], value)
		}
	}
}

func TestInfoWaitsAndErrorsDoNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, out := start(t, telemetry.Config{LogFormat: telemetry.FormatText})
		tel.Logger.Debug("too low")
		tel.Logger.Info("first")
		if out.String() != "" {
			t.Errorf("an info line was written at once: %q", out)
		}
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "first") || strings.Contains(got, "too low") {
			t.Errorf("after a second: %q", got)
		}
		tel.Logger.Info("second")
		tel.Logger.Error("third")
		if got := out.String(); !strings.Contains(got, "second") || !strings.Contains(got, "third") {
			t.Errorf("an error line waits: %q", got)
		}
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		tel.Logger.Info("last")
		if !strings.Contains(out.String(), "last") {
			t.Error("a line after the shutdown was lost")
		}
	})
}

func TestBigBuffersAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	tel, out := start(t, telemetry.Config{})
	tel.Logger.Info(strings.Repeat("x", 40_000))
	if len(out.String()) < 40_000 {
		t.Error("a full buffer waits")
	}
}

func TestRegistryAndNoTracing(t *testing.T) {
	t.Parallel()
	tel, _ := start(t, telemetry.Config{Version: "v1", Node: "n1"})
	if tel.Tracing() {
		t.Error("tracing without an endpoint")
	}
	if _, span := tel.Tracers.Tracer("x").Start(t.Context(), "x"); span.SpanContext().IsValid() {
		t.Error("a span was made without an endpoint")
	}
	families, err := tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, name := range []string{"kontor_info", "go_goroutines", "process_open_fds"} {
		if !names[name] {
			t.Errorf("no metric %s", name)
		}
	}
}

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
	}))
	t.Cleanup(collector.Close)
	tel, out := start(t, telemetry.Config{OTLPEndpoint: collector.URL, Version: "v1"})
	ctx, span := tel.Tracers.Tracer("test").Start(t.Context(), "a_span")
	tel.Logger.InfoContext(ctx, "inside")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sent := <-got; !strings.HasPrefix(sent, "/v1/traces ") || !strings.Contains(sent, "a_span") {
		t.Errorf("the collector got %q", sent)
	}
	if !strings.Contains(out.String(), span.SpanContext().TraceID().String()) {
		t.Errorf("the line has no trace id: %s", out)
	}
}

type brokenOutput struct{}

var errBroken = errors.New("broken pipe")

func (brokenOutput) Write([]byte) (int, error) { return 0, errBroken }

func TestABrokenOutputIsReportedAtTheEnd(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New(t.Context(), telemetry.Config{Service: "kontor", Output: brokenOutput{}})
	if err != nil {
		t.Fatal(err)
	}
	tel.Logger.Info("x")
	if err := tel.Shutdown(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("shutdown says %v", err)
	}
}

func BenchmarkInfoLine(b *testing.B) {
	tel, err := telemetry.New(b.Context(), telemetry.Config{Service: "kontor", Node: "n1", Output: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	ctx := telemetry.WithRequestID(context.Background(), "req_01h455vb4pex5vsknk084sn02q")
	for b.Loop() {
		tel.Logger.LogAttrs(ctx, slog.LevelInfo, "request", slog.String("route", "POST /v1/payments"), slog.Int("status", 201))
	}
}
