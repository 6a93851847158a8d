package command_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// The statements call now(), which PostgreSQL looks up along the search path like any function. Nodes of these tests find
// one there that tells what their session was told, so the real statements run at any time we like.
func (b *bench) withFakeNow() {
	b.exec(`create schema fake`)
	b.exec(`create function fake.now() returns timestamptz stable language sql
		as $$ select current_setting('fake.now')::timestamptz $$`)
}

// nodeAt is a node whose transactions all begin at the given time.
func (b *bench) nodeAt(at time.Time) *command.Runner {
	return command.NewRunner(b.open(map[string]string{
		"search_path": "fake,pg_catalog,public", "fake.now": at.Format(time.RFC3339Nano), "timezone": "UTC",
	}, 2), problem)
}

// nextTurn is the coming turn of a month: a fresh database has partitions on both sides of it.
func nextTurn() time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

func (b *bench) months(key string) int {
	b.Helper()
	var n int
	if err := b.db.Pool().QueryRow(b.Context(), `select count(*) from idempotency_record where org_id = $1 and key = $2`, b.org, key).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

func TestTheFakeNowIsUsed(t *testing.T) {
	b := setup(t)
	b.withFakeNow()
	turn := nextTurn()
	for _, c := range []struct {
		key    string
		offset time.Duration
		months int
	}{
		{"before", -time.Second, 1},
		{"at", 0, 2},
		{"after", time.Second, 2},
		{"still", 15*time.Minute - time.Microsecond, 2},
		{"late", 15 * time.Minute, 1},
	} {
		b.must(b.viaOnce(b.nodeAt(turn.Add(c.offset)), b.actAll)(b.meta(c.key, "a"), "a"))
		if n := b.months(c.key); n != c.months {
			t.Errorf("%s: recorded in %d months, want %d", c.key, n, c.months)
		}
	}
}

// turns are pairs of moments around the turn at which two transactions may begin that are open at the same time.
var turns = map[string][2]time.Duration{
	"around the turn":                    {-time.Second, time.Second},
	"just around the turn":               {-time.Microsecond, 0},
	"before the turn, in the window":     {-time.Second, 15*time.Minute - time.Second},
	"around the end of the window":       {15*time.Minute - time.Second, 15*time.Minute + time.Second},
	"in the window, well after":          {0, 29 * time.Minute},
	"both before":                        {-2 * time.Second, -time.Second},
	"both in the window":                 {time.Second, 2 * time.Second},
	"a later one that began before them": {time.Second, -time.Second},
}

// The first transaction is open while the second comes and goes: only one of them takes effect.
func TestATransactionOpenAcrossTheTurnGivesWay(t *testing.T) {
	for name, at := range turns {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
				b.withFakeNow()
				turn := nextTurn()
				second := way(b.nodeAt(turn.Add(at[1])), b.actAll)
				runs := 0
				var winner command.Answer
				first := way(b.nodeAt(turn.Add(at[0])), func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
					if runs++; runs == 1 {
						var err error
						if winner, err = second(b.meta("k", "a"), "a"); err != nil {
							return nil, err
						}
						if _, err := second(b.meta("k", "b"), "b"); !errors.Is(err, command.ErrKeyReused) {
							return nil, fmt.Errorf("another body was told %w", err)
						}
					}
					return b.actAll(ctx, tx, items)
				})
				a := b.must(first(b.meta("k", "a"), "a"))
				if !a.Replayed || runs != 1 {
					t.Errorf("replayed %t after %d runs", a.Replayed, runs)
				}
				b.oneEffect("k", winner, a)
			})
		})
	}
}

// A key lies in the month of its writing, where no primary key of the next month's would meet it.
func TestAKeyOfTheMonthBeforeIsKnown(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		b.withFakeNow()
		turn := nextTurn()
		first := b.must(way(b.nodeAt(turn.AddDate(0, 0, -10)), b.actAll)(b.meta("k", "a"), "a"))
		again := b.must(way(b.nodeAt(turn.AddDate(0, 0, 10)), b.actAll)(b.meta("k", "a"), "a"))
		if !again.Replayed {
			t.Error("not replayed")
		}
		b.oneEffect("k", first, again)
	})
}

// The first transaction has written its record but not committed: the second waits for it, and is told its answer.
func TestATransactionCommittingAcrossTheTurnIsWaitedFor(t *testing.T) {
	for name, at := range turns {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
				b.withFakeNow()
				// A deferred trigger holds the first one's COMMIT up while the test holds a lock.
				b.exec(`create function hold() returns trigger language plpgsql as
					$$ begin perform pg_catalog.pg_advisory_xact_lock_shared(1); return null; end $$`)
				b.exec(`create constraint trigger hold after insert on effect deferrable initially deferred
					for each row when (new.note = 'held') execute function public.hold()`)
				turn := nextTurn()
				first, second := way(b.nodeAt(turn.Add(at[0])), b.actAll), way(b.nodeAt(turn.Add(at[1])), b.actAll)
				told := make(chan command.Answer, 2)
				errs := make(chan error, 2)
				ask := func(door asker) {
					a, err := door(b.meta("k", "held"), "held")
					told <- a
					errs <- err
				}
				err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
					if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(1)`); err != nil {
						return err
					}
					go ask(first)
					b.until(`select exists (select from pg_locks where locktype = 'advisory' and not granted
						and database = (select oid from pg_database where datname = current_database()))`)
					go ask(second)
					b.until(`select exists (select from pg_locks where locktype = 'transactionid' and not granted
						and pid in (select pid from pg_stat_activity where datname = current_database()))`)
					return nil
				})
				if err := errors.Join(err, <-errs, <-errs); err != nil {
					t.Fatal(err)
				}
				one, two := <-told, <-told
				if one.Replayed == two.Replayed {
					t.Errorf("%+v and %+v: want one to be the first", one, two)
				}
				b.oneEffect("k", one, two)
			})
		})
	}
}

// A key is kept for thirty days, whatever the months are like, and not for ever.
func TestAKeyIsKeptForThirtyDays(t *testing.T) {
	b := setup(t)
	b.withFakeNow()
	db := b.open(map[string]string{"search_path": "fake,pg_catalog,public"}, 1)
	runner := command.NewRunner(db, problem)
	ask := b.viaOnce(runner, b.actAll)
	at := func(now time.Time) {
		if _, err := db.Pool().Exec(t.Context(), `select set_config('fake.now', $1, false)`, now.Format(time.RFC3339Nano)); err != nil {
			t.Fatal(err)
		}
	}
	turn := nextTurn()
	const keep = 30 * 24 * time.Hour
	for made := turn.AddDate(0, -1, 0); made.Before(turn.AddDate(0, 2, 0)); made = made.Add(13*time.Hour + time.Second) {
		key := made.Format(time.DateTime)
		at(made)
		first := b.must(ask(b.meta(key, "a"), "a"))
		for _, later := range []time.Duration{0, time.Second, 15 * time.Minute, keep / 2, keep - time.Second, keep} {
			at(made.Add(later))
			if again := b.must(ask(b.meta(key, "a"), "a")); !again.Replayed || string(again.Body) != string(first.Body) {
				t.Fatalf("a key made at %s is forgotten %s later", made, later)
			}
		}
	}
	made := turn.Add(-time.Second)
	at(made)
	b.must(ask(b.meta("old", "a"), "a"))
	at(made.AddDate(0, 2, 0))
	if again := b.must(ask(b.meta("old", "a"), "a")); again.Replayed {
		t.Error("a key is found two months later")
	}
}
