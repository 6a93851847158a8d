package mockapi

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// readHeaderTimeout bounds what a client of a started server may keep to itself.
const readHeaderTimeout = 10 * time.Second

// Start serves an API on a free port of this machine's loopback, for tests. It ends with ctx or with Close.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("listen for the mock API: %w", err)
	}
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: readHeaderTimeout, ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	s.url = "http://" + socket.Addr().String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(socket) // it ends when it is closed, below
	}()
	let := s.stop
	s.stop = sync.OnceFunc(func() {
		let()
		_ = server.Close() // also the connections: nothing answers after Close
		<-served
	})
	context.AfterFunc(ctx, s.stop)
	return s, nil
}

// URL is where a started server is reached; empty for one made by New.
func (s *Server) URL() string { return s.url }

// Close lets hanging requests go, and ends a started server. The record can still be read. A second Close does nothing.
func (s *Server) Close() { s.stop() }
