package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/fault"
)

// handle starts a server that is not the sandbox.
func handle(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return body
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// TestWhatCertainlyNeverReachedTheProvider is safe to repeat.
func TestWhatCertainlyNeverReachedTheProvider(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := handle(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came") })
	ended, end := context.WithCancel(t.Context())
	end()
	never := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-t.Context().Done()
		return nil, ctx.Err()
	}}
	for name, row := range map[string]struct {
		ctx context.Context
		cfg sandbox.ProviderConfig
	}{
		"connection refused":    {t.Context(), sandbox.ProviderConfig{BaseURL: gone.URL}},
		"no such host":          {t.Context(), sandbox.ProviderConfig{BaseURL: "http://no-such-host.invalid"}},
		"TLS handshake":         {t.Context(), sandbox.ProviderConfig{BaseURL: strings.Replace(plain, "http", "https", 1)}},
		"no connection in time": {t.Context(), sandbox.ProviderConfig{BaseURL: plain, Timeout: 50 * time.Millisecond, Transport: never}},
		"given up before":       {ended, sandbox.ProviderConfig{BaseURL: plain}},
		"malformed address":     {t.Context(), sandbox.ProviderConfig{BaseURL: "http://[::1"}},
		"no address":            {t.Context(), sandbox.ProviderConfig{}},
	} {
		p := sandbox.NewProvider(row.cfg)
		for _, a := range []payments.ProviderAnswer{
			p.Send(row.ctx, authorise("r", "tok_approved", true)), p.LookUp(row.ctx, "r"),
		} {
			if a.Result != payments.ResultNotSent || a.Detail == "" {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

// TestOnlyTheProvidersOwnWordIsFinal: answers that a send gets from who knows whom.
func TestOnlyTheProvidersOwnWordIsFinal(t *testing.T) {
	t.Parallel()
	const charge = `{"id":"ch_1","reference":"r","amount":1000,"status":%q}`
	for _, row := range []struct {
		name   string
		status int
		body   string
		send   payments.Result
		lookUp payments.Result
	}{
		{"a charge", 201, fmt.Sprintf(charge, "captured"), payments.ResultSucceeded, payments.ResultUnknown},
		{"a charge declined with 201", 201, fmt.Sprintf(charge, "declined"), payments.ResultUnknown, payments.ResultUnknown},
		{"a charge captured with 402", 402, fmt.Sprintf(charge, "captured"), payments.ResultUnknown, payments.ResultUnknown},
		{"another charge", 201, `{"id":"ch_1","reference":"other","status":"captured"}`, payments.ResultUnknown, payments.ResultUnknown},
		{"nothing", 201, ``, payments.ResultUnknown, payments.ResultUnknown},
		{"garbage", 200, `<html>`, payments.ResultUnknown, payments.ResultUnknown},
		{"an empty object", 200, `{}`, payments.ResultUnknown, payments.ResultUnknown},
		{"a redirect", 307, ``, payments.ResultUnknown, payments.ResultUnknown},
		{"somebody's 404", 404, `404 page not found`, payments.ResultUnknown, payments.ResultUnknown},
		{"the provider's 404", 404, `{"error":{"code":"operation_not_found"}}`, payments.ResultDeclined, payments.ResultNotFound},
		{"the provider's 409", 409, `{"error":{"code":"already_voided"}}`, payments.ResultDeclined, payments.ResultUnknown},
		{"a reused key", 422, `{"error":{"code":"idempotency_key_reused"}}`, payments.ResultUnknown, payments.ResultUnknown},
		{"a proxy's timeout", 408, ``, payments.ResultUnknown, payments.ResultUnknown},
		{"a refused API key", 401, `{"error":{"code":"unauthorized"}}`, payments.ResultLimited, payments.ResultLimited},
		{"somebody's 403", 403, `no`, payments.ResultUnknown, payments.ResultUnknown},
		{"429", 429, `slow down`, payments.ResultLimited, payments.ResultLimited},
		{"too late", 503, `{"error":{"code":"too_late"}}`, payments.ResultLimited, payments.ResultLimited},
		{"somebody's 503", 503, `try later`, payments.ResultUnknown, payments.ResultUnknown},
		{"502", 502, `bad gateway`, payments.ResultUnknown, payments.ResultUnknown},
		{"too much", 201, fmt.Sprintf(charge, "captured") + strings.Repeat(" ", 2<<20), payments.ResultUnknown, payments.ResultUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := adapter(t, handle(t, func(w http.ResponseWriter, r *http.Request) {
				_ = readAll(t, r.Body)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(row.body))
			}), 0)
			if a := p.Send(t.Context(), authorise("r", "tok_approved", true)); a.Result != row.send || a.HTTPStatus != row.status {
				t.Errorf("sent: %+v", a)
			}
			if a := p.LookUp(t.Context(), "r"); a.Result != row.lookUp || a.HTTPStatus != row.status {
				t.Errorf("looked up: %+v", a)
			}
		})
	}
}

// TestHalfAnAnswerIsUnknown: the connection ends before, within, or after the head of the answer.
func TestHalfAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	whole := `{"id":"ch_1","reference":"r","amount":1000,"status":"captured"}`
	for name, text := range map[string]string{
		"no byte":   "",
		"half head": "HTTP/1.1 201 Cre",
		"half body": "HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n" + whole,
		"no HTTP":   "220 mail.example.org ESMTP\r\n",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go answerRaw(listener, text)
		if a := adapter(t, "http://"+listener.Addr().String(), 0).Send(t.Context(), authorise("r", "tok_approved", true)); a.Result != payments.ResultUnknown {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// answerRaw reads some of each request, writes text and hangs up.
func answerRaw(listener net.Listener, text string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": time.Second, "7": 7 * time.Second, "-1": time.Second, "soon": time.Second,
		"Thu, 01 Jan 2026 00:00:30 GMT": 30 * time.Second, "Wed, 31 Dec 2025 23:00:00 GMT": 0,
	} {
		url := handle(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", text)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		p := sandbox.NewProvider(sandbox.ProviderConfig{
			BaseURL: url, Clock: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) },
		})
		if a := p.Send(t.Context(), authorise("r", "tok_approved", true)); a.RetryAfter != want {
			t.Errorf("%q is %v", text, a.RetryAfter)
		}
	}
}

