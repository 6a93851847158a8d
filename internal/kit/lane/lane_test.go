package lane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/lane"
)

// rig is a lane that doubles numbers. Time is the bubble's: it stands still while anything can go on.
type rig struct {
	*testing.T
	lane     *lane.Lane[int, int]
	registry *prometheus.Registry
	stop     context.CancelFunc
	ended    chan error

	mu      sync.Mutex
	batches [][]int // those that had an effect, in their order
	calls   [][]int // all
	gate    chan struct{}
	before  func(ctx context.Context, batch []int) error
}

func config() lane.Config {
	return lane.Config{Name: "doubling", BatchMax: 100, QueueMax: 1000, Workers: 1, Timeout: 10 * time.Second}
}

// in runs a test in a bubble with a lane, and stops the lane at its end.
func in(t *testing.T, cfg lane.Config, test func(r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
		r.lane = lane.New(cfg, lane.NewMetrics(r.registry), r.run)
		var ctx context.Context
		ctx, r.stop = context.WithCancel(context.Background())
		go func() { r.ended <- r.lane.Run(ctx) }()
		test(r)
		r.stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) run(ctx context.Context, batch []int) ([]lane.Result[int], error) {
	r.mu.Lock()
	r.calls = append(r.calls, slices.Clone(batch))
	gate, before := r.gate, r.before
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if before != nil {
		if err := before(ctx, batch); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, slices.Clone(batch))
	out := make([]lane.Result[int], len(batch))
	for i, n := range batch {
		out[i].Value = 2 * n
	}
	return out, nil
}

// hold keeps batches from going on until the returned function is called.
func (r *rig) hold() (release func()) {
	gate := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = gate
	return func() {
		r.mu.Lock()
		r.gate = nil
		r.mu.Unlock()
		close(gate)
	}
}

// answer is what one caller is told.
type answer struct {
	n, value int
	err      error
}

// ask hands in commands, each from a caller of its own, and waits until they lie in the queue or in a batch.
func (r *rig) ask(ctx context.Context, numbers ...int) chan answer {
	answers := make(chan answer, len(numbers))
	for _, n := range numbers {
		go func() {
			value, err := r.lane.Do(ctx, n)
			answers <- answer{n, value, err}
		}()
		synctest.Wait() // one after the other, so that their order is known
	}
	return answers
}

// all expects that all callers are told of their effect.
func (r *rig) all(answers chan answer) {
	r.Helper()
	for range cap(answers) {
		if a := <-answers; a.err != nil || a.value != 2*a.n {
			r.Errorf("%d: %d, %v", a.n, a.value, a.err)
		}
	}
}

func (r *rig) ran(want ...[]int) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.batches) != fmt.Sprint(want) {
		r.Errorf("the batches were %v, want %v", r.batches, want)
	}
}

