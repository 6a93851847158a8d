package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	flushEvery   = 100 * time.Millisecond // the longest an info line stays in memory
	flushBytes   = 32 << 10               // a buffer this full is written at once
	lineBytesMax = 1 << 20                // a larger buffer is given back after a burst
)

// handler adds the request id and the trace found in the context to each line, and writes errors at once.
type handler struct {
	slog.Handler
	lines *lineWriter
}

func newHandler(lines *lineWriter, cfg Config) slog.Handler {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	var inner slog.Handler = slog.NewJSONHandler(lines, options)
	if cfg.LogFormat == FormatText {
		inner = slog.NewTextHandler(lines, options)
	}
	attrs := []slog.Attr{slog.String("service", cfg.Service)}
	if cfg.Node != "" {
		attrs = append(attrs, slog.String("node", cfg.Node))
	}
	return &handler{Handler: inner.WithAttrs(attrs), lines: lines}
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	if err := h.Handler.Handle(ctx, r); err != nil {
		return fmt.Errorf("write a log line: %w", err)
	}
	if r.Level >= slog.LevelError {
		return h.lines.Flush()
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{Handler: h.Handler.WithAttrs(attrs), lines: h.lines}
}

// WithGroup implements slog.Handler. Within a group the ids are the group's as well.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{Handler: h.Handler.WithGroup(name), lines: h.lines}
}

// lineWriter gathers lines, so that logging costs a copy and not a system call. A timer is armed by the first line
// that waits: an idle process has no ticker.
type lineWriter struct {
	out    io.Writer
	mu     sync.Mutex
	buffer []byte
	armed  bool
	closed bool
	failed error // of a write nobody waited for; the next Flush reports it
}

// Write implements io.Writer. p is one or more whole lines.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buffer = append(w.buffer, p...)
	if w.closed || len(w.buffer) >= flushBytes {
		return len(p), w.flush()
	}
	if !w.armed {
		w.armed = true
		time.AfterFunc(flushEvery, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.armed = false
			w.failed = w.flush()
		})
	}
	return len(p), nil
}

// Flush writes what is buffered.
func (w *lineWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// Close flushes and turns buffering off.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.flush()
}

func (w *lineWriter) flush() error {
	err := w.failed
	w.failed = nil
	if len(w.buffer) > 0 {
		_, err = w.out.Write(w.buffer)
	}
	w.buffer = w.buffer[:0]
	if cap(w.buffer) > lineBytesMax {
		w.buffer = nil
	}
	return err
}
