package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The bounds that every HTTP server of ours puts on a connection.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 90 * time.Second
	headerBytesMax    = 32 << 10
	replyMargin       = 5 * time.Second // for writing an answer that took all of its time
	silentGrace       = 500 * time.Millisecond
)

// listener is an HTTP server and the port it has taken. Taking the port is part of starting; serving comes later.
type listener struct {
	name   string
	socket net.Listener
	server *http.Server
	active atomic.Int64 // requests under way
	silent sync.Map     // net.Conn: connections on which nothing has been asked yet
}

// errAddressTaken says that another process listens there.
var errAddressTaken = errors.New("the address is taken")

// isAddressTaken tells whether that is why a socket could not be opened.
func isAddressTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// listen takes the address. log may be nil.
//
// requestTimeout bounds reading a request, and with a margin answering it.
func listen(ctx context.Context, name, address string, requestTimeout time.Duration, log *slog.Logger) (*listener, error) {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if isAddressTaken(err) {
		return nil, fmt.Errorf("%w: %s for the %s; choose another with --listen or --admin-listen", errAddressTaken, address, name)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the %s: %w", name, err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &listener{name: name, socket: socket, server: &http.Server{
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout + replyMargin,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers do to a socket is not our error
	}}
	l.server.ConnState = l.changed
	return l, nil
}

// changed keeps the list of the silent connections.
func (l *listener) changed(conn net.Conn, state http.ConnState) {
	if state == http.StateNew {
		l.silent.Store(conn, nil)
		return
	}
	l.silent.Delete(conn)
}

// URL is the base URL at which the listener is reached from this machine.
func (l *listener) URL() string {
	host, port, err := net.SplitHostPort(l.socket.Addr().String())
	if err != nil {
		return "http://" + l.socket.Addr().String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// part makes the listener a part of a lifecycle.
func (l *listener) part(handler http.Handler, grace time.Duration) part {
	return part{name: l.name, run: func(ctx context.Context) error { return l.serve(ctx, handler, grace) }}
}

// close gives the port back when the listener will not serve after all.
func (l *listener) close() { _ = l.socket.Close() }

// errStopping is why a request's context ends when the node does.
var errStopping = errors.New("the node is stopping")

// serve answers requests until ctx ends; then it takes no more and lets those under way finish. When four fifths of the
// grace are over it ends their contexts, so that what waits for a provider is answered "not yet"; at the end of the
// grace it cuts the rest off.
func (l *listener) serve(ctx context.Context, handler http.Handler, grace time.Duration) error {
	l.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.active.Add(1)
		defer l.active.Add(-1)
		handler.ServeHTTP(w, r)
	})
	base, hurry := context.WithCancelCause(context.WithoutCancel(ctx))
	defer hurry(nil)
	l.server.BaseContext = func(net.Listener) context.Context { return base }
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace*4/5, func() { hurry(errStopping) })
		defer timer.Stop()
		stopped <- l.shutdown(context.WithoutCancel(ctx), grace)
	})
	if err := l.server.Serve(l.socket); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve the %s: %w", l.name, err)
	}
	return <-stopped
}

// shutdown waits for what is under way. A client may hold a connection that it opened and never used; http.Server
// waits 5 s for the first request on it, longer than a short grace, so those that stay silent are closed before.
func (l *listener) shutdown(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	hangUp := time.AfterFunc(min(silentGrace, grace/2), func() {
		l.silent.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
	})
	defer hangUp.Stop()
	if err := l.server.Shutdown(ctx); err != nil {
		active := l.active.Load()
		_ = l.server.Close()
		return fmt.Errorf("%d requests were still under way and were cut off: %w", active, err)
	}
	return nil
}
