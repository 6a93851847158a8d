package command_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

func TestARepeatIsToldTheFirstAnswer(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		here, there := way(command.NewRunner(b.db, problem), b.actAll), way(command.NewRunner(b.open(nil, 2), problem), b.actAll)
		first := b.must(here(b.meta("k", "a"), "a"))
		if first.Replayed || first.Status != 201 || first.SubjectID.IsZero() {
			t.Fatalf("%+v", first)
		}
		for _, ask := range []asker{here, there} {
			again := b.must(ask(b.meta("k", "a"), "a"))
			if !again.Replayed || again.Status != first.Status || !bytes.Equal(again.Body, first.Body) || again.SubjectID != first.SubjectID {
				t.Errorf("%+v, want %+v", again, first)
			}
			_, err := ask(b.meta("k", "other"), "other")
			b.refused(err, command.ErrKeyReused)
		}
		b.oneEffect("k", first)
	})
}

func TestAKeyBelongsToItsOrganisation(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		ask := way(command.NewRunner(b.db, problem), b.actAll)
		mine, theirs := b.meta("k", "a"), b.meta("k", "b")
		theirs.OrgID = b.source.New()
		if a := b.must(ask(mine, "a")); a.Replayed {
			t.Error("replayed to the first")
		}
		if a := b.must(ask(theirs, "b")); a.Replayed {
			t.Error("replayed to another organisation")
		}
		if len(b.effects(mine.OrgID)) != 1 || len(b.effects(theirs.OrgID)) != 1 {
			t.Error("want one effect each")
		}
	})
}

func TestWithoutAKeyNothingIsRecorded(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		ask := way(command.NewRunner(b.db, problem), b.actAll)
		for range 3 {
			if a := b.must(ask(b.meta("", "a"), "a")); a.Replayed {
				t.Error("replayed")
			}
		}
		if n := len(b.effects(b.org)); n != 3 {
			t.Errorf("%d effects, want 3", n)
		}
		b.until(`select count(*) = 0 from idempotency_record`)
	})
}

func TestAnAnswerMayBeEmptyAndSubjectless(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		ask := way(command.NewRunner(b.db, problem), func(_ context.Context, _ postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
			return []command.Outcome{{Answer: command.Answer{Status: 204}}}[:len(items)], nil
		})
		b.must(ask(b.meta("k", "a"), "a"))
		again := b.must(ask(b.meta("k", "a"), "a"))
		if !again.Replayed || again.Status != 204 || len(again.Body) != 0 || !again.SubjectID.IsZero() {
			t.Errorf("%+v", again)
		}
	})
}

// A refusal is an answer: it is recorded alone, and nothing that the body does for it again takes effect.
func TestARefusalIsRecordedAndReplayed(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict} {
		t.Run(string(kind), func(t *testing.T) {
			eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
				refusal := fault.New(kind, "no_luck", "Not today.")
				ask := way(command.NewRunner(b.db, problem), func(context.Context, postgres.Tx, []command.Item[string]) ([]command.Outcome, error) {
					return []command.Outcome{{Err: refusal}}, nil
				})
				_, err := ask(b.meta("k", "a"), "a")
				b.refused(err, refusal)
				for range 2 {
					a := b.must(ask(b.meta("k", "a"), "a"))
					if !a.Replayed || a.Status != 400 || string(a.Body) != "no_luck req_k" {
						t.Errorf("%+v %s", a, a.Body)
					}
				}
				_, err = ask(b.meta("k", "b"), "b")
				b.refused(err, command.ErrKeyReused)
				b.until(`select count(*) = 1 from idempotency_record`)
			})
		})
	}
}

