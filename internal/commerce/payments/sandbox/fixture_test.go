package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// waitMax bounds every wait of these tests; none comes near it unless something is broken.
const waitMax = 20 * time.Second

// bench is a running sandbox and a plain client for it.
type bench struct {
	t      testing.TB
	server *sandbox.Server
	url    string
}

// open starts a sandbox, with its webhooks and expiry.
func open(t testing.TB, cfg sandbox.ServerConfig) *bench {
	t.Helper()
	server := sandbox.NewServer(cfg)
	listening := httptest.NewServer(server)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		listening.Close()
	})
	return &bench{t: t, server: server, url: listening.URL}
}

// answered is a response, read whole.
type answered struct {
	status int
	header http.Header
	body   []byte
}

func (a answered) into(t testing.TB, noun any) {
	t.Helper()
	if err := json.Unmarshal(a.body, noun); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// code is the error's code of a refusal.
func (a answered) code(t testing.TB) string {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	a.into(t, &body)
	return body.Error.Code
}

func (a answered) charge(t testing.TB) sandbox.Charge {
	t.Helper()
	var c sandbox.Charge
	a.into(t, &c)
	return c
}

// try makes one request as a plain client would.
func (b *bench) try(method, path, body string, header ...string) (answered, error) {
	r, err := http.NewRequest(method, b.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return answered{}, err
	}
	r.GetBody = nil
	r.Header.Set("Authorization", "Bearer key")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answered{}, err
	}
	defer func() { _ = w.Body.Close() }()
	read, err := io.ReadAll(w.Body)
	return answered{status: w.StatusCode, header: w.Header, body: read}, err
}

// do is try where an answer is expected.
func (b *bench) do(method, path, body string, header ...string) answered {
	b.t.Helper()
	a, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// charge posts a charge of 1000 EUR cents under its reference as idempotency key.
func (b *bench) charge(reference, token string, capture bool) answered {
	b.t.Helper()
	return b.do("POST", "/v1/charges", chargeBody(reference, token, capture), "Idempotency-Key", reference)
}

func chargeBody(reference, token string, capture bool) string {
	return `{"reference":"` + reference + `","amount":1000,"currency":"EUR","token":"` + token +
		`","capture":` + strconv.FormatBool(capture) + `,"metadata":{"payment":"pay-of-` + reference + `"}}`
}

func (b *bench) lookUp(reference string) sandbox.Operations {
	b.t.Helper()
	a := b.do("GET", "/v1/operations/"+reference, "")
	var found sandbox.Operations
	if a.status == http.StatusOK {
		a.into(b.t, &found)
	}
	return found
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

// handClock is a clock that the test turns.
type handClock struct {
	mu sync.Mutex
	at time.Time
}

func newHandClock() *handClock { return &handClock{at: clock.System()} }

func (c *handClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *handClock) turn(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(by)
}

// serve puts a request to the handler itself.
func serve(h http.Handler, method, path, body string) answered {
	r := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	r.Header.Set("Authorization", "Bearer key")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answered{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}
