package limits

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// bench is a database with as many nodes as a test wants.
type bench struct {
	testing.TB
	db     *postgres.DB
	source *ids.Source
	org    ids.ID
}

func setup(t testing.TB) *bench {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	return &bench{TB: t, db: db, source: source, org: source.New()}
}

func (b *bench) node(name string, cfg Config) *Limits {
	cfg.Node = name
	return New(b.db, cfg, b.source, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// run starts a node and returns what stops it and waits for its end; the test's end does so too.
func (b *bench) run(node *Limits) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	b.Cleanup(stop)
	return stop
}

func (b *bench) key(name string) Key { return Key{OrgID: b.org, Name: name} }

const patienceOfTests = 30 * time.Second

// take waits until so many uses are granted.
func (b *bench) take(node *Limits, n int, keys ...Key) []*Grant {
	b.Helper()
	deadline := time.NewTimer(patienceOfTests)
	defer deadline.Stop()
	var all []*Grant
	for {
		grants, _, retry := node.Take(keys, 1, n-len(all))
		all = append(all, grants...)
		if len(all) == n {
			return all
		}
		select {
		case <-node.Freed():
		case <-time.After(retry):
		case <-deadline.C:
			b.Fatalf("%d of %d uses were granted", len(all), n)
		}
	}
}

func (b *bench) count(sql string) int {
	b.Helper()
	var n int
	if err := b.db.Pool().QueryRow(b.Context(), sql).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}
