package lane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/lane"
)

func TestABadCommandIsFoundAndFailsAlone(t *testing.T) {
	in(t, config(), func(r *rig) {
		bad := errors.New("thirteen")
		r.before = func(_ context.Context, batch []int) error {
			if slices.Contains(batch, 13) {
				return bad
			}
			return nil
		}
		release := r.hold()
		answers := r.ask(r.Context(), sequence(1, 33)...)
		release()
		for range cap(answers) {
			switch a := <-answers; {
			case a.n == 13 && !errors.Is(a.err, bad):
				t.Errorf("13: %v", a.err)
			case a.n != 13 && (a.err != nil || a.value != 2*a.n):
				t.Errorf("%d: %d, %v", a.n, a.value, a.err)
			}
		}
		// 32 commands are halved five times; what is left of the good half runs at once.
		r.ran([]int{1}, sequence(2, 9), []int{10, 11}, []int{12}, sequence(14, 17), sequence(18, 33))
	})
}

// Whatever the bad ones are and however they fail, each good command takes effect once and each bad one fails alone.
func TestAnyNumberOfBadCommands(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(p *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(p, "commands")
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"good", "good", "good", "error", "panic", "short"}), size, size).Draw(p, "kinds")
		var mu sync.Mutex
		effects := map[int]int{}
		run := func(_ context.Context, batch []int) ([]lane.Result[int], error) {
			for _, n := range batch {
				switch kinds[n] {
				case "error":
					return nil, errors.New("on purpose")
				case "panic":
					panic("on purpose")
				case "short":
					return make([]lane.Result[int], len(batch)+1), nil
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out := make([]lane.Result[int], len(batch))
			for i, n := range batch {
				effects[n]++
				out[i].Value = n
			}
			return out, nil
		}
		cfg := lane.Config{Name: "n", BatchMax: rapid.IntRange(1, 40).Draw(p, "batch"), QueueMax: size, Workers: 2, Timeout: time.Minute}
		l := lane.New(cfg, lane.NewMetrics(prometheus.NewRegistry()), run)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		errs := make([]error, size)
		var callers sync.WaitGroup
		for n := range size { // before the lane runs, so that they gather
			callers.Go(func() {
				var value int
				if value, errs[n] = l.Do(context.Background(), n); errs[n] == nil && value != n {
					errs[n] = fmt.Errorf("told of %d", value)
				}
			})
		}
		go func() { ended <- l.Run(ctx) }()
		callers.Wait()
		stop()
		if err := <-ended; err != nil {
			p.Fatal(err)
		}
		for n, kind := range kinds {
			if kind == "good" && (errs[n] != nil || effects[n] != 1) {
				p.Errorf("%d, which is good: %v, %d effects", n, errs[n], effects[n])
			}
			if kind != "good" && (fault.KindOf(errs[n]) != fault.Internal || effects[n] != 0) {
				p.Errorf("%d, which is bad (%s): %v, %d effects", n, kind, errs[n], effects[n])
			}
		}
	})
}

func TestAPanicIsKeptForTheLog(t *testing.T) {
	in(t, config(), func(r *rig) {
		r.before = func(context.Context, []int) error { panic("the secret of 42") }
		_, err := r.lane.Do(r.Context(), 1)
		f := fault.From(err)
		if f.Kind != fault.Internal || f.Code != "internal" || strings.Contains(f.Detail, "42") || !strings.Contains(err.Error(), "the secret of 42") {
			t.Errorf("%v: shown as %q", err, f.Detail)
		}
		r.before = nil
		r.all(r.ask(r.Context(), 2))
	})
}

// What is nobody's fault is told to all: to run it again in halves would make a bad hour worse.
func TestAnUnavailableDatabaseIsNobodysFault(t *testing.T) {
	for name, cause := range map[string]error{
		"unavailable": fault.New(fault.Unavailable, "database_unavailable", "Gone."),
		"deadline":    fmt.Errorf("wait for it: %w", context.DeadlineExceeded),
	} {
		t.Run(name, func(t *testing.T) {
			in(t, config(), func(r *rig) {
				release := r.hold()
				first := r.ask(r.Context(), 1)
				answers := r.ask(r.Context(), sequence(2, 9)...)
				r.before = func(_ context.Context, batch []int) error {
					if len(batch) > 1 {
						return cause
					}
					return nil
				}
				release()
				r.all(first)
				for range cap(answers) {
					if a := <-answers; !errors.Is(a.err, cause) {
						t.Errorf("%d: %v", a.n, a.err)
					}
				}
				r.ran([]int{1})
				if len(r.calls) != 2 {
					t.Errorf("%v were tried, want the batch once", r.calls)
				}
			})
		})
	}
}

// Callers come while the lane ends: each is told of an effect that happened once, or that nothing was done.
func TestCallersMeetTheEnd(t *testing.T) {
	t.Parallel()
	for range 50 {
		meetTheEnd(t)
	}
}

func meetTheEnd(t *testing.T) {
	t.Helper()
	const callers = 64
	effects := make([]atomic.Int32, callers)
	l := lane.New(lane.Config{Name: "n", BatchMax: 8, QueueMax: callers, Workers: 2, Timeout: time.Minute}, lane.NewMetrics(prometheus.NewRegistry()),
		func(_ context.Context, batch []int) ([]lane.Result[int], error) {
			for _, n := range batch {
				effects[n].Add(1)
			}
			return make([]lane.Result[int], len(batch)), nil
		})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			if n == callers/2 {
				stop()
			}
			_, err := l.Do(t.Context(), n)
			if done := effects[n].Load(); (err == nil) != (done == 1) || done > 1 {
				t.Errorf("%d took effect %d times, told %v", n, done, err)
			}
			if err != nil && fault.From(err).Code != "overloaded" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
