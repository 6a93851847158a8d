// Package egress calls third parties over HTTP: each request is sent once, and the answer says whether it may have
// arrived.
//
// Whoever can name a URL can name a machine of ours. So every address is checked when it is dialled, after the name was
// resolved: a name that resolves to something else the second time gains nothing. Redirects are not followed, the
// environment's proxies are not used, and of a body no more is kept than was asked for.
//
// The transport repeats nothing that may have left: net/http by itself repeats a GET, and whatever carries an
// Idempotency-Key, when a kept connection breaks. Here each connection knows whether a byte of the request was written
// to it, and once one was, no other connection takes the request. For the same reason only HTTP/1.1 is spoken: one
// request has the connection to itself.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// The defaults of a Config, and the bounds of a Client.
const (
	ConnectTimeoutDefault  = 5 * time.Second
	TLSTimeoutDefault      = 5 * time.Second
	IdleConnectionsDefault = 32
	idleTimeout            = 30 * time.Second
	responseHeaderBytesMax = 128 << 10
	wholeBytesMax          = 16 << 20 // of a body, read for its hash; what is longer has none
)

// Config says what a Client may reach and how long it waits. Its zero value is the strictest.
type Config struct {
	Policy

	ConnectTimeout  time.Duration     // to resolve the name and connect; 0 means ConnectTimeoutDefault
	TLSTimeout      time.Duration     // of the handshake; 0 means TLSTimeoutDefault
	HeaderTimeout   time.Duration     // from the request's last byte to the answer's header; 0 means no bound but the whole's
	IdleConnections int               // kept for the next request; 0 means IdleConnectionsDefault
	RootCAs         *x509.CertPool    // nil means the system's
	Certificates    []tls.Certificate // shown to servers that ask for one
	Resolver        *net.Resolver     // nil means the system's
}

// Client keeps the connections of one destination: nobody else's requests share them, so what one may reach is never
// lent to another. Safe for concurrent use.
type Client struct {
	transport *http.Transport
}

// New makes a Client; it connects to nothing yet.
func New(cfg Config) *Client {
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = ConnectTimeoutDefault
	}
	if cfg.TLSTimeout <= 0 {
		cfg.TLSTimeout = TLSTimeoutDefault
	}
	if cfg.IdleConnections <= 0 {
		cfg.IdleConnections = IdleConnectionsDefault
	}
	dialer := &net.Dialer{
		Timeout: cfg.ConnectTimeout, Resolver: cfg.Resolver,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return cfg.checkDial(network, address)
		},
	}
	t := &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs, Certificates: cfg.Certificates},
		TLSHandshakeTimeout:    cfg.TLSTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConnsPerHost:    cfg.IdleConnections,
		MaxIdleConns:           2 * cfg.IdleConnections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: responseHeaderBytesMax,
		DisableCompression:     true, // the hash is of what was sent
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return &Client{transport: t}
}

// Close lets the idle connections go. Requests under way end as they would have; later ones connect again.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// checkDial judges what the dialer is about to connect to: an address, no longer a name.
func (p Policy) checkDial(network, address string) error {
	if network != "tcp4" && network != "tcp6" {
		return &ForbiddenError{Kind: "network " + network}
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &ForbiddenError{Kind: "no address"}
	}
	return p.Check(to.Addr())
}