// TestAnswersToAMovementAreChecked: it must be our capture that succeeded.
func TestAnswersToAMovementAreChecked(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]payments.Result{
		`{"id":"op_1","kind":"capture","charge_id":"ch_1","reference":"c","amount":5,"status":"succeeded"}`: payments.ResultSucceeded,
		`{"id":"op_1","kind":"capture","charge_id":"ch_1","reference":"c","amount":5,"status":"pending"}`:   payments.ResultPending,
		`{"id":"op_1","kind":"capture","charge_id":"ch_1","reference":"c","amount":5,"status":"perhaps"}`:   payments.ResultUnknown,
		`{"id":"op_1","kind":"refund","charge_id":"ch_1","reference":"c","amount":5,"status":"succeeded"}`:  payments.ResultUnknown,
		`{"id":"op_1","kind":"capture","charge_id":"ch_1","reference":"d","amount":5,"status":"succeeded"}`: payments.ResultUnknown,
		`{"kind":"capture","reference":"c","status":"succeeded"}`:                                           payments.ResultUnknown,
		`[]`: payments.ResultUnknown,
	} {
		p := adapter(t, handle(t, func(w http.ResponseWriter, r *http.Request) {
			_ = readAll(t, r.Body)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, body)
		}), 0)
		r := payments.ProviderRequest{Kind: payments.KindCapture, Reference: "c", ChargeID: "ch_1", Amount: 5}
		if a := p.Send(t.Context(), r); a.Result != want {
			t.Errorf("%s: %+v", body, a)
		}
	}
}
