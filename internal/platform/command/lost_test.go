package command_test

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// cutter stands between a node and the database and cuts the connection at a COMMIT, as often as it is told to: before
// the server has seen it, or when the server has carried it out and answers.
type cutter struct {
	t      *testing.T
	dial   func() (net.Conn, error)
	before atomic.Int32
	after  atomic.Int32
}

// cut makes a runner behind a cutter.
func (b *bench) cut() (*cutter, *command.Runner) {
	b.Helper()
	cfg, err := pgx.ParseConfig(b.url)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c := &cutter{t: b.T, dial: func() (net.Conn, error) {
		network, address := serverAddress(cfg.Host, cfg.Port)
		return net.Dial(network, address)
	}}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { c.serve(client) })
		}
	})
	b.Cleanup(func() {
		_ = listener.Close()
		open.Wait()
	})
	query := url.Values{"sslmode": {"disable"}}
	if pooler := cfg.RuntimeParams["pooler"]; pooler != "" {
		query.Set("pooler", pooler)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: listener.Addr().String(), Path: "/" + cfg.Database, RawQuery: query.Encode()}
	through := *b
	through.url = u.String()
	return c, command.NewRunner(through.open(nil, 2), problem)
}

func serverAddress(host string, port uint16) (network, address string) {
	if len(host) > 0 && host[0] == '/' {
		return "unix", host + "/.s.PGSQL." + strconv.Itoa(int(port))
	}
	return "tcp", net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func (c *cutter) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := c.dial()
	if err != nil {
		c.t.Error(err)
		return
	}
	defer func() { _ = server.Close() }()
	var swallow atomic.Bool
	done := make(chan struct{})
	go func() { // from the server to the client
		defer close(done)
		defer func() { _ = client.Close() }()
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			if err != nil || swallow.Load() && bytes.Contains(buf[:n], []byte("COMMIT\x00")) {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if bytes.Contains(buf[:n], []byte("commit\x00")) {
			if c.before.Add(-1) >= 0 {
				break
			}
			swallow.Store(c.after.Add(-1) >= 0)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = server.Close()
	<-done
}

// A COMMIT whose answer is lost may or may not have happened. The command runs again and finds its own record, or none.
func TestALostCommitHasOneEffect(t *testing.T) {
	for name, cuts := range map[string]struct{ before, after int32 }{
		"before": {1, 0}, "after": {0, 1}, "both, twice": {2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
				c, runner := b.cut()
				var runs atomic.Int32
				ask := way(runner, func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
					runs.Add(1)
					return b.actAll(ctx, tx, items)
				})
				c.before.Store(cuts.before)
				c.after.Store(cuts.after)
				a := b.must(ask(b.meta("k", "a"), "a"))
				if n := runs.Load(); n != 1+cuts.before {
					t.Errorf("the body ran %d times", n)
				}
				b.oneEffect("k", a, b.must(ask(b.meta("k", "a"), "a")))
				if c.before.Load() > 0 || c.after.Load() == cuts.after && cuts.after > 0 {
					t.Error("nothing was cut")
				}
			})
		})
	}
}

// The server ends the session in the middle of a batch: all of it runs again.
func TestATerminatedSessionHasOneEffect(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		var runs atomic.Int32
		ask := way(command.NewRunner(b.open(nil, 2), problem), func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
			out, err := b.actAll(ctx, tx, items)
			if err == nil && runs.Add(1) <= 2 {
				_, err = tx.Exec(ctx, `select pg_terminate_backend(pg_backend_pid())`)
			}
			return out, err
		})
		a := b.must(ask(b.meta("k", "a"), "a"))
		if a.Replayed || runs.Load() != 3 {
			t.Errorf("%+v after %d runs, want 3", a, runs.Load())
		}
		b.oneEffect("k", a)
	})
}
