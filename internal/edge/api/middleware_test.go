package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// scripted answers CreateEntry and ListEvents as the test says.
type scripted struct {
	StrictServerInterface
	do func(ctx context.Context) (reply, error)
}

func (s scripted) CreateEntry(ctx context.Context, _ CreateEntryRequestObject) (CreateEntryResponseObject, error) {
	return s.do(ctx)
}

func (s scripted) ListEvents(ctx context.Context, _ ListEventsRequestObject) (ListEventsResponseObject, error) {
	return s.do(ctx)
}

// lines is a log that a test can read.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// ask sends one request through the gate, without a network.
func ask(t *testing.T, g *gate, do func(context.Context) (reply, error), method, target, body string, headers ...string) (*httptest.ResponseRecorder, problem) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer ktr_test_key")
	if method == http.MethodPost {
		r.Header.Set("Idempotency-Key", "key")
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	w := httptest.NewRecorder()
	g.handler(scripted{do: do}).ServeHTTP(w, r)
	var p problem
	if w.Code >= http.StatusBadRequest {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatalf("%s %s answers %q", method, target, w.Body.Bytes())
		}
		if p.Status != w.Code || p.Type != "/docs#"+p.Code || p.Title == "" || p.Detail == "" || p.RequestID == "" || p.RequestID != w.Header().Get("Request-Id") {
			t.Errorf("%s %s: a problem with gaps: %+v", method, target, p)
		}
	}
	return w, p
}

func fine(context.Context) (reply, error) {
	return reply{answer: command.Answer{Status: http.StatusCreated, Body: []byte(`{}`)}}, nil
}

const entries = "/v1/ledger/entries"

func TestTheGateRefuses(t *testing.T) {
	t.Parallel()
	g := bareGate(t, io.Discard)
	reached := func(context.Context) (reply, error) {
		t.Error("the handler was reached")
		return reply{}, nil
	}
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		code                       string
		header, value              string
	}{
		{name: "no key", method: "POST", target: entries, headers: []string{"Authorization", ""}, code: "key_unknown", header: "WWW-Authenticate", value: `Bearer realm="kontor"`},
		{name: "another scheme", method: "POST", target: entries, headers: []string{"Authorization", "Basic ktr_test_key"}, code: "key_unknown"},
		{name: "an unknown key", method: "GET", target: "/v1/events", headers: []string{"Authorization", "Bearer nobody"}, code: "key_unknown"},
		{name: "a stranger learns nothing of his mistakes", method: "POST", target: entries, body: "{", headers: []string{"Authorization", "Bearer nobody", "Idempotency-Key", ""}, code: "key_unknown"},
		{name: "no idempotency key", method: "POST", target: entries, body: sampleEntry, headers: []string{"Idempotency-Key", ""}, code: "idempotency_key_required"},
		{name: "not JSON", method: "POST", target: entries, body: "amount=5", code: "malformed_json"},
		{name: "no body", method: "POST", target: entries, code: "malformed_json"},
		{name: "a form", method: "POST", target: entries, body: sampleEntry, headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, code: "unsupported_media_type"},
		{name: "a nonsense type", method: "POST", target: entries, body: sampleEntry, headers: []string{"Content-Type", ";"}, code: "unsupported_media_type"},
		{name: "too large", method: "POST", target: entries, body: strings.Repeat(" ", bodyBytesMax+1), code: "request_too_large"},
		{name: "not as the contract has it", method: "POST", target: entries, body: `{}`, code: "invalid_request"},
		{name: "an unknown path", method: "GET", target: "/v2/payments", code: "not_found"},
		{name: "the root of the API", method: "POST", target: "/v1", code: "not_found"},
		{name: "another method", method: "DELETE", target: "/v1/ledger/entries/ent_1", code: "method_not_allowed", header: "Allow", value: "GET"},
		{name: "another method", method: "PUT", target: "/v1/payments", code: "method_not_allowed", header: "Allow", value: "GET, POST"},
		{name: "GET where only POST is", method: "GET", target: "/v1/payments/x/capture", code: "method_not_allowed", header: "Allow", value: "POST"},
		{name: "a malformed id", method: "GET", target: "/v1/payments/pay_1", code: "invalid_request"},
		{name: "an id of another kind", method: "GET", target: "/v1/payments/ent_01k4x9d2rzfqe8s5v0m3t7a1bc", code: "invalid_request"},
	} {
		w, p := ask(t, g, reached, test.method, test.target, test.body, test.headers...)
		if p.Code != test.code || w.Code != g.contract.statuses[test.code] {
			t.Errorf("%s: %d %+v, want %s", test.name, w.Code, p, test.code)
		}
		if test.header != "" && w.Header().Get(test.header) != test.value {
			t.Errorf("%s: %s is %q, want %q", test.name, test.header, w.Header().Get(test.header), test.value)
		}
	}
}

