package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const (
	neighbourWorkers = 8
	neighbourTakes   = 5 * time.Millisecond
	neighbourBacklog = 30_000 // of the noisy tenant, before anything is measured
	neighbourShare   = 0.1    // of the load, which is the quiet tenant's
)

// neighbourhood is how two tenants meet.
type neighbourhood struct {
	name      string
	load      float64 // of what the workers can do, both tenants together
	apart     bool    // two organisations, else two fairness keys of one
	elsewhere bool    // the tasks are queued by another process, for all the node knows
}

// neighbours measures how long the tasks of a quiet tenant wait while a noisy one has a long backlog and queues nine times as many.
func (b *bench) neighbours(ctx context.Context) error {
	const what = "strain, neighbours"
	if !strings.Contains(what, b.options.match) {
		return nil
	}
	s, err := b.openStrained(ctx, "neighbours")
	if err != nil {
		return err
	}
	defer s.close()
	capacity := float64(neighbourWorkers) / neighbourTakes.Seconds()
	backlog := int(neighbourBacklog * b.options.scale)
	b.report.Checks = append(b.report.Checks, check{Part: partStrain, Name: "neighbours: conditions", OK: true, Value: fmt.Sprintf(
		"%d workers, %v a task: %s a second at most; 10 %% are the quiet tenant's; %s of the noisy one wait before",
		neighbourWorkers, neighbourTakes, grouped(capacity), grouped(float64(backlog)))})
	for _, n := range []neighbourhood{
		{"fairness keys, load 80 %", 0.8, false, false},
		{"fairness keys, load 200 %", 2, false, false},
		{"organisations, load 80 %", 0.8, true, false},
		{"organisations, load 200 %", 2, true, false},
		{"fairness keys, queued elsewhere, load 200 %", 2, false, true},
	} {
		figureOf := func(name string) *figure {
			return &figure{Part: partStrain, Name: "the quiet one of two " + n.name + ": " + name, Size: int(capacity * n.load * neighbourShare), sized: "/s=", short: "alone"}
		}
		alone := &subject{figure: figureOf("alone"), take: func(ctx context.Context, w window) (sample, error) {
			return b.quietly(ctx, s, w, n, capacity, 0)
		}}
		beside := &subject{figure: figureOf("beside the noisy one"), beside: alone, take: func(ctx context.Context, w window) (sample, error) {
			return b.quietly(ctx, s, w, n, capacity, backlog)
		}}
		if err := b.measure(ctx, what, []*subject{alone, beside}); err != nil {
			return err
		}
		b.compareP99("neighbours, "+n.name, alone.figure, beside.figure, 2)
	}
	return nil
}

// compareP99 adds how much longer the slowest of one figure took than those of another.
func (b *bench) compareP99(name string, fresh, strained *figure, most float64) {
	ratio := strained.P99 / max(fresh.P99, 0.001)
	b.report.Checks = append(b.report.Checks, check{
		Part: partStrain, Name: name + ": p99 beside p99 without",
		Value: fmt.Sprintf("%.2f ms, %.2f ms: %.2f times", strained.P99, fresh.P99, ratio), Aim: fmt.Sprintf("within %g times", most), OK: ratio <= most,
	})
}

// quietly is one round: from the call that queues a task of the quiet tenant to the task's start. backlog is the noisy tenant's; with
// none there is no such tenant.
func (b *bench) quietly(ctx context.Context, s *strained, w window, n neighbourhood, capacity float64, backlog int) (sample, error) {
	if err := b.fresh(ctx, &rival{name: "Kontor", pipeline: s}); err != nil {
		return sample{}, err
	}
	quiet, noisy := tenant{s.source.New(), "quiet"}, tenant{ids.ID{}, "noisy"}
	if noisy.org = quiet.org; n.apart {
		noisy.org = s.source.New()
		quiet.key, noisy.key = "", ""
	}
	for left := backlog; left > 0; left -= tasksBatch {
		if err := noisy.queue(ctx, s.enqueues, min(left, tasksBatch)); err != nil {
			return sample{}, err
		}
	}
	var counting atomic.Bool
	var mu sync.Mutex
	var out sample
	stop := s.start(ctx, neighbourWorkers, neighbourTakes, func(task tasks.Task, waited time.Duration) {
		if task.OrgID == quiet.org && task.FairnessKey == quiet.key && counting.Load() {
			mu.Lock()
			defer mu.Unlock()
			out.latencies = append(out.latencies, waited)
		}
	})
	by := s.tasks
	if n.elsewhere {
		by = s.enqueues
	}
	loaded, end := context.WithCancel(ctx)
	defer end()
	var senders sync.WaitGroup
	var quietErr, noisyErr error
	senders.Go(func() {
		_, quietErr = paced(loaded, capacity*n.load*neighbourShare, func(ctx context.Context) error { return quiet.queue(ctx, by, 1) })
	})
	if backlog > 0 {
		const together = 10 // so that the sender costs little
		senders.Go(func() {
			_, noisyErr = paced(loaded, capacity*n.load*(1-neighbourShare)/together, func(ctx context.Context) error {
				return noisy.queue(ctx, by, together)
			})
		})
	}
	sleep(ctx, 2*time.Second) // for it to settle
	counting.Store(true)
	watch, since, before := b.watch(0, 0), time.Now(), s.finished()
	sleep(ctx, w.count)
	counting.Store(false)
	out.elapsed, out.done, out.cpu = time.Since(since), s.finished()-before, watch.read()
	end()
	senders.Wait()
	return out, errors.Join(quietErr, noisyErr, stop())
}
