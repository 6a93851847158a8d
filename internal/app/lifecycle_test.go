package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartsStopStageByStage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(name string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
		}
		record := func(name string, takes time.Duration) part {
			return part{name: name, run: func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(takes) // of the bubble's clock
				note(name)
				return ctx.Err()
			}}
		}
		l := &lifecycle{stages: []stage{
			{budget: time.Second, parts: []part{record("edge", 500*time.Millisecond)}},
			{budget: time.Second, parts: []part{record("worker", 300*time.Millisecond), record("sweep", 100*time.Millisecond)}},
			{budget: time.Second, parts: []part{record("lane", 0)}},
		}}
		l.stopping = func(error) { note("stopping") }
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, func() {
			if left := l.stopped(); len(left) > 0 {
				t.Errorf("not running: %v", left)
			}
			cancel()
		})
		if err := l.run(ctx); err != nil {
			t.Error(err)
		}
		if want := []string{"stopping", "edge", "sweep", "worker", "lane"}; !slices.Equal(order, want) {
			t.Errorf("stopped in the order %v", order)
		}
	})
}

func TestAPartThatDoesNotStopIsNamedAndLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := func(context.Context) error { <-release; return nil }
		var laneStopped bool
		l := &lifecycle{stages: []stage{
			{budget: time.Second, parts: []part{{"stuck", stuck}, {"willing", func(ctx context.Context) error { <-ctx.Done(); return nil }}}},
			{budget: time.Second, parts: []part{{"lane", func(ctx context.Context) error { <-ctx.Done(); laneStopped = true; return nil }}}},
		}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := l.run(ctx)
		if err == nil || err.Error() != "still running at the end: stuck" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Second || !laneStopped {
			t.Errorf("took %v, the lane stopped: %v", took, laneStopped)
		}
		close(release)
	})
}

func TestAStageMayUseWhatThoseBeforeItHaveLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lasts := func(takes time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(takes) // of the bubble's clock
				return nil
			}
		}
		for takes, want := range map[time.Duration]string{3 * time.Second: "", 5 * time.Second: "still running at the end: commands"} {
			l := &lifecycle{stages: []stage{
				{budget: 4 * time.Second, parts: []part{{"edge", lasts(time.Second)}}},
				{budget: time.Second, parts: []part{{"commands", lasts(takes)}}},
			}}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			said := ""
			if err := l.run(ctx); err != nil {
				said = err.Error()
			}
			if said != want {
				t.Errorf("a part that takes %v: %q", takes, said)
			}
			time.Sleep(takes) // until what was left behind has ended, too
		}
	})
}

func TestAPartThatEndsStopsTheRest(t *testing.T) {
	t.Parallel()
	errBroken := errors.New("broken")
	for name, c := range map[string]struct{ result, want error }{
		"with an error": {errBroken, errBroken}, "without one": {nil, errEnded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			waited := false
			var cause error
			l := &lifecycle{stopping: func(err error) { cause = err }, stages: []stage{
				{budget: time.Minute, parts: []part{{"edge", func(ctx context.Context) error { <-ctx.Done(); waited = true; return nil }}}},
				{budget: time.Minute, parts: []part{{"lane", func(context.Context) error { return c.result }}}},
			}}
			err := l.run(t.Context())
			if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "lane: ") || !waited || !errors.Is(cause, c.want) {
				t.Errorf("got %v, cause %v, waited %v", err, cause, waited)
			}
		})
	}
}
