package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	own       int     // so many workers, in a database of its own, do about as much of the noisy one's as the two together leave it; 0: not measured
}

func (n neighbourhood) what() string { return "strain, neighbours, " + n.name }

// noise is where the noisy tenant is.
type noise int

const (
	silent noise = iota // nowhere
	beside              // with the quiet one
	away                // in another database, with workers of its own: what the two share is the machine, PostgreSQL's log and its disk
)

// street is where tenants are measured.
type street struct {
	*bench
	home, away *strained // the quiet tenant's, and that of a noisy one that is away
	capacity   float64   // of the workers, in tasks a second
	backlog    int
}

// neighbours measures how long the tasks of a quiet tenant wait while a noisy one has a long backlog and queues nine times as many.
func (b *bench) neighbours(ctx context.Context) error {
	list := []neighbourhood{
		{"fairness keys, load 80 %", 0.8, false, false, 6},
		{"fairness keys, load 200 %", 2, false, false, 5},
		{"organisations, load 80 %", 0.8, true, false, 0},
		{"organisations, load 200 %", 2, true, false, 0},
		{"fairness keys, queued elsewhere, load 200 %", 2, false, true, 0},
	}
	list = slices.DeleteFunc(list, func(n neighbourhood) bool { return !strings.Contains(n.what(), b.options.match) })
	if len(list) == 0 {
		return nil
	}
	s := &street{bench: b, capacity: float64(neighbourWorkers) / neighbourTakes.Seconds(), backlog: int(neighbourBacklog * b.options.scale)}
	for _, open := range []struct {
		into     **strained
		database string
	}{{&s.home, "neighbours"}, {&s.away, "away"}} {
		opened, err := b.openStrained(ctx, open.database)
		if err != nil {
			return err
		}
		defer opened.close()
		*open.into = opened
	}
	b.report.Checks = append(b.report.Checks, check{Part: partStrain, Name: "neighbours: conditions", OK: true, Value: fmt.Sprintf(
		"%d workers, %v a task: %s a second at most; 10 %% are the quiet tenant's; %s of the noisy one wait before",
		neighbourWorkers, neighbourTakes, grouped(s.capacity), grouped(float64(s.backlog)))})
	for _, n := range list {
		if err := s.meet(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// meet measures one neighbourhood.
func (s *street) meet(ctx context.Context, n neighbourhood) error {
	subjectOf := func(name string, noise noise, beside *subject) *subject {
		return &subject{
			figure: &figure{
				Part: partStrain, Name: "the quiet one of two " + n.name + ": " + name, Size: int(s.capacity * n.load * neighbourShare), sized: "/s=", short: "alone",
			},
			beside: beside,
			take:   func(ctx context.Context, w window) (sample, error) { return s.quietly(ctx, w, n, noise) },
		}
	}
	alone := subjectOf("alone", silent, nil)
	noisy := subjectOf("beside the noisy one", beside, alone)
	group := []*subject{alone, noisy}
	if n.own > 0 {
		group = append(group, subjectOf("the noisy one is away", away, alone))
	}
	if err := s.measure(ctx, n.what(), group); err != nil {
		return err
	}
	s.compareP99("neighbours, "+n.name, alone.figure, noisy.figure, 2)
	if n.own > 0 {
		s.compareP99("neighbours, "+n.name+", of which the machine", alone.figure, group[2].figure, 0)
	}
	return nil
}

// compareP99 adds how much longer the slowest of one figure took than those of another; most is how much longer they may, 0: nobody says.
func (b *bench) compareP99(name string, fresh, strained *figure, most float64) {
	ratio := strained.P99 / max(fresh.P99, 0.001)
	c := check{
		Part: partStrain, Name: name + ": p99 beside p99 without",
		Value: fmt.Sprintf("%.2f ms, %.2f ms: %.2f times", strained.P99, fresh.P99, ratio), OK: most == 0 || ratio <= most,
	}
	if most > 0 {
		c.Aim = fmt.Sprintf("within %g times", most)
	}
	b.report.Checks = append(b.report.Checks, c)
}

// quietly is one round: from the call that queues a task of the quiet tenant to the task's start.
func (s *street) quietly(ctx context.Context, w window, n neighbourhood, noise noise) (sample, error) {
	for _, each := range []*strained{s.home, s.away} {
		if err := s.fresh(ctx, &rival{name: "Kontor", pipeline: each}); err != nil {
			return sample{}, err
		}
	}
	quiet, noisy := tenant{s.home.source.New(), "quiet"}, tenant{ids.ID{}, "noisy"}
	if noisy.org = quiet.org; n.apart {
		noisy.org = s.home.source.New()
		quiet.key, noisy.key = "", ""
	}
	loud := s.home
	if noise == away {
		loud = s.away
	}
	for left := s.backlog; left > 0 && noise != silent; left -= tasksBatch {
		if err := noisy.queue(ctx, loud.enqueues, min(left, tasksBatch)); err != nil {
			return sample{}, err
		}
	}
	var counting atomic.Bool
	var mu sync.Mutex
	var out sample
	stop := s.home.start(ctx, neighbourWorkers, neighbourTakes, func(task tasks.Task, waited time.Duration) {
		if task.OrgID == quiet.org && task.FairnessKey == quiet.key && counting.Load() {
			mu.Lock()
			defer mu.Unlock()
			out.latencies = append(out.latencies, waited)
		}
	})
	finished := s.home.finished
	if noise == away {
		stopHome, stopAway := stop, s.away.start(ctx, n.own, neighbourTakes, func(tasks.Task, time.Duration) {})
		stop = func() error { return errors.Join(stopHome(), stopAway()) }
		finished = func() int { return s.home.finished() + s.away.finished() }
	}
	senders := s.send(ctx, n, noise, quiet, noisy)
	sleep(ctx, 2*time.Second) // for it to settle
	counting.Store(true)
	watch, since, before := s.watch(0, 0), time.Now(), finished()
	sleep(ctx, w.count)
	counting.Store(false)
	out.elapsed, out.done, out.cpu = time.Since(since), finished()-before, watch.read()
	return out, errors.Join(senders(), stop())
}

// send has both tenants queue tasks until the function it returns is called.
func (s *street) send(ctx context.Context, n neighbourhood, noise noise, quiet, noisy tenant) (end func() error) {
	loud := s.home
	if noise == away {
		loud = s.away
	}
	byQuiet, byNoisy := s.home.tasks, loud.tasks
	if n.elsewhere {
		byQuiet, byNoisy = s.home.enqueues, loud.enqueues
	}
	loaded, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	var quietErr, noisyErr error
	senders.Go(func() {
		_, quietErr = paced(loaded, s.capacity*n.load*neighbourShare, func(ctx context.Context) error { return quiet.queue(ctx, byQuiet, 1) })
	})
	if noise != silent {
		const together = 10 // so that the sender costs little
		senders.Go(func() {
			_, noisyErr = paced(loaded, s.capacity*n.load*(1-neighbourShare)/together, func(ctx context.Context) error {
				return noisy.queue(ctx, byNoisy, together)
			})
		})
	}
	return func() error {
		stop()
		senders.Wait()
		return errors.Join(quietErr, noisyErr)
	}
}
