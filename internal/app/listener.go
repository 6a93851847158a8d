package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// The bounds that every HTTP server of ours puts on a connection.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 90 * time.Second
	headerBytesMax    = 32 << 10
	replyMargin       = 5 * time.Second // for writing an answer that took all of its time
)

// listener is an HTTP server and the port it has taken. Taking the port is part of starting; serving comes later.
type listener struct {
	name   string
	socket net.Listener
	server *http.Server
}

// listen takes the address. requestTimeout bounds reading a request, and with a margin answering it.
func listen(ctx context.Context, name, address string, requestTimeout time.Duration, log *slog.Logger) (*listener, error) {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s for the %s; choose another with --listen or --admin-listen", errAddressTaken, address, name)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the %s: %w", name, err)
	}
	return &listener{name: name, socket: socket, server: &http.Server{
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout + replyMargin,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers do to a socket is not our error
	}}, nil
}

// errAddressTaken says that another process listens there.
var errAddressTaken = errors.New("the address is taken")

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

// close gives the port back when the listener will not serve after all.
func (l *listener) close() { _ = l.socket.Close() }

// serve answers requests until ctx ends; then it takes no more, lets those under way finish, and cuts them off
// within the grace that is left.
func (l *listener) serve(ctx context.Context, handler http.Handler, grace time.Duration) error {
	l.server.Handler = handler
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := l.server.Shutdown(bounded)
		if err != nil {
			_ = l.server.Close()
			err = fmt.Errorf("the %s cut off requests under way: %w", l.name, err)
		}
		stopped <- err
	}()
	if err := l.server.Serve(l.socket); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the %s: %w", l.name, err)
	}
	return <-stopped
}
