package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/nettest"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// distant is a database behind a network with faults.
type distant struct {
	*testing.T
	network *nettest.Proxy
	db      *postgres.DB
	near    *postgres.DB // the same database, past the network
}

const distantConnections = 4

func setupDistant(t *testing.T) *distant {
	t.Helper()
	t.Parallel()
	database := postgrestest.DB(t)
	address, err := database.Address()
	if err != nil {
		t.Fatal(err)
	}
	d := &distant{T: t, network: nettest.NewAbrupt(t, address)}
	through, err := database.Through(d.network.Address())
	if err != nil {
		t.Fatal(err)
	}
	d.db, d.near = d.open(through), d.open(database.Direct)
	if _, err := d.near.Pool().Exec(t.Context(), `create table effect (name text constraint effect_pkey primary key, n int not null)`); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *distant) open(url string) *postgres.DB {
	d.Helper()
	db, err := postgres.Open(d.Context(), url, postgres.Options{ConnectionsMax: distantConnections})
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(db.Close)
	return db
}

// act is a transaction whose effect is guarded, as InTx wants it: it finds out that it was done.
func (d *distant) act(ctx context.Context, between func(run int32)) (runs int32, err error) {
	var n atomic.Int32
	err = d.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		run := n.Add(1)
		if _, err := tx.Exec(ctx, `insert into effect values ('a', 1) on conflict do nothing`); err != nil {
			return err
		}
		between(run)
		_, err := tx.Exec(ctx, `select 1`)
		return err
	})
	return n.Load(), err
}

func (d *distant) effects(want int) {
	d.Helper()
	var n int
	if err := d.near.Pool().QueryRow(d.Context(), `select count(*) from effect`).Scan(&n); err != nil || n != want {
		d.Errorf("%d effects, %v; want %d", n, err, want)
	}
}

// within runs a transaction and says how long it took.
func (d *distant) within(timeout time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(d.Context(), timeout)
	defer cancel()
	began := time.Now()
	err := d.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		_, err := tx.Exec(ctx, `select 1`)
		return err
	})
	return time.Since(began), err
}

// fill opens all connections that the pool may have, and leaves them idle.
func (d *distant) fill() {
	d.Helper()
	var all, ended sync.WaitGroup
	all.Add(distantConnections)
	for range distantConnections {
		ended.Go(func() {
			err := d.db.InTx(d.Context(), func(context.Context, postgres.Tx) error {
				all.Done()
				all.Wait()
				return nil
			})
			if err != nil {
				d.Error(err)
			}
		})
	}
	ended.Wait()
}

func TestAConnectionThatIsResetCostsATurn(t *testing.T) {
	d := setupDistant(t)
	runs, err := d.act(t.Context(), func(run int32) {
		if run == 1 {
			d.network.Cut()
		}
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	d.effects(1)
}

// The outcome of a commit whose answer is lost is open; the body finds it.
func TestAResetDuringCommitHasOneEffect(t *testing.T) {
	for name, c := range map[string]struct {
		direction nettest.Direction
		text      string
	}{
		"before the server has it": {nettest.ToServer, "commit\x00"},
		"before the client knows":  {nettest.ToClient, "COMMIT\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			d := setupDistant(t)
			cuts := d.network.CutAt(c.direction, c.text, 2)
			runs, err := d.act(t.Context(), func(int32) {})
			if err != nil || runs != 3 || cuts() != 2 {
				t.Errorf("%d runs, %d cuts, %v", runs, cuts(), err)
			}
			d.effects(1)
		})
	}
}

// A server that is silent keeps nobody longer than the caller's context, and the pool is well again when it speaks.
func TestASilentServerKeepsNobodyForLong(t *testing.T) {
	for name, direction := range map[string]nettest.Direction{"hears nothing": nettest.ToServer, "says nothing": nettest.ToClient} {
		t.Run(name, func(t *testing.T) {
			const wanted, slack = 100 * time.Millisecond, 5 * time.Second
			d := setupDistant(t)
			d.fill()
			d.network.Lose(direction)
			for range 2 * distantConnections {
				if took, err := d.within(wanted); !errors.Is(err, context.DeadlineExceeded) || took > wanted+slack {
					t.Errorf("after %s: %v", took, err)
				}
			}
			d.network.Heal()
			if _, err := d.within(time.Minute); err != nil {
				t.Error(err)
			}
			d.fill()
		})
	}
}

// Connections that died in silence while nobody used them are found out by one caller, not by each in turn, and a pool
// full of them is closed without waiting long for goodbyes.
func TestIdleConnectionsThatDiedAreReplacedTogether(t *testing.T) {
	const ping, slack = 2 * time.Second, 1500 * time.Millisecond // less than a second ping
	d := setupDistant(t)
	d.fill()
	idle := time.NewTimer(1100 * time.Millisecond) // only what lay idle for a second is asked whether it lives
	<-idle.C
	d.network.LoseOpen(nettest.ToClient, distantConnections)
	if took, err := d.within(time.Minute); err != nil || took < ping || took > ping+slack {
		t.Errorf("after %s: %v", took, err)
	}
	began := time.Now()
	d.db.Close()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the pool took %s to close", took)
	}
}

func TestLatencyIsBorne(t *testing.T) {
	d := setupDistant(t)
	d.network.Latency(nettest.ToClient, 10*time.Millisecond, 10*time.Millisecond)
	d.network.Latency(nettest.ToServer, 5*time.Millisecond, 5*time.Millisecond)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if _, err := d.within(time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if took, err := d.within(time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after %s: %v", took, err)
	}
	// A connection that a caller gave up in mid-answer is not given to the next.
	for range 8 {
		var n int
		if err := d.db.Pool().QueryRow(t.Context(), `select 42`).Scan(&n); err != nil || n != 42 {
			t.Errorf("%d, %v", n, err)
		}
	}
}

// What becomes of a statement outside a transaction is told as it is of a transaction: not one word of the driver's.
func TestAStatementThatFindsNoDatabaseIsAFault(t *testing.T) {
	d := setupDistant(t)
	pool := d.db.Pool()
	ways := map[string]func(context.Context) error{
		"exec": func(ctx context.Context) error {
			_, err := pool.Exec(ctx, `select 1`)
			return err
		},
		"query": func(ctx context.Context) error {
			rows, err := pool.Query(ctx, `select 1`)
			if err == nil {
				_, err = pgx.CollectRows(rows, pgx.RowTo[int])
			}
			return err
		},
		"row": func(ctx context.Context) error {
			var n int
			return pool.QueryRow(ctx, `select 1`).Scan(&n)
		},
		"batch": func(ctx context.Context) error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			return pool.SendBatch(ctx, batch).Close()
		},
		"a batch's row": func(ctx context.Context) error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			results, n := pool.SendBatch(ctx, batch), 0
			return errors.Join(results.QueryRow().Scan(&n), results.Close())
		},
	}
	for name, way := range ways {
		if err := way(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cuts := d.network.CutAt(nettest.ToServer, "select 1", 1)
		err := way(t.Context())
		if cuts() == 0 { // the statement is prepared, and its text need not be sent
			d.network.Cut()
			err = way(t.Context())
		}
		if f := fault.From(err); err == nil || f.Code != "database_unavailable" {
			t.Errorf("%s, cut off: %v", name, err)
		}
		d.network.Heal()
		d.network.Down()
		if f := fault.From(way(t.Context())); f.Code != "database_unavailable" || f.Kind != fault.Unavailable {
			t.Errorf("%s, nobody there: %v", name, f)
		}
		d.network.Up()
		if _, err := d.within(time.Minute); err != nil {
			t.Error(err)
		}
	}
}