func TestABodyOfUnknownLengthIsBounded(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, entries, io.LimitReader(endless{}, 1<<30))
	r.ContentLength = -1
	r.Header.Set("Authorization", "Bearer ktr_test_key")
	r.Header.Set("Idempotency-Key", "key")
	w := httptest.NewRecorder()
	bareGate(t, io.Discard).handler(scripted{}).ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d", w.Code)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	g := bareGate(t, io.Discard)
	for given, want := range map[string]string{"abc-1": "abc-1", "": "", "a b": "", "a\"b": "", "é": "", strings.Repeat("x", 129): ""} {
		w, _ := ask(t, g, fine, "POST", entries, sampleEntry, "X-Request-Id", given)
		got := w.Header().Get("Request-Id")
		if want != "" && got != want || want == "" && (!strings.HasPrefix(got, "req_") || len(got) != 30) {
			t.Errorf("given %q: %q", given, got)
		}
	}
}

func TestErrorsBecomeProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		do     func(context.Context) (reply, error)
		code   string
		status int
		retry  string
		logged string
	}{
		{name: "a fault", do: func(context.Context) (reply, error) {
			return reply{}, fault.New(fault.Conflict, "exceeds_available", "Not enough.")
		}, code: "exceeds_available", status: 409, logged: `"code":"exceeds_available"`},
		{name: "a fault to come back from", do: func(context.Context) (reply, error) {
			return reply{}, fault.New(fault.Unavailable, "overloaded", "Full.").After(1500 * time.Millisecond)
		}, code: "overloaded", status: 503, retry: "2"},
		{name: "a driver's error", do: func(context.Context) (reply, error) {
			return reply{}, errors.New(`ERROR: relation "secret" does not exist (SQLSTATE 42P01)`)
		}, code: "internal", status: 500, logged: "secret"},
		{name: "a deadline", do: func(context.Context) (reply, error) { return reply{}, context.DeadlineExceeded }, code: "timeout", status: 503, retry: "1"},
		{name: "a panic", do: func(context.Context) (reply, error) { panic("secret") }, code: "internal", status: 500, logged: "secret"},
	} {
		var log lines
		g := bareGate(t, &log)
		w, p := ask(t, g, test.do, "POST", entries, sampleEntry)
		if p.Code != test.code || w.Code != test.status || w.Header().Get("Retry-After") != test.retry {
			t.Errorf("%s: %d %+v %v", test.name, w.Code, p, w.Header())
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: told too much: %s", test.name, w.Body)
		}
		if !strings.Contains(log.String(), test.logged) {
			t.Errorf("%s: logged %s", test.name, &log)
		}
	}
}

func TestTheGateGivesUpAtItsTimeout(t *testing.T) {
	t.Parallel()
	g := bareGate(t, io.Discard)
	g.timeout = time.Nanosecond
	_, p := ask(t, g, func(ctx context.Context) (reply, error) {
		<-ctx.Done()
		return reply{}, ctx.Err()
	}, "POST", entries, sampleEntry)
	if p.Code != "timeout" {
		t.Errorf("answered %+v", p)
	}
}

func TestTheHandlerKnowsTheRequest(t *testing.T) {
	t.Parallel()
	g := bareGate(t, io.Discard)
	var first command.Meta
	for i, body := range []string{sampleEntry, "  " + sampleEntry + "\n"} {
		_, _ = ask(t, g, func(ctx context.Context) (reply, error) {
			meta := callOf(ctx).meta()
			if i == 0 {
				first = meta
			}
			if meta.Key != "key" || meta.OrgID.IsZero() || meta.RequestID != "r" || meta.Fingerprint != first.Fingerprint || meta.Fingerprint == [32]byte{} {
				t.Errorf("meta %+v", meta)
			}
			return fine(ctx)
		}, "POST", entries, body, "Request-Id", "r")
	}
}

func TestWritesAndFailuresAreLoggedAndAllAreCounted(t *testing.T) {
	t.Parallel()
	var log lines
	g := bareGate(t, &log)
	_, _ = ask(t, g, fine, "GET", "/v1/events", "")
	if log.String() != "" {
		t.Errorf("a read was logged: %s", &log)
	}
	_, _ = ask(t, g, fine, "POST", entries, sampleEntry)
	for _, want := range []string{`"level":"INFO"`, `"msg":"request"`, `"method":"POST"`, `"route":"/v1/ledger/entries"`, `"status":201`, `"took_us":`, `"org":"org_`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing in %s", want, &log)
		}
	}
	_, _ = ask(t, g, fine, "GET", "/nowhere", "")
	registry := prometheus.NewRegistry()
	registry.MustRegister(g.durations)
	if n, err := testutil.GatherAndCount(registry, "http_server_request_duration_seconds"); n != 3 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestRepeatsAreMarked(t *testing.T) {
	t.Parallel()
	w, _ := ask(t, bareGate(t, io.Discard), func(context.Context) (reply, error) {
		return reply{answer: command.Answer{Status: 409, Body: []byte(`{"type":"/docs#a","title":"A","status":409,"detail":"d","code":"a","request_id":"x"}`), Replayed: true}}, nil
	}, "POST", entries, sampleEntry, "Request-Id", "x")
	if w.Header().Get("Idempotent-Replayed") != "true" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("headers %v", w.Header())
	}
}