func sequence(first, last int) []int {
	var list []int
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

func TestALoneCommandWaitsForNobody(t *testing.T) {
	in(t, config(), func(r *rig) {
		began := time.Now()
		for n := range 3 {
			if value, err := r.lane.Do(r.Context(), n); err != nil || value != 2*n {
				t.Errorf("%d: %d, %v", n, value, err)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %s for a timer", waited)
		}
		r.ran([]int{0}, []int{1}, []int{2})
	})
}

func TestABatchGathersWhileAnotherRuns(t *testing.T) {
	cfg := config()
	cfg.BatchMax = 4
	in(t, cfg, func(r *rig) {
		release := r.hold()
		answers := r.ask(r.Context(), sequence(1, 10)...)
		release()
		r.all(answers)
		r.ran([]int{1}, []int{2, 3, 4, 5}, []int{6, 7, 8, 9}, []int{10})
	})
}

func TestWorkersRunBatchesSideBySide(t *testing.T) {
	cfg := config()
	cfg.Workers = 2
	in(t, cfg, func(r *rig) {
		release := r.hold()
		answers := r.ask(r.Context(), 1, 2, 3, 4)
		if len(r.calls) != 2 {
			t.Errorf("%v are under way, want two batches", r.calls)
		}
		release()
		r.all(answers)
	})
}

// One large batch costs less than two small ones. But what is held up holds nobody up for long.
func TestAnotherBatchBeginsWhenTwiceAsManyWait(t *testing.T) {
	cfg := config()
	cfg.Workers = 3
	in(t, cfg, func(r *rig) {
		release := r.hold()
		answers := r.ask(r.Context(), sequence(1, 8)...)
		if want := [][]int{{1}, {2, 3}}; fmt.Sprint(r.calls) != fmt.Sprint(want) {
			t.Errorf("%v are under way, want %v", r.calls, want)
		}
		more := r.ask(r.Context(), 9, 10)
		if want := [][]int{{1}, {2, 3}, {4, 5, 6, 7, 8, 9}}; fmt.Sprint(r.calls) != fmt.Sprint(want) {
			t.Errorf("%v are under way, want %v", r.calls, want)
		}
		release()
		r.all(answers)
		r.all(more)
	})
}

func TestAFullQueueTurnsCallersAway(t *testing.T) {
	cfg := config()
	cfg.QueueMax = 2
	in(t, cfg, func(r *rig) {
		release := r.hold()
		taken := r.ask(r.Context(), 1, 2, 3)
		for range 2 {
			_, err := r.lane.Do(r.Context(), 4)
			f := fault.From(err)
			if f.Kind != fault.Unavailable || f.Code != "overloaded" || f.RetryAfter != time.Second || !strings.Contains(f.Detail, "doubling is full") {
				t.Errorf("%+v", f)
			}
		}
		release()
		r.all(taken)
		r.ran([]int{1}, []int{2, 3})
		const want = `
			# HELP kontor_lane_refused_total Commands turned away because the queue was full. Callers are told to come again; add nodes, or a faster database.
			# TYPE kontor_lane_refused_total counter
			kontor_lane_refused_total{lane="doubling"} 2
		`
		if err := testutil.GatherAndCompare(r.registry, strings.NewReader(want), "kontor_lane_refused_total"); err != nil {
			t.Error(err)
		}
	})
}

func TestACallerWhoGivesUpDisturbsNobody(t *testing.T) {
	in(t, config(), func(r *rig) {
		release := r.hold()
		impatient, giveUp := context.WithCancel(r.Context())
		runs := r.ask(impatient, 1) // its batch has begun
		first := r.ask(r.Context(), 2)
		waits := r.ask(impatient, 3)
		second := r.ask(r.Context(), 4)
		giveUp()
		for _, gone := range []chan answer{runs, waits} {
			if a := <-gone; !errors.Is(a.err, context.Canceled) {
				t.Errorf("%d: %v", a.n, a.err)
			}
		}
		release()
		r.all(first)
		r.all(second)
		// What was under way takes effect, what was only waiting does not.
		r.ran([]int{1}, []int{2, 4})
	})
}

func TestABatchOutlivesItsCallersContext(t *testing.T) {
	in(t, config(), func(r *rig) {
		release := r.hold()
		var inside error
		r.before = func(ctx context.Context, _ []int) error {
			inside = ctx.Err()
			return nil
		}
		impatient, giveUp := context.WithCancel(r.Context())
		r.ask(impatient, 1)
		giveUp()
		release()
		synctest.Wait()
		if inside != nil {
			t.Errorf("the batch's context ended with its caller's: %v", inside)
		}
	})
}

func TestARunIsBounded(t *testing.T) {
	in(t, config(), func(r *rig) {
		began := time.Now()
		r.before = func(ctx context.Context, _ []int) error {
			<-ctx.Done()
			return ctx.Err()
		}
		if _, err := r.lane.Do(r.Context(), 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took != config().Timeout {
			t.Errorf("it took %s", took)
		}
		r.before = nil
		r.all(r.ask(r.Context(), 2))
		r.ran([]int{2})
	})
}

func TestWhatWasTakenIsFinishedAtTheEnd(t *testing.T) {
	cfg := config()
	cfg.BatchMax = 3
	in(t, cfg, func(r *rig) {
		release := r.hold()
		answers := r.ask(r.Context(), sequence(1, 8)...)
		r.stop()
		synctest.Wait()
		select {
		case err := <-r.ended:
			t.Fatalf("the lane ended with work in hand: %v", err)
		default:
		}
		release()
		r.all(answers)
		err := <-r.ended
		r.ended <- err
		_, err = r.lane.Do(r.Context(), 9)
		if f := fault.From(err); f.Kind != fault.Unavailable || f.Code != "overloaded" || f.RetryAfter != time.Second || !strings.Contains(f.Detail, "shutting down") {
			t.Errorf("%+v", f)
		}
	})
}
