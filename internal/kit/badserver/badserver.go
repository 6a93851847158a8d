// Package badserver has what servers that misbehave on purpose share: the chance by which a request meets its fault, delays that
// end with the server, the breaking of a connection, and how a fault profile is written. It knows no fault by name: which there
// are, and what each does, is the server's own.
package badserver

import (
	"context"
	"net/http"
	"time"
)

// Pause lets the delay pass, whether or not a client still waits; false if the server stopped first.
func Pause(stopped <-chan struct{}, delay time.Duration) bool {
	return wait(stopped, nil, delay)
}

// Linger lets the delay pass while the client of ctx waits: for when only its answer is left to be sent. It says nothing of why
// it ended.
func Linger(ctx context.Context, stopped <-chan struct{}, delay time.Duration) {
	wait(stopped, ctx.Done(), delay)
}

// wait is true if nothing came before the delay had passed.
func wait(stopped, left <-chan struct{}, delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stopped:
	case <-left:
	}
	return false
}

// Reset breaks the connection so that the client sees a reset instead of an orderly end.
func Reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // not HTTP/1.1: an end without an answer must do
	}
	if lingering, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = lingering.SetLinger(0) // best effort: without it the client sees an orderly end, still without an answer
	}
	_ = conn.Close()
}
