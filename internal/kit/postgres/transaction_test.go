package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// later sends one statement later; its errors are called by the name.
func later(ctx context.Context, tx postgres.Tx, name, sql string, args ...any) error {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	return postgres.SendLater(ctx, tx, batch, func(err error) error { return fmt.Errorf("%s: %w", name, err) })
}

const (
	raiseA = `update counter set n = n + 1 where name = 'a'`
	spoil  = `insert into counter values ('b', 1)` // is there already
)

// ways are all ways to send a statement.
var ways = map[string]func(ctx context.Context, tx postgres.Tx, sql string) error{
	"exec": func(ctx context.Context, tx postgres.Tx, sql string) error {
		_, err := tx.Exec(ctx, sql)
		return err
	},
	"query": func(ctx context.Context, tx postgres.Tx, sql string) error {
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		_, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	},
	"query, read to the end": func(ctx context.Context, tx postgres.Tx, sql string) error {
		rows, err := tx.Query(ctx, sql)
		for err == nil && rows.Next() {
			err = rows.Err()
		}
		return errors.Join(err, rows.Err())
	},
	"row": func(ctx context.Context, tx postgres.Tx, sql string) error {
		var n int
		return tx.QueryRow(ctx, sql).Scan(&n)
	},
	"batch": func(ctx context.Context, tx postgres.Tx, sql string) error {
		batch := &pgx.Batch{}
		batch.Queue(sql).QueryRow(func(row pgx.Row) error {
			var n int
			return row.Scan(&n)
		})
		return tx.SendBatch(ctx, batch).Close()
	},
	"batch, one by one": func(ctx context.Context, tx postgres.Tx, sql string) error {
		batch := &pgx.Batch{}
		batch.Queue(sql)
		results := tx.SendBatch(ctx, batch)
		_, err := results.Exec()
		return errors.Join(err, results.Close())
	},
}

// What is sent later is there for the statement that comes next, however that is sent, and in the order in which it was sent.
func TestWhatIsSentLaterComesFirst(t *testing.T) {
	b := setup(t)
	for name, way := range ways {
		err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			return errors.Join(
				later(ctx, tx, "first", `update counter set n = 1 where name = 'a'`),
				later(ctx, tx, "second", `update counter set n = n * 10 where name = 'a'`),
				way(ctx, tx, `select n / (n - 9) from counter where name = 'a'`),
				later(ctx, tx, "third", `update counter set n = n + 5 where name = 'a'`),
				later(ctx, tx, "fourth", `update counter set n = n * 2 where name = 'a'`))
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.counts("a", 30)
	}
}

// An error of what was sent later is that of the call which it shows in, and nothing that comes after it has an effect.
func TestAnErrorOfWhatWasSentLaterIsExplained(t *testing.T) {
	b := setup(t)
	ends := map[string]func(ctx context.Context, tx postgres.Tx) error{
		"commit": func(context.Context, postgres.Tx) error { return nil },
	}
	for name, way := range ways {
		ends[name] = func(ctx context.Context, tx postgres.Tx) error { return way(ctx, tx, `select 1`) }
	}
	explained := func(err error) bool {
		return err != nil && strings.HasPrefix(err.Error(), "bad: ") && postgres.Constraint(err) == "counter_pkey"
	}
	for name, end := range ends {
		for where, run := range map[string]func(context.Context, func(context.Context, postgres.Tx) error) error{"in": b.db.InTx, "dry": b.db.DryRun} {
			err := run(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				if err := errors.Join(later(ctx, tx, "good", raiseA), later(ctx, tx, "bad", spoil), later(ctx, tx, "after", raiseA)); err != nil {
					return fmt.Errorf("not now: %w", err)
				}
				return end(ctx, tx)
			})
			if !explained(err) {
				t.Errorf("%s, %s: %v", where, name, err)
			}
		}
	}
	b.counts("a", 0)
	if n := b.db.Pool().Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

// Also what is sent with COMMIT can ask for another run.
func TestWhatIsSentWithCommitMayAskForAnotherRun(t *testing.T) {
	b := setup(t)
	runs := 0
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if runs++; runs > 1 {
			return later(ctx, tx, "count", raiseA)
		}
		batch := &pgx.Batch{}
		batch.Queue(raiseA)
		batch.Queue(spoil)
		return postgres.SendLater(ctx, tx, batch, func(error) error { return postgres.ErrAgain })
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	b.counts("a", 1)
	b.retried("again", 1)
}