// What is not final may go otherwise the next time.
func TestWhatIsNotFinalIsNotRecorded(t *testing.T) {
	for name, passing := range map[string]error{
		"unavailable": fault.New(fault.Unavailable, "gone", "Gone for a moment."),
		"limited":     fault.New(fault.Limited, "slowly", "Too many."),
		"later":       fault.New(fault.Conflict, "busy", "Another one is under way.").After(time.Second),
		"internal":    errors.New("a bug"),
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
				var runs atomic.Int32
				ask := way(command.NewRunner(b.db, problem), func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
					if runs.Add(1) == 1 {
						return []command.Outcome{{Err: passing}}, nil
					}
					return b.actAll(ctx, tx, items)
				})
				if _, err := ask(b.meta("k", "a"), "a"); !errors.Is(err, passing) {
					t.Fatalf("%v, want %v", err, passing)
				}
				a := b.must(ask(b.meta("k", "a"), "a"))
				if a.Replayed {
					t.Error("replayed")
				}
				b.oneEffect("k", a)
			})
		})
	}
}

func TestOnceRollsTheEffectsOfARefusedCommandBack(t *testing.T) {
	b := setup(t)
	r := command.NewRunner(b.db, problem)
	refusal := fault.New(fault.Conflict, "no_luck", "Not today.")
	_, err := r.Once(b.Context(), b.meta("k", "a"), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		if out := b.act(ctx, tx, b.meta("k", "a"), "a"); out.Err != nil {
			return out
		}
		return command.Outcome{Err: refusal}
	})
	b.refused(err, refusal)
	if n := len(b.effects(b.org)); n != 0 {
		t.Errorf("%d effects of a refused command", n)
	}
	a := b.must(b.viaOnce(r, b.actAll)(b.meta("k", "a"), "a"))
	if !a.Replayed || string(a.Body) != "no_luck req_k" || len(b.effects(b.org)) != 0 {
		t.Errorf("%+v", a)
	}
}

// Between the roll-back of a refused command and the record of its refusal another one may come and succeed.
func TestOnceGivesWayToWhoeverRecordedFirst(t *testing.T) {
	b := setup(t)
	r := command.NewRunner(b.db, problem)
	var winner command.Answer
	a, err := r.Once(b.Context(), b.meta("k", "a"), func(context.Context, postgres.Tx) command.Outcome {
		winner = b.must(b.viaOnce(command.NewRunner(b.db, problem), b.actAll)(b.meta("k", "a"), "a"))
		return command.Outcome{Err: fault.New(fault.Conflict, "no_luck", "Not today.")}
	})
	if err != nil || !a.Replayed || !bytes.Equal(a.Body, winner.Body) {
		t.Errorf("%+v, %v; want %+v", a, err, winner)
	}
	b.oneEffect("k", winner, a)
}

func TestCommandsWithoutADatabaseFail(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		db := b.open(nil, 2)
		ask := way(command.NewRunner(db, problem), b.actAll)
		db.Close()
		if _, err := ask(b.meta("k", "a"), "a"); err == nil {
			t.Error("no error from a pool that is closed")
		}
	})
}

func TestRepeatsWithinABatchFollowTheFirst(t *testing.T) {
	b := setup(t)
	gate, inside := make(chan struct{}), make(chan int, 8)
	ask := b.viaLane(command.NewRunner(b.db, problem), func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
		inside <- len(items)
		<-gate
		return b.actAll(ctx, tx, items)
	})
	type told struct {
		answer command.Answer
		err    error
	}
	answers := make(chan told, 32)
	for i := range cap(answers) {
		note := "a"
		if i%4 == 3 {
			note = "b"
		}
		go func() {
			a, err := ask(b.meta("k", note), note)
			answers <- told{a, err}
		}()
	}
	<-inside
	close(gate)
	firsts, reused := 0, 0
	var all []command.Answer
	for range cap(answers) {
		switch r := <-answers; {
		case errors.Is(r.err, command.ErrKeyReused):
			reused++
		case r.err != nil:
			t.Error(r.err)
		default:
			all = append(all, r.answer)
			if !r.answer.Replayed {
				firsts++
			}
		}
	}
	if firsts != 1 || (reused != 8 && reused != 24) {
		t.Errorf("%d first answers, %d refused: want 1, and all those with the other body", firsts, reused)
	}
	b.oneEffect("k", all...)
}

