package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How long a peer is waited for that no longer answers. The context of whoever waits is the first bound; these are for
// what no context reaches: connections that nobody uses, and those that were given up.
const (
	silenceMax = 20 * time.Second // the network's silence, after which a connection is dead
	pingMax    = 2 * time.Second  // for a connection that lay idle to show that it lives, before another is made
	partingMax = 2 * time.Second  // for a connection that was given up to be gone; until then it counts as one of the pool's
)

// dial connects so that the kernel finds out within silenceMax when the other side is gone: by probes where there is
// nothing to send, by the lack of an acknowledgement where there is. Left alone Linux takes two and fifteen minutes.
func dial() pgconn.DialFunc {
	const probes = 3
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: silenceMax / 2, Interval: silenceMax / 2 / probes, Count: probes,
		},
		Control: boundSilence,
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return parting{conn}, nil
	}
}

// alive has a connection that lay idle show that it lives. When one is silent, all that lie idle are suspect, and are
// replaced at once rather than one after the other by callers who wait.
func (p *Pool) alive(ctx context.Context, params pgxpool.ShouldPingParams) (ask bool) {
	const idleLong = time.Second
	if params.IdleDuration < idleLong {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, pingMax)
	defer cancel()
	err := params.Conn.Ping(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		p.Reset()
	}
	return err != nil // asked again, it gives its error at once
}

// parting is a connection whose deadlines are near. The driver sets one in two cases: to break off at once, and to give
// a connection that was broken off 15 s to say goodbye, for which it takes up a place in the pool.
type parting struct{ net.Conn }

// SetDeadline implements net.Conn.
func (c parting) SetDeadline(at time.Time) error {
	if !at.IsZero() {
		at = earlier(at, partingMax)
	}
	return c.Conn.SetDeadline(at)
}

// earlier is at, or when that is further away, so long from now.
func earlier(at time.Time, fromNow time.Duration) time.Time {
	latest := time.Now().Add(fromNow) //nolint:forbidigo // a deadline of the operating system's
	if at.After(latest) {
		return latest
	}
	return at
}
