package egress

import (
	"errors"
	"net"
	"sync"
)

// errWithheld ends a request whose sender no longer wants it sent.
var errWithheld = errors.New("the request was withheld before it was sent")

// errNotRepeated is what a connection says to a request that another one may have carried already.
var errNotRepeated = errors.New("the connection broke after the request may have been sent; it is not repeated")

// conn knows whether anything was written to it since it was given to the request that has it now. Under TLS this is
// the connection below: the handshake is over before a request is given the connection.
type conn struct {
	net.Conn
	mu      sync.Mutex
	written bool // or a write is under way
	shut    bool
}

// Write implements net.Conn. A write that fails before its first byte has written nothing.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.shut {
		c.mu.Unlock()
		return 0, errNotRepeated
	}
	before := c.written
	c.written = true
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	if n == 0 && err != nil {
		c.mu.Lock()
		c.written = before
		c.mu.Unlock()
	}
	return n, err
}

// give begins a request's turn.
func (c *conn) give() {
	c.mu.Lock()
	c.written = false
	c.mu.Unlock()
}

// shutUnwritten tells whether nothing was written, and if so sees to it that nothing will be: the goroutine that writes
// may come to it late.
func (c *conn) shutUnwritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written {
		return false
	}
	c.shut = true
	return true
}

// shutDown refuses all writes from now on.
func (c *conn) shutDown() {
	c.mu.Lock()
	c.shut = true
	c.mu.Unlock()
}

// below finds our connection under what the transport calls one.
func below(c net.Conn) *conn {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	own, _ := c.(*conn)
	return own
}
