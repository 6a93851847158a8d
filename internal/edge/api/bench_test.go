package api

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/command"
)

const sampleEntry = `{"code":"transfer","reference":"transfer-000000001","postings":[{"debit_account":"customers/000123/wallet","credit_account":"customers/000456/wallet","amount":1250}],"metadata":{"order":"42"}}`

// bare answers without doing anything: what is left is the cost of the way there and back.
type bare struct {
	StrictServerInterface
	answer command.Answer
}

func (b bare) CreateEntry(context.Context, CreateEntryRequestObject) (CreateEntryResponseObject, error) {
	return reply{answer: b.answer, location: "/v1/ledger/entries/ent_01k4x9d2rzfqe8s5v0m3t7a1bc"}, nil
}

func bareGate(t testing.TB, log io.Writer) *gate {
	t.Helper()
	org := ids.NewSource(clock.System).New()
	g, err := newGate(func(_ context.Context, key string) (access.Principal, error) {
		if key != "ktr_test_key" {
			return access.Principal{}, access.ErrKeyUnknown
		}
		return access.Principal{OrgID: org, KeyID: org}, nil
	}, clock.System, ids.NewSource(clock.System), 30*time.Second, prometheus.NewRegistry(), slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkHandler is the edge alone: gate, validation, fingerprint, binding, answer, log line.
func BenchmarkHandler(b *testing.B) {
	handler := bareGate(b, io.Discard).handler(bare{answer: command.Answer{Status: 201, Body: make([]byte, 700)}})
	header := http.Header{
		"Authorization": {"Bearer ktr_test_key"}, "Idempotency-Key": {"order-0000001"}, "Content-Type": {"application/json"},
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/ledger/entries", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = header
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		r.Body = io.NopCloser(strings.NewReader(sampleEntry))
		handler.ServeHTTP(w, r)
	}
	if w.header.Get("Location") == "" {
		b.Fatal("the request was refused")
	}
}

// BenchmarkServer is the same behind net/http on a loopback connection, with a client that only writes prepared bytes.
// Run it with -cpu 1 for the cost of a whole request on one core; the client's share is in it.
func BenchmarkServer(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	handler := bareGate(b, io.Discard).handler(bare{answer: command.Answer{Status: 201, Body: make([]byte, 700)}})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	benchmarkConnection(b, listener.Addr().String())
}

// BenchmarkServerEcho is net/http with a handler that reads the body and writes as much: the floor of BenchmarkServer.
func BenchmarkServerEcho(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 700)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "700")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	benchmarkConnection(b, listener.Addr().String())
}

func benchmarkConnection(b *testing.B, address string) {
	b.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	request := []byte("POST /v1/ledger/entries HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ktr_test_key\r\nIdempotency-Key: order-0000001\r\n" +
		"Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(sampleEntry)) + "\r\n\r\n" + sampleEntry)
	reader := bufio.NewReader(connection)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := connection.Write(request); err != nil {
			b.Fatal(err)
		}
		length := 0
		for first := true; ; first = false {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if first && string(line[9:12]) != "201" {
				b.Fatalf("answered %s", line)
			}
			if len(line) == 2 {
				break
			}
			if strings.HasPrefix(string(line), "Content-Length: ") {
				length, _ = strconv.Atoi(strings.TrimSpace(string(line[16:])))
			}
		}
		if _, err := reader.Discard(length); err != nil {
			b.Fatal(err)
		}
	}
}