// An error that body keeps to itself does not make a transaction that looks committed.
func TestAnErrorThatIsKeptIsNoCommit(t *testing.T) {
	b := setup(t)
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		_, _ = tx.Exec(ctx, raiseA)
		_, _ = tx.Exec(ctx, spoil)
		return nil
	})
	if !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Error(err)
	}
	b.counts("a", 0)
}

// Rows that are not read to their end, and rows that are no row, leave the connection fit for more.
func TestRowsThatAreLeftUnread(t *testing.T) {
	b := setup(t)
	err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		rows, err := tx.Query(ctx, `select generate_series(1, 1000)`)
		if err != nil || !rows.Next() {
			return fmt.Errorf("no rows: %w", err)
		}
		rows.Close()
		err = later(ctx, tx, "count", raiseA)
		var n int
		if err := errors.Join(err, tx.QueryRow(ctx, `select n from counter where name = 'nobody'`).Scan(&n)); !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("no row: %w", err)
		}
		err = later(ctx, tx, "count", raiseA)
		var wrong []int
		if err := tx.QueryRow(ctx, `select 'text'`).Scan(&wrong); err == nil {
			return errors.New("a text was read as a list")
		}
		tag, e := tx.Exec(ctx, raiseA)
		if tag.RowsAffected() != 1 {
			return fmt.Errorf("%s: %w", tag, e)
		}
		return errors.Join(err, e)
	})
	if err != nil {
		t.Error(err)
	}
	b.counts("a", 3)
}

// A transaction is as many round trips as it has statements whose results are read, and one for COMMIT.
func TestRoundTripsAreSpared(t *testing.T) {
	b := setup(t)
	spent := b.roundTrips(func(ctx context.Context, tx postgres.Tx) error {
		for _, name := range []string{"a", "b"} {
			var n int
			if err := tx.QueryRow(ctx, `select n from counter where name = $1`, name).Scan(&n); err != nil {
				return err
			}
			if err := later(ctx, tx, name, `update counter set n = n + 1 where name = $1`, name); err != nil {
				return err
			}
		}
		return nil
	})
	if spent != 3 {
		t.Errorf("%d round trips, want 3", spent)
	}
	b.counts("a", 2)
	b.counts("b", 2)
}

// What is sent statement by statement ends with COMMIT in one round trip, with what was to be sent before it and after.
func TestAStreamIsOneRoundTrip(t *testing.T) {
	b := setup(t)
	spent := b.roundTrips(func(ctx context.Context, tx postgres.Tx) error {
		for digit, send := range []func(context.Context, postgres.Tx, *pgx.Batch, func(error) error) error{
			postgres.SendLater, postgres.SendNow, postgres.SendNow, postgres.SendLater,
		} {
			if err := send(ctx, tx, one(addSQL, "a", digit+1), same); err != nil {
				return err
			}
		}
		return nil
	})
	if spent != 1 {
		t.Errorf("%d round trips, want 1", spent)
	}
	b.counts("a", 12341234)
}

// roundTrips carries out a transaction twice, and counts what the second took: the first time the statements are prepared.
func (b *bench) roundTrips(body func(ctx context.Context, tx postgres.Tx) error) (spent int32) {
	b.Helper()
	through := *b
	var turns *atomic.Int32
	through.url, turns = b.counted()
	db := through.open(postgres.Options{ConnectionsMax: 1})
	for range 2 {
		before := turns.Load()
		if err := db.InTx(b.Context(), body); err != nil {
			b.Fatal(err)
		}
		spent = turns.Load() - before
	}
	return spent
}

// counted is a way to the database on which round trips are counted.
func (b *bench) counted() (throughURL string, turns *atomic.Int32) {
	b.Helper()
	cfg, err := pgx.ParseConfig(b.url)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	network, address := "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	if strings.HasPrefix(cfg.Host, "/") {
		network, address = "unix", cfg.Host+"/.s.PGSQL."+strconv.Itoa(int(cfg.Port))
	}
	turns = &atomic.Int32{}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = client.Close()
				return
			}
			go func() {
				_, _ = io.Copy(client, server)
				_ = client.Close()
			}()
			go func() {
				_, _ = io.Copy(server, io.TeeReader(client, syncs{turns}))
				_ = server.Close()
			}()
		}
	}()
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: listener.Addr().String(), Path: "/" + cfg.Database,
		RawQuery: "sslmode=disable",
	}
	return u.String(), turns
}

// syncs counts the message by which a client waits for the server.
type syncs struct{ *atomic.Int32 }

func (s syncs) Write(sent []byte) (int, error) {
	s.Add(int32(bytes.Count(sent, []byte("S\x00\x00\x00\x04"))))
	return len(sent), nil
}
