package tasks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type sweep struct {
	name     string
	interval time.Duration
	fn       func(ctx context.Context) error

	done, failed prometheus.Counter
}

// Every has fn called when Run begins and then about once an interval, by every node that runs, so fn must bear company:
// take what it works on with `for update skip locked`, or be harmless twice. Call it before Run.
func (t *Tasks) Every(name string, interval time.Duration, fn func(ctx context.Context) error) {
	t.sweeps = append(t.sweeps, sweep{
		name: name, interval: interval, fn: fn, done: t.metrics.sweeps.WithLabelValues(name, "done"), failed: t.metrics.sweeps.WithLabelValues(name, "failed"),
	})
}

// sweepTimeout bounds one call of a sweep.
const sweepTimeout = 5 * time.Minute

func (t *Tasks) runSweep(ctx context.Context, s sweep) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		runs := s.done
		if err := callSweep(ctx, s); err != nil {
			if ctx.Err() != nil {
				return
			}
			runs = s.failed
			t.log.Error("a sweep has failed; it will run again", "sweep", s.name, "error", err)
		}
		runs.Inc()
		// A tenth either way, so that nodes started together do not sweep together.
		timer.Reset(s.interval*9/10 + time.Duration(rand.Int64N(int64(s.interval/5)+1)))
	}
}

func callSweep(ctx context.Context, s sweep) (err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return s.fn(ctx)
}
