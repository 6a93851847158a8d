package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// told is what one asker was told of one request.
type told struct {
	key, note string
	answer    command.Answer
	err       error
}

// storm has many callers send the same few keys, in an order of their own, to any of the doors. Each key comes with two
// bodies. A caller that is told to come back does so.
func (b *bench) storm(doors []asker, callers, keys int) []told {
	b.Helper()
	var mu sync.Mutex
	var all []told
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			for _, k := range rand.Perm(keys) {
				r := told{key: fmt.Sprintf("k%d", k), note: []string{"a", "b"}[(caller+k)%2]}
				for {
					r.answer, r.err = doors[rand.IntN(len(doors))](b.meta(r.key, r.note), r.note)
					if fault.KindOf(r.err) != fault.Unavailable {
						break
					}
				}
				mu.Lock()
				all = append(all, r)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return all
}

// judge holds that each key took effect once, that all who sent what took effect were told the same, and all others were refused.
func (b *bench) judge(all []told, keys int) {
	b.Helper()
	winner := map[string]effect{}
	for _, e := range b.effects(b.org) {
		if other, twice := winner[e.Key]; twice {
			b.Errorf("%s took effect twice: %+v and %+v", e.Key, other, e)
		}
		winner[e.Key] = e
	}
	if len(winner) != keys {
		b.Errorf("%d keys took effect, want %d", len(winner), keys)
	}
	for _, r := range all {
		won := winner[r.key]
		switch {
		case r.note != won.Note:
			if !errors.Is(r.err, command.ErrKeyReused) {
				b.Errorf("%s with another body: %+v, %v", r.key, r.answer, r.err)
			}
		case r.err != nil:
			b.Errorf("%s: %v", r.key, r.err)
		case !bytes.Equal(r.answer.Body, []byte(won.Token)) || r.answer.Status != 201:
			b.Errorf("%s was told %+v, but the effect is %q", r.key, r.answer, won.Token)
		}
	}
}

func TestTwoNodesDoEachKeyOnce(t *testing.T) {
	b := setup(t)
	const callers, keys = 48, 12
	var doors []asker
	for range 2 {
		node := command.NewRunner(b.open(nil, 8), problem)
		doors = append(doors, b.viaLane(node, b.actAll), b.viaOnce(node, b.actAll))
	}
	all := b.storm(doors, callers, keys)
	b.judge(all, keys)
	firsts := map[string]int{}
	for _, r := range all {
		if r.err == nil && !r.answer.Replayed {
			firsts[r.key]++
		}
	}
	for key, n := range firsts {
		if n != 1 {
			t.Errorf("%d callers were told that they were the first with %s", n, key)
		}
	}
}

// failing has a body fail after its effect, in ways for which the transaction is run again.
func (b *bench) failing(body command.Body[string]) command.Body[string] {
	var runs atomic.Int32
	return func(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
		out, err := body(ctx, tx, items)
		if err != nil {
			return nil, err
		}
		switch runs.Add(1) % 4 {
		case 0:
			return nil, fmt.Errorf("meet another: %w", postgres.ErrAgain)
		case 1:
			_, err := tx.Exec(ctx, `do $$ begin raise exception 'on purpose' using errcode = '40001'; end $$`)
			return nil, err
		case 2:
			_, err := tx.Exec(ctx, `do $$ begin raise exception 'on purpose' using errcode = '40P01'; end $$`)
			return nil, err
		}
		return out, nil
	}
}

func TestABodyThatRunsTwiceHasOneEffect(t *testing.T) {
	eachWay(t, func(b *bench, way func(*command.Runner, command.Body[string]) asker) {
		a := b.must(way(command.NewRunner(b.db, problem), b.failing(b.actAll))(b.meta("k", "a"), "a"))
		if a.Replayed {
			t.Error("replayed to the first")
		}
		b.oneEffect("k", a)
	})
}

func TestTwoNodesThatFailAndMeetDoEachKeyOnce(t *testing.T) {
	b := setup(t)
	const callers, keys = 24, 8
	var doors []asker
	for range 2 {
		node := command.NewRunner(b.open(nil, 8), problem)
		doors = append(doors, b.viaLane(node, b.failing(b.actAll)), b.viaOnce(node, b.failing(b.actAll)))
	}
	b.judge(b.storm(doors, callers, keys), keys)
}
