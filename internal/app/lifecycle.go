package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// part is something that works until its context ends, and returns when it is done stopping.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// stage is parts that stop together, within a budget of time and what the stages before have left of theirs.
type stage struct {
	budget time.Duration
	parts  []part
}

// lifecycle runs parts and knows which are running. Parts start together and stop stage by stage: what hands work on
// stops before what it hands it to.
type lifecycle struct {
	stages []stage
	// stopping is called once, before the first stage is stopped.
	stopping func(cause error)

	mu      sync.Mutex
	running map[string]bool
}

// errEnded says that a part returned though nobody had asked it to.
var errEnded = errors.New("ended by itself")

// run starts all parts and stops them when ctx ends or one of them fails. It returns the failure, or an error that
// names the parts that did not stop within their budget: they are left behind.
func (l *lifecycle) run(ctx context.Context) error {
	detached := context.WithoutCancel(ctx)
	l.running = map[string]bool{}
	failed := make(chan error, 1)
	stops := make([]func(<-chan time.Time) ([]string, error), len(l.stages))
	for i, s := range l.stages {
		stops[i] = l.start(detached, s, failed)
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
	}
	if l.stopping != nil {
		l.stopping(failure)
	}
	errs := []error{failure}
	var left []string
	ends, sum := make([]<-chan time.Time, len(stops)), time.Duration(0)
	for i := range stops {
		sum += l.stages[i].budget
		ends[i] = time.After(sum)
	}
	for i, stop := range stops {
		late, err := stop(ends[i])
		left = append(left, late...)
		errs = append(errs, err)
	}
	if len(left) > 0 {
		errs = append(errs, fmt.Errorf("still running at the end: %s", strings.Join(left, ", ")))
	}
	return errors.Join(errs...)
}

// start runs the parts of a stage and returns what stops them by a moment: it gives the names of those that would not, and
// what the others had to say.
func (l *lifecycle) start(ctx context.Context, s stage, failed chan<- error) func(end <-chan time.Time) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, p := range s.parts {
		l.mark(p.name, true)
		running.Go(func() {
			err := p.run(ctx)
			l.mark(p.name, false)
			switch {
			case ctx.Err() == nil:
				if err == nil {
					err = errEnded
				}
				select {
				case failed <- fmt.Errorf("%s: %w", p.name, err):
				default: // another part failed before
				}
			case err != nil && !errors.Is(err, context.Canceled):
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
				mu.Unlock()
			}
		})
	}
	return func(end <-chan time.Time) ([]string, error) {
		cancel()
		done := make(chan struct{})
		go func() {
			running.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-end:
		}
		mu.Lock()
		defer mu.Unlock()
		return l.among(s.parts), errors.Join(errs...)
	}
}

func (l *lifecycle) mark(name string, running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[name] = running
}

// among names those of the parts that are running.
func (l *lifecycle) among(parts []part) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, p := range parts {
		if l.running[p.name] {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return names
}

// stopped names the parts that ought to be running and are not.
func (l *lifecycle) stopped() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, s := range l.stages {
		for _, p := range s.parts {
			if !l.running[p.name] {
				names = append(names, p.name)
			}
		}
	}
	return names
}
