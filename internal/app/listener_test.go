package app

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// blocking is a handler that tells when it was called and answers when it is let go.
type blocking struct{ called, release chan struct{} }

func (b *blocking) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.called <- struct{}{}
	<-b.release
	w.WriteHeader(http.StatusNoContent)
}

// serveOne starts a listener with one request under way, and begins to stop it.
func serveOne(t *testing.T, grace time.Duration) (b *blocking, answered chan int, ended chan error) {
	t.Helper()
	l, err := listen(t.Context(), "test", "127.0.0.1:0", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	b = &blocking{called: make(chan struct{}), release: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	answered, ended = make(chan int, 1), make(chan error, 1)
	go func() { ended <- l.part(b, grace).run(ctx) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			answered <- 0
			return
		}
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	<-b.called
	cancel()
	return b, answered, ended
}

func TestRequestsUnderWayAreAnswered(t *testing.T) {
	t.Parallel()
	b, answered, ended := serveOne(t, time.Minute)
	close(b.release)
	if status := <-answered; status != http.StatusNoContent {
		t.Errorf("got %d", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRequestsThatTakeTooLongAreCutOffAndCounted(t *testing.T) {
	t.Parallel()
	b, answered, ended := serveOne(t, 50*time.Millisecond)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "1 requests were still under way") {
		t.Errorf("got %v", err)
	}
	if status := <-answered; status != 0 {
		t.Errorf("got %d", status)
	}
	close(b.release)
}

func TestAConnectionThatNeverAskedDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	l, err := listen(t.Context(), "API", "127.0.0.1:0", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.serve(ctx, http.NotFoundHandler(), 2*time.Second) }()
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request) // accepted after the silent one, so that one is known as well
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v", err)
	}
}
