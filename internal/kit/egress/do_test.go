package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// breaks answers each connection's first request and breaks the connection after the second was read.
func breaks(read *atomic.Int64) func(c net.Conn, _ int64) {
	return func(c net.Conn, _ int64) {
		in := bufio.NewReader(c)
		for n := 1; ; n++ {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			read.Add(1)
			if n > 1 {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
}

func TestNothingThatMayHaveArrivedIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Request{
		"get":           {Method: http.MethodGet},
		"delete":        {Method: http.MethodDelete},
		"post":          {Method: http.MethodPost, Body: []byte("{}")},
		"post with key": {Method: http.MethodPost, Body: []byte("{}"), Header: http.Header{"Idempotency-Key": {"k"}}},
		"empty post":    {Method: http.MethodPost, Header: http.Header{"X-Idempotency-Key": {"k"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var read atomic.Int64
			r.URL, r.Timeout = wire(t, breaks(&read)), time.Minute
			c := inside(t)
			if got := c.Do(t.Context(), r); got.Status != 200 {
				t.Fatalf("%+v", got)
			}
			got := c.Do(t.Context(), r) // on the kept connection
			if got.Sent != SentMaybe || got.Failure != FailureBroken || read.Load() != 2 {
				t.Fatalf("%+v; %d requests were read", got, read.Load())
			}
		})
	}
}

// The server of the test above makes net/http itself send a third time: the test can fail.
func TestTheTransportAloneSendsAgain(t *testing.T) {
	t.Parallel()
	var read atomic.Int64
	u := wire(t, breaks(&read))
	plain := &http.Transport{}
	t.Cleanup(plain.CloseIdleConnections)
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u.String(), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		answer, err := plain.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	if read.Load() != 3 {
		t.Fatalf("%d requests were read", read.Load())
	}
}

func TestWhatIsKnownOfARequestThatFailed(t *testing.T) {
	t.Parallel()
	silent := func(c net.Conn, _ int64) { _, _ = io.Copy(io.Discard, c) }
	answers := func(text string) func(c net.Conn, _ int64) {
		return func(c net.Conn, _ int64) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, text)
			}
		}
	}
	closed := wire(t, silent)
	closed.Host = "127.0.0.1:1"
	secret := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(secret.Close)
	mute := wire(t, silent)
	mute.Scheme = "https"
	plain := wire(t, answers(""))
	plain.Scheme = "https"
	short := func(cfg *Config) { cfg.HeaderTimeout, cfg.TLSTimeout = 50*time.Millisecond, 50*time.Millisecond }
	for _, c := range []struct {
		name    string
		client  *Client
		request Request
		sent    Sent
		failure Failure
		status  int
	}{
		{"nobody listens", inside(t), Request{URL: closed}, SentNo, FailureConnect, 0},
		{"no such name", inside(t), Request{URL: parse(t, "http://nowhere.invalid/")}, SentNo, FailureResolve, 0},
		{"no such scheme", inside(t), Request{URL: parse(t, "gopher://127.0.0.1/")}, SentNo, FailureRequest, 0},
		{"no such header", inside(t), Request{URL: mute, Header: http.Header{"A b": {"\n"}}}, SentNo, FailureRequest, 0},
		{"no such method", inside(t), Request{URL: mute, Method: "A B"}, SentNo, FailureRequest, 0},
		{"not trusted", inside(t), Request{URL: parse(t, secret.URL)}, SentNo, FailureTLS, 0},
		{"no TLS", inside(t, short), Request{URL: mute}, SentNo, FailureTimeout, 0},
		{"silent", inside(t, short), Request{URL: wire(t, silent)}, SentMaybe, FailureTimeout, 0},
		{"silent for too long", inside(t), Request{URL: wire(t, silent), Timeout: 50 * time.Millisecond}, SentMaybe, FailureTimeout, 0},
		{"closed", inside(t), Request{URL: wire(t, answers(""))}, SentMaybe, FailureBroken, 0},
		{"no HTTP", inside(t), Request{URL: wire(t, answers("220 mail\r\n"))}, SentMaybe, FailureMalformed, 0},
		{"half a header", inside(t), Request{URL: wire(t, answers("HTTP/1.1 200 OK\r\nA: "))}, SentMaybe, FailureBroken, 0},
		{"long header", inside(t), Request{URL: wire(t, answers("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 1<<20)))}, SentMaybe, FailureMalformed, 0},
		{"half a body", inside(t), Request{URL: wire(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))}, SentYes, FailureBroken, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.client.Do(t.Context(), c.request)
			if got.Sent != c.sent || got.Failure != c.failure || got.Status != c.status || got.Err == nil {
				t.Fatalf("%+v", got)
			}
		})
	}
}

func TestACallerWhoGoesIsNoTimeout(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	u := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if got := inside(t).Do(ctx, Request{URL: u, Timeout: time.Minute}); got.Failure != FailureInterrupted || got.Sent != SentMaybe {
		t.Fatalf("%+v", got)
	}
	if got := inside(t).Do(ctx, Request{URL: u, Timeout: time.Minute}); got.Failure != FailureInterrupted || got.Sent != SentNo {
		t.Fatalf("%+v", got)
	}
}

func TestABodyThatStallsIsCut(t *testing.T) {
	t.Parallel()
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	got := inside(t).Do(t.Context(), Request{URL: u, Timeout: 100 * time.Millisecond, BodyBytesMax: 10})
	if got.Status != 200 || got.Sent != SentYes || got.Failure != FailureTimeout || string(got.Body) != "abc" || !got.Truncated || got.SHA256 != nil {
		t.Fatalf("%+v", got)
	}
}

func TestBodiesAreKeptToABoundAndHashedWhole(t *testing.T) {
	t.Parallel()
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	c := inside(t)
	for _, size := range []int{0, 1, 99, 100, 101, 1 << 20, wholeBytesMax, wholeBytesMax + 1} {
		body := bytes.Repeat([]byte("k"), size)
		got := c.Do(t.Context(), Request{Method: http.MethodPost, URL: u, Body: body, BodyBytesMax: 100, Timeout: time.Minute})
		whole := sha256.Sum256(body)
		if got.Failure != "" || len(got.Body) != min(size, 100) || got.Size != int64(size) || got.Truncated != (size > 100) {
			t.Fatalf("%d: %d kept, size %d, truncated %v, %v", size, len(got.Body), got.Size, got.Truncated, got.Err)
		}
		if size <= wholeBytesMax && !bytes.Equal(got.SHA256, whole[:]) || size > wholeBytesMax && got.SHA256 != nil {
			t.Fatalf("%d: hash %x", size, got.SHA256)
		}
	}
}

func TestWhatIsSentIsWhatWasAsked(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Request]
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen.Store(r)
		w.Header().Set("Content-Encoding", "gzip") // left alone
		_, _ = io.WriteString(w, "raw")
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := inside(t, func(cfg *Config) { cfg.RootCAs = roots })
	header := http.Header{"Idempotency-Key": {"k"}}
	for range 2 {
		got := c.Do(t.Context(), Request{
			Method: http.MethodPut, URL: parse(t, s.URL+"/a?b=c"), Header: header, Body: []byte("body"), Timeout: time.Minute, BodyBytesMax: 10,
		})
		r := seen.Load()
		body, _ := io.ReadAll(r.Body)
		if got.Status != 200 || string(got.Body) != "raw" || r.Method != http.MethodPut || r.RequestURI != "/a?b=c" ||
			r.ContentLength != 4 || string(body) != "body" || r.Header.Get("Idempotency-Key") != "k" || r.Proto != "HTTP/1.1" ||
			r.Header.Get("Accept-Encoding") != "" || len(header) != 1 || got.Duration <= 0 {
			t.Fatalf("%+v\n%+v", got, r)
		}
	}
}

// scripted is a connection whose writes end as they are told.
type scripted struct {
	net.Conn
	n   int
	err error
}

func (s *scripted) Write([]byte) (int, error) { return s.n, s.err }

func TestAConnectionKnowsWhetherItWasWrittenTo(t *testing.T) {
	t.Parallel()
	wire := &scripted{n: 3}
	c := &conn{Conn: wire}
	_, _ = c.Write([]byte("abc"))
	if c.shutUnwritten() {
		t.Error("three bytes were nothing")
	}
	c.give()
	wire.n, wire.err = 0, syscall.EPIPE
	_, _ = c.Write([]byte("abc"))
	if !c.shutUnwritten() {
		t.Error("a write that failed before its first byte was something")
	}
	wire.n, wire.err = 3, nil
	if n, err := c.Write([]byte("abc")); n != 0 || !errors.Is(err, errNotRepeated) {
		t.Error("a shut connection takes", n, err)
	}
	// What was written stays written, whatever fails later.
	c = &conn{Conn: wire}
	_, _ = c.Write([]byte("abc"))
	wire.n, wire.err = 0, syscall.EPIPE
	_, _ = c.Write([]byte("abc"))
	if c.shutUnwritten() {
		t.Error("three bytes were forgotten")
	}
}

func TestARequestIsWithheldBeforeItsFirstByte(t *testing.T) {
	t.Parallel()
	var read atomic.Int64
	r := Request{Method: http.MethodPost, Body: []byte("{}"), URL: wire(t, breaks(&read)), Timeout: time.Minute}
	c := inside(t)
	asked := 0
	r.Begin = func() bool { asked++; return false }
	if got := c.Do(t.Context(), r); got.Sent != SentNo || got.Failure != FailureInterrupted || read.Load() != 0 || asked != 1 {
		t.Fatalf("%+v; %d requests were read, asked %d times", got, read.Load(), asked)
	}
	r.Begin = func() bool { asked++; return true }
	if got := c.Do(t.Context(), r); got.Status != 200 || asked != 2 {
		t.Fatalf("%+v, asked %d times", got, asked)
	}
	r.Begin = func() bool { asked++; return false } // on the connection that was kept, which has carried another request
	if got := c.Do(t.Context(), r); got.Sent != SentNo || got.Failure != FailureInterrupted || read.Load() != 1 || asked != 3 {
		t.Fatalf("%+v; %d requests were read, asked %d times", got, read.Load(), asked)
	}
}
