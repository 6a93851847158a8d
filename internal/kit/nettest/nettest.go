// Package nettest puts a network with faults between a client and a server of a test: between Kontor and PostgreSQL, or
// between Kontor and a third party. The faults are Toxiproxy's, and a cut at the moment when a given text passes.
package nettest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// Direction is which way data flows.
type Direction string

// The directions.
const (
	ToServer Direction = "upstream"
	ToClient Direction = "downstream"
)

// Proxy stands between a client and a server. Faults are for the connections that are open and for those to come, until
// Heal.
type Proxy struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// New makes a proxy before a server's host:port, or before the path of its Unix socket. It passes everything on.
func New(t testing.TB, server string) *Proxy {
	t.Helper()
	if strings.HasPrefix(server, "/") {
		server = bridge(t, server)
	}
	toxics.Register(cutType, new(cutToxic))
	toxics.Register(forgetType, new(forgetToxic))
	metrics := toxiproxy.NewMetricsContainer(nil)
	p := &Proxy{t: t, proxy: toxiproxy.NewProxy(toxiproxy.NewServer(metrics, zerolog.Nop()), t.Name(), "127.0.0.1:0", server)}
	p.Up()
	t.Cleanup(p.Down)
	return p
}

// NewAbrupt is New, but connections end by a reset, and what was not delivered by then is lost.
func NewAbrupt(t testing.TB, server string) *Proxy {
	t.Helper()
	p := New(t, server)
	for _, direction := range []Direction{ToServer, ToClient} {
		// A connection is told at its beginning how it will end; one that has no chance to be used will do for that.
		p.add("reset_peer", direction, "resting_"+string(direction), 0, map[string]any{"timeout": 0})
	}
	return p
}

// Address is what to connect to instead of the server.
func (p *Proxy) Address() string { return p.proxy.Listen }

// Down ends all connections and takes no more.
func (p *Proxy) Down() { p.proxy.Stop() }

// Up takes connections again, at the same address. Should a connection of somebody else's have the port meanwhile, it waits for that
// one's end.
func (p *Proxy) Up() {
	p.t.Helper()
	deadline, again := time.NewTimer(20*time.Second), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for {
		err := p.proxy.Start()
		if err == nil {
			break
		}
		select {
		case <-deadline.C:
			p.t.Fatalf("start the proxy: %v", err)
		case <-again.C:
		}
	}
}

// Cut ends all connections and takes new ones.
func (p *Proxy) Cut() {
	p.t.Helper()
	p.Down()
	p.Up()
}

// Latency delays everything in one direction, each time by up to jitter more or less.
func (p *Proxy) Latency(direction Direction, delay, jitter time.Duration) {
	p.t.Helper()
	p.add("latency", direction, "", 1, map[string]any{"latency": delay.Milliseconds(), "jitter": jitter.Milliseconds()})
}

// Bandwidth lets so much through in a second and in one direction.
func (p *Proxy) Bandwidth(direction Direction, kilobytes int64) {
	p.t.Helper()
	p.add("bandwidth", direction, "", 1, map[string]any{"rate": kilobytes})
}

// Lose swallows all data in one direction; connections stay open and their ends hear nothing of it: they are half-open.
func (p *Proxy) Lose(direction Direction) {
	p.t.Helper()
	p.add("timeout", direction, "", 1, map[string]any{"timeout": 0})
}

// LoseOpen swallows the data of the connections that are open now, of which the caller knows how many there are; new ones
// pass. So it is when a server was replaced by another, or a firewall has forgotten what it let through.
func (p *Proxy) LoseOpen(direction Direction, connections int32) {
	p.t.Helper()
	p.add(forgetType, direction, "", 1, map[string]any{"connections": connections})
}

// SlowClose delays the end of connections.
func (p *Proxy) SlowClose(direction Direction, delay time.Duration) {
	p.t.Helper()
	p.add("slow_close", direction, "", 1, map[string]any{"delay": delay.Milliseconds()})
}

// Reset ends a connection so long after the next data in one direction, which are lost. Of a proxy made by NewAbrupt the
// end is a reset.
func (p *Proxy) Reset(direction Direction, delay time.Duration) {
	p.t.Helper()
	p.add("reset_peer", direction, "", 1, map[string]any{"timeout": delay.Milliseconds()})
}

// CutAt ends a connection when the text is about to pass, so many times, and tells how many times it did. The text must
// have been sent at once.
func (p *Proxy) CutAt(direction Direction, text string, times int32) (cuts func() int32) {
	p.t.Helper()
	wrapper := p.add(cutType, direction, "", 1, map[string]any{"text": text, "times": times})
	return wrapper.Toxic.(*cutToxic).cuts.Load
}

// Heal takes all faults away. Connections that have lost data end.
func (p *Proxy) Heal() {
	for _, toxic := range p.proxy.Toxics.GetToxicArray() {
		name := toxic.(*toxics.ToxicWrapper).Name
		if strings.HasPrefix(name, "resting_") {
			continue
		}
		if err := p.proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
			p.t.Errorf("heal the network: %v", err)
		}
	}
}

func (p *Proxy) add(kind string, direction Direction, name string, toxicity float32, attributes map[string]any) *toxics.ToxicWrapper {
	p.t.Helper()
	description, err := json.Marshal(map[string]any{
		"type": kind, "stream": direction, "name": name, "toxicity": toxicity, "attributes": attributes,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	wrapper, err := p.proxy.Toxics.AddToxicJson(bytes.NewReader(description))
	if err != nil {
		p.t.Fatalf("add the fault %s: %v", kind, err)
	}
	return wrapper
}

// The faults that Toxiproxy does not have.
const (
	cutType    = "cut_at"
	forgetType = "forget"
)

// cutToxic ends a connection in place of passing a text on.
type cutToxic struct {
	Text  string `json:"text"`
	Times int32  `json:"times"`
	cuts  atomic.Int32
}

// Pipe implements toxics.Toxic.
func (c *cutToxic) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil || bytes.Contains(chunk.Data, []byte(c.Text)) && c.take() {
				stub.Close()
				return
			}
			stub.Output <- chunk
		}
	}
}

// take is true as often as there are cuts to make.
func (c *cutToxic) take() bool {
	for {
		n := c.cuts.Load()
		if n >= c.Times {
			return false
		}
		if c.cuts.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// forgetToxic swallows what the first connections send.
type forgetToxic struct {
	Connections int32 `json:"connections"`
	seen        atomic.Int32
}

// Pipe implements toxics.Toxic.
func (f *forgetToxic) Pipe(stub *toxics.ToxicStub) {
	if f.seen.Add(1) <= f.Connections {
		new(toxics.TimeoutToxic).Pipe(stub)
		return
	}
	new(toxics.NoopToxic).Pipe(stub)
}

// bridge gives a Unix socket an address: Toxiproxy knows TCP alone.
func bridge(t testing.TB, socket string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { join(client, socket) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		open.Wait()
	})
	return listener.Addr().String()
}

// join copies both ways until either side ends.
func join(client net.Conn, socket string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}
