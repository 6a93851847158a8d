package access

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

func known(n byte) answer { return answer{principal: Principal{KeyID: ids.ID{n}}} }

func TestOneQuestionAtATimeHoweverManyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked, atOnce atomic.Int32
		goOn := make(chan struct{})
		c := newCache(clock.System, func(context.Context, [32]byte) (answer, error) {
			if atOnce.Add(1) > 1 {
				t.Error("two questions at once for one key")
			}
			asked.Add(1)
			<-goOn
			atOnce.Add(-1)
			return known(1), nil
		})
		hash := sha256.Sum256([]byte("a"))
		impatient, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := c.get(impatient, hash); gone <- err }() // the one that asks is the first to go
		synctest.Wait()
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				if got, err := c.get(t.Context(), hash); err != nil || got != known(1) {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(goOn)
		waiting.Wait()
		if asked.Load() != 1 {
			t.Errorf("%d questions", asked.Load())
		}
	})
}

func TestAnswersServeForASecondAndAreRenewedInTheMeantime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := newCache(clock.System, func(context.Context, [32]byte) (answer, error) {
			time.Sleep(100 * time.Millisecond) // within the bubble: no time passes outside
			return known(byte(asked.Add(1))), nil
		})
		hash := sha256.Sum256([]byte("a"))
		for i, step := range []struct {
			after  time.Duration
			answer byte
			waits  time.Duration
		}{
			{0, 1, 100 * time.Millisecond},
			{399 * time.Millisecond, 1, 0},               // 499 ms old
			{time.Millisecond, 1, 0},                     // 500 ms: another is asked for
			{200 * time.Millisecond, 2, 0},               // and has come
			{798 * time.Millisecond, 2, 0},               // 998 ms old, serves still
			{3 * time.Second, 4, 100 * time.Millisecond}, // the third came and has grown stale
		} {
			time.Sleep(step.after)
			synctest.Wait()
			since := time.Now()
			got, err := c.get(t.Context(), hash)
			if err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(since); got != known(step.answer) || waited != step.waits {
				t.Fatalf("step %d: %+v after %v", i, got, waited)
			}
		}
	})
}

func TestAFailureIsToldAndNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		c := newCache(clock.System, func(ctx context.Context, _ [32]byte) (answer, error) {
			if down.Load() {
				<-ctx.Done() // the database is silent
				return answer{}, ErrUnavailable.Because(ctx.Err())
			}
			return known(1), nil
		})
		hash := sha256.Sum256([]byte("a"))
		since := time.Now()
		if _, err := c.get(t.Context(), hash); !errors.Is(err, ErrUnavailable) || time.Since(since) > time.Second {
			t.Fatalf("%v after %v", err, time.Since(since))
		}
		down.Store(false)
		if got, err := c.get(t.Context(), hash); err != nil || got != known(1) {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func TestAFloodOfKeysAsksAFewQuestionsAtOnceAndFillsNoMemory(t *testing.T) {
	t.Parallel()
	var atOnce, most atomic.Int32
	c := newCache(clock.System, func(context.Context, [32]byte) (answer, error) {
		most.Store(max(most.Load(), atOnce.Add(1)))
		defer atOnce.Add(-1)
		return answer{refusal: ErrKeyUnknown}, nil
	})
	const keys = shardMax + 2000
	var flood sync.WaitGroup
	for worker := range uint64(8) {
		flood.Go(func() {
			for n := worker; n < keys; n += 8 {
				hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
				hash[0] = 0 // all into one shard
				if got, err := c.get(t.Context(), hash); err != nil || got.refusal == nil {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	flood.Wait()
	if most.Load() > loadsMax {
		t.Fatalf("%d questions at once", most.Load())
	}
	for i := range c.shards {
		if n := len(c.shards[i].answers); n > shardMax {
			t.Fatalf("%d answers in a shard", n)
		}
		if n := len(c.shards[i].asking); n != 0 {
			t.Fatalf("%d questions were forgotten", n)
		}
	}
}

func TestAClockThatGoesBackMakesNoAnswerYoung(t *testing.T) {
	t.Parallel()
	at, asked := clock.System(), byte(0)
	c := newCache(func() time.Time { return at }, func(context.Context, [32]byte) (answer, error) { asked++; return known(asked), nil })
	hash := sha256.Sum256([]byte("a"))
	for want := byte(1); want <= 2; want++ {
		if got, err := c.get(t.Context(), hash); err != nil || got != known(want) {
			t.Fatalf("%+v, %v", got, err)
		}
		at = at.Add(-time.Hour)
	}
}

func BenchmarkAuthenticateFromMemory(b *testing.B) {
	a := &Access{cache: newCache(clock.System, func(context.Context, [32]byte) (answer, error) { return known(1), nil })}
	key := newSecret(true)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Authenticate(b.Context(), key); err != nil {
				b.Error(err)
			}
		}
	})
}
