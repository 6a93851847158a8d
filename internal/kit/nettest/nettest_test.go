package nettest_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/nettest"
)

// served is a server that answers hello, behind a proxy.
func served(t *testing.T, through func(testing.TB, string) *nettest.Proxy) (*nettest.Proxy, func(time.Duration) (string, time.Duration, error)) {
	t.Helper()
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(server.Close)
	p := through(t, strings.TrimPrefix(server.URL, "http://"))
	return p, func(timeout time.Duration) (string, time.Duration, error) {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client, began := &http.Client{Transport: transport, Timeout: timeout}, time.Now()
		response, err := client.Get("http://" + p.Address())
		if err != nil {
			return "", time.Since(began), err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return string(body), time.Since(began), err
	}
}

func TestFaultsComeAndGo(t *testing.T) {
	p, ask := served(t, nettest.New)
	for name, add := range map[string]func(){
		"lost on the way":      func() { p.Lose(nettest.ToServer) },
		"lost on the way back": func() { p.Lose(nettest.ToClient) },
		"down":                 p.Down,
		"cut":                  func() { p.CutAt(nettest.ToClient, "hello", 1) },
	} {
		add()
		if body, _, err := ask(100 * time.Millisecond); err == nil {
			t.Errorf("%s: answered %q", name, body)
		}
		if name == "down" {
			p.Up()
		}
		p.Heal()
		if body, _, err := ask(time.Minute); err != nil || body != "hello" {
			t.Errorf("healed of %s: %q, %v", name, body, err)
		}
	}
	p.Latency(nettest.ToClient, 50*time.Millisecond, 0)
	if _, took, err := ask(time.Minute); err != nil || took < 50*time.Millisecond {
		t.Errorf("late: %s, %v", took, err)
	}
	p.Bandwidth(nettest.ToServer, 1)
	p.SlowClose(nettest.ToClient, time.Millisecond)
	if body, _, err := ask(time.Minute); err != nil || body != "hello" {
		t.Errorf("slow: %q, %v", body, err)
	}
}

func TestACutIsMadeAsOftenAsAsked(t *testing.T) {
	p, ask := served(t, nettest.New)
	cuts := p.CutAt(nettest.ToServer, "GET /", 2)
	failures := 0
	for range 5 {
		if _, _, err := ask(time.Minute); err != nil {
			failures++
		}
	}
	if n := cuts(); n != 2 || failures < 1 {
		t.Errorf("%d cuts, %d failures", n, failures)
	}
}

func TestAnAbruptEndIsAReset(t *testing.T) {
	p, ask := served(t, nettest.NewAbrupt)
	if body, _, err := ask(time.Minute); err != nil || body != "hello" {
		t.Fatalf("%q, %v", body, err)
	}
	p.Reset(nettest.ToServer, 0)
	if _, _, err := ask(time.Minute); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no reset: %v", err)
	}
}

func TestAUnixSocketHasAnAddress(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	response, err := http.Get("http://" + nettest.New(t, path).Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
}
