package egress

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// inside is a Client that may reach loopback.
func inside(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Policy: Policy{AllowPrivateNetworks: true}}
	for _, f := range change {
		f(&cfg)
	}
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, handler http.HandlerFunc) *url.URL {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return parse(t, s.URL)
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func get(t *testing.T, c *Client, u *url.URL) Response {
	t.Helper()
	return c.Do(t.Context(), Request{Method: http.MethodGet, URL: u, Timeout: time.Minute, BodyBytesMax: 1 << 10})
}

// wire is a server that treats each connection as it is told.
func wire(t *testing.T, each func(c net.Conn, number int64)) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var number atomic.Int64
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				each(c, number.Add(1))
			}()
		}
	}()
	return parse(t, "http://"+listener.Addr().String())
}

// names is a name server that answers every question with what it is told for the nth one of its type.
func names(t *testing.T, answer func(v6 bool, nth int64) []netip.Addr) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	go func() {
		var asked [2]int64
		query := make([]byte, 512)
		for {
			n, from, err := socket.ReadFrom(query)
			if err != nil {
				return
			}
			v6 := questionType(query[:n]) == 28
			which := 0
			if v6 {
				which = 1
			}
			asked[which]++
			_, _ = socket.WriteTo(reply(query[:n], answer(v6, asked[which])), from)
		}
	}()
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

// questionEnd is where the only question of a query ends.
func questionEnd(query []byte) int {
	at := 12
	for query[at] != 0 {
		at += int(query[at]) + 1
	}
	return at + 5
}

func questionType(query []byte) uint16 {
	return binary.BigEndian.Uint16(query[questionEnd(query)-4:])
}

func reply(query []byte, addresses []netip.Addr) []byte {
	end := questionEnd(query)
	out := append([]byte(nil), query[:end]...)
	binary.BigEndian.PutUint16(out[2:], 0x8180) // a response, recursion available
	binary.BigEndian.PutUint16(out[6:], uint16(len(addresses)))
	clear(out[8:12])
	for _, a := range addresses {
		raw := a.AsSlice()
		kind := uint16(1)
		if len(raw) == 16 {
			kind = 28
		}
		out = binary.BigEndian.AppendUint16(out, 0xc00c) // the name of the question
		out = binary.BigEndian.AppendUint16(out, kind)
		out = binary.BigEndian.AppendUint16(out, 1)
		out = binary.BigEndian.AppendUint32(out, 0) // not to be kept
		out = binary.BigEndian.AppendUint16(out, uint16(len(raw)))
		out = append(out, raw...)
	}
	return out
}
