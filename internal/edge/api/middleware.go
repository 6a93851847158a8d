package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// authenticator finds who presents an API key. Errors are faults.
type authenticator func(ctx context.Context, key string) (access.Principal, error)

// gate is everything between the connection and a handler: who is asking, is the request as the contract has it, what is
// its fingerprint; and on the way back the log line and the figures. It knows no module of commerce.
type gate struct {
	contract     *contract
	authenticate authenticator
	ids          *ids.Source
	clock        clock.Clock
	timeout      time.Duration
	logger       *slog.Logger
	durations    *prometheus.HistogramVec
	active       prometheus.Gauge
	page         []byte    // of /docs
	buffers      sync.Pool // *[]byte
}

// call is one request on its way through the gate. It is the response writer its handler sees.
type call struct {
	http.ResponseWriter
	op          *operation
	requestID   string
	started     time.Time
	principal   access.Principal
	key         string
	fingerprint [32]byte
	status      int
	wrote       bool
	code        string // of the problem it was answered with
	err         error  // for the log only
}

type callKey struct{}

// callOf is the request that a handler works for.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// meta is what a command of this request carries.
func (c *call) meta() command.Meta {
	return command.Meta{OrgID: c.principal.OrgID, Key: c.key, Fingerprint: c.fingerprint, RequestID: c.requestID}
}

// WriteHeader implements http.ResponseWriter.
func (c *call) WriteHeader(status int) {
	c.status, c.wrote = status, true
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *call) Write(b []byte) (int, error) {
	if !c.wrote {
		c.status, c.wrote = http.StatusOK, true
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// write answers with stored bytes: JSON, or a problem from 400 on.
func (c *call) write(a command.Answer) {
	header := c.Header()
	if a.Status >= http.StatusBadRequest {
		header["Content-Type"] = []string{"application/problem+json"}
	} else {
		header["Content-Type"] = []string{"application/json"}
	}
	header["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	if a.Replayed {
		header["Idempotent-Replayed"] = []string{"true"}
	}
	c.WriteHeader(a.Status)
	_, _ = c.Write(a.Body) // whoever asked may have gone
}

// wrap puts the gate before a handler of the contract.
func (g *gate) wrap(op *operation, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{ResponseWriter: w, op: op, requestID: g.requestID(r), started: g.clock()}
		g.active.Inc()
		w.Header()["Request-Id"] = []string{c.requestID}
		ctx, cancel := context.WithTimeout(context.WithValue(telemetry.WithRequestID(r.Context(), c.requestID), callKey{}, c), g.timeout)
		defer cancel()
		defer g.finish(ctx, c)
		body, err := g.admit(ctx, c, r)
		if err != nil {
			g.fail(c, err)
			return
		}
		r = r.WithContext(ctx)
		if op.body != nil {
			r.Body = body
		}
		next(c, r)
	}
}

// requestID takes the caller's id for the request when it can be logged as it is, or makes one.
func (g *gate) requestID(r *http.Request) string {
	for _, name := range [...]string{"Request-Id", "X-Request-Id"} {
		values := r.Header[name]
		if len(values) != 1 || len(values[0]) == 0 || len(values[0]) > 128 {
			continue
		}
		if strings.IndexFunc(values[0], func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) < 0 {
			return values[0]
		}
	}
	return ids.Format("req", g.ids.New())
}

// finish ends a request whatever happened: a panic becomes a problem, then come the figures and the log line.
func (g *gate) finish(ctx context.Context, c *call) {
	if r := recover(); r != nil {
		if err, ok := r.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(r)
		}
		g.fail(c, fault.New(fault.Internal, "internal", "Something went wrong on our side; the request id finds it in the log.").
			Because(fmt.Errorf("panic: %v\n%s", r, debug.Stack())))
	}
	g.active.Dec()
	took := g.clock().Sub(c.started)
	c.op.figures.observe(c.status, took)
	if !c.op.write && c.status < http.StatusInternalServerError {
		return
	}
	level := slog.LevelInfo
	if c.status >= http.StatusInternalServerError && c.code != "overloaded" {
		level = slog.LevelError
	}
	if !g.logger.Enabled(ctx, level) {
		return
	}
	attrs := [...]slog.Attr{
		slog.String("method", c.op.method), slog.String("route", c.op.route), slog.Int("status", c.status),
		slog.Int64("took_us", took.Microseconds()),
		{},
		{},
		{},
	}
	n := 4
	if !c.principal.OrgID.IsZero() {
		attrs[n] = slog.String("org", ids.Format("org", c.principal.OrgID))
		n++
	}
	if c.code != "" {
		attrs[n] = slog.String("code", c.code)
		n++
	}
	if c.err != nil {
		attrs[n] = slog.String("error", c.err.Error())
		n++
	}
	g.logger.LogAttrs(ctx, level, "request", attrs[:n]...)
}

// admit checks a request from the outside in: who asks, then the headers, then the body. The first of these that fails is
// the answer, because a stranger is told nothing about the rest; mistakes in parameters and body are told together.
func (g *gate) admit(ctx context.Context, c *call, r *http.Request) (*readBody, error) {
	op := c.op
	if !op.public {
		var err error
		if c.principal, err = g.authenticate(ctx, bearer(r.Header)); err != nil {
			return nil, err
		}
	}
	if op.write {
		var err error
		if c.key, err = idempotencyKey(r.Header); err != nil {
			return nil, err
		}
	}
	var found []fault.Problem
	if len(op.parameters) > 0 || r.URL.RawQuery != "" {
		found = op.checkParameters(r)
	}
	d := document{}
	if op.body != nil {
		var err error
		if d, err = g.document(r, op); err != nil {
			return nil, err
		}
		found = append(found, op.checkBody(d)...)
	}
	if len(found) > 0 {
		return nil, invalid(found)
	}
	if op.write {
		c.fingerprint = fingerprint(op.method, r.URL.Path, d.canonical)
	}
	return &readBody{value: d.value}, nil
}

// document reads a body; an optional one that is empty counts as {}. The value it returns shares nothing with the buffer.
func (g *gate) document(r *http.Request, op *operation) (document, error) {
	buffer := g.buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer func() {
		if cap(*buffer) <= bufferBytesKept {
			g.buffers.Put(buffer)
		}
	}()
	if err := readBytes(r, op.bytesMax, buffer); err != nil {
		return document{}, err
	}
	if len(*buffer) == 0 && !op.bodyRequired {
		return document{value: map[string]any{}, canonical: []byte("{}")}, nil
	}
	return readDocument(*buffer, op.valuesMax)
}

// bearer is the API key a request shows, or the empty string.
func bearer(header http.Header) string {
	values := header["Authorization"]
	if len(values) != 1 {
		return ""
	}
	scheme, key, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return key
}

// bufferBytesKept is the largest buffer that is kept for the next request.
const bufferBytesKept = 64 << 10

// readBytes takes in a body up to its bound.
func readBytes(r *http.Request, bytesMax int64, buffer *[]byte) error {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" && kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return errMediaType
		}
	}
	if r.ContentLength > bytesMax {
		return errTooLarge
	}
	data := (*buffer)[:0]
	defer func() { *buffer = data }()
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > bytesMax:
			return errTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errUnreadable.Because(err)
		}
	}
}

// readBody stands in for a request's body once it was read and checked: the generated code binds the value it finds
// here, and does not parse the text again.
type readBody struct{ value any }

// ValidatedValue is the body's value.
func (b *readBody) ValidatedValue() any { return b.value }

// Read implements io.Reader: there is nothing left to read.
func (b *readBody) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (b *readBody) Close() error { return nil }