// A lane takes a key for new. Where it is not, the body has run in vain: the transaction is rolled back, and the next run asks.
func TestWhatALaneDoesForAKnownKeyIsRolledBack(t *testing.T) {
	b := setup(t)
	var committed []bool
	ask := b.viaLane(command.NewRunner(b.db, problem), func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
		postgres.AtEnd(tx, func(yes bool) { committed = append(committed, yes) })
		return b.actAll(ctx, tx, items)
	})
	first := b.must(ask(b.meta("k", "a"), "a"))
	again := b.must(ask(b.meta("k", "a"), "a"))
	if !again.Replayed || !bytes.Equal(again.Body, first.Body) {
		t.Errorf("%+v, want %+v replayed", again, first)
	}
	b.oneEffect("k", first)
	if want := []bool{true, false}; !slices.Equal(committed, want) {
		t.Errorf("the body's transactions were committed: %v, want %v", committed, want)
	}
}

// One command in a batch that the database refuses, or that panics, fails alone.
func TestABadCommandFailsAlone(t *testing.T) {
	b := setup(t)
	b.exec(`create table taken (n int constraint taken_pkey primary key)`)
	b.exec(`insert into taken values (1)`)
	ask := b.viaLane(command.NewRunner(b.db, problem), func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
		out, err := b.actAll(ctx, tx, items)
		for _, item := range items {
			switch item.In {
			case "taken":
				if _, err := tx.Exec(ctx, `insert into taken values (1)`); err != nil {
					return nil, err
				}
			case "panic":
				panic("on purpose")
			}
		}
		return out, err
	})
	type told struct {
		key, note string
		answer    command.Answer
		err       error
	}
	answers := make(chan told, 200)
	for i := range cap(answers) {
		note := "good"
		switch i % 40 {
		case 20:
			note = "taken"
		case 39:
			note = "panic"
		}
		go func() {
			key := "k" + string(rune('A'+i))
			a, err := ask(b.meta(key, note), note)
			answers <- told{key, note, a, err}
		}()
	}
	good := 0
	for range cap(answers) {
		r := <-answers
		if r.note == "good" {
			if r.err != nil {
				t.Errorf("a good command failed: %v", r.err)
				continue
			}
			good++
			b.oneEffect(r.key, r.answer)
		} else if fault.KindOf(r.err) != fault.Internal {
			t.Errorf("%s: %v, want an internal error", r.note, r.err)
		}
	}
	if n := len(b.effects(b.org)); n != good {
		t.Errorf("%d effects of %d good commands", n, good)
	}
	b.until(`select count(*) = $1 from idempotency_record`, good)
}

func TestAfterCommitHearsOfEffectsOnly(t *testing.T) {
	b := setup(t)
	heard := make(chan any, 16)
	refusal := fault.New(fault.Conflict, "no_luck", "Not today.")
	l := command.NewLane(command.NewRunner(b.db, problem), laneConfig(), lane.NewMetrics(prometheus.NewRegistry()),
		func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
			out, err := b.actAll(ctx, tx, items)
			for i := range out {
				if items[i].In == "refused" {
					out[i] = command.Outcome{Err: refusal}
					continue
				}
				out[i].Carry = items[i].In
			}
			return out, err
		}).AfterCommit(func(list []command.Outcome) {
		for _, o := range list {
			b.oneEffect(o.Carry.(string)) // it is committed when we hear of it
			heard <- o.Carry
		}
	})
	b.run(l)
	for _, note := range []string{"one", "one", "refused", "refused", "two"} {
		if _, err := l.Do(b.Context(), b.meta(note, note), note); err != nil && !errors.Is(err, refusal) {
			t.Fatal(err)
		}
	}
	close(heard)
	var got []any
	for h := range heard {
		got = append(got, h)
	}
	if len(got) != 2 || got[0] != "one" || got[1] != "two" {
		t.Errorf("heard of %v, want one and two", got)
	}
}
