package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// measureStrain measures the pipeline of tasks where something is in its way: another tenant's backlog, a transaction that
// somebody holds open, a long history.
func (b *bench) measureStrain(ctx context.Context) error {
	for _, part := range []func(context.Context) error{b.neighbours, b.heldOpen, b.longHistory} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// strained is Kontor's pipeline with tasks that take a while and belong to tenants.
type strained struct {
	*kontorPipeline
}

// strainedKind is the kind of its tasks.
const strainedKind = "strained"

func (b *bench) openStrained(ctx context.Context, database string) (*strained, error) {
	url, err := b.database(ctx, database)
	if err != nil {
		return nil, err
	}
	p, err := openKontor(ctx, url, true)
	if err != nil {
		return nil, fmt.Errorf("open the tasks: %w", err)
	}
	return &strained{p.(*kontorPipeline)}, nil
}

// start has a node work on the tasks until stop is called; each occupies a worker for a time in which it does nothing.
func (s *strained) start(ctx context.Context, workers int, takes time.Duration, started func(tasks.Task, time.Duration)) (stop func() error) {
	node, slots, registry := s.node(tasks.Config{Workers: workers})
	node.Handle(strainedKind, tasks.Policy{}, func(ctx context.Context, task tasks.Task) tasks.Verdict {
		var args kontorArgs
		if err := json.Unmarshal(task.Args, &args); err != nil {
			return tasks.Failed("arguments", err)
		}
		started(task, time.Since(args.At))
		if takes > 0 {
			sleep(ctx, takes)
		}
		return tasks.Succeeded()
	})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 2)
	go func() { ended <- node.Run(running) }()
	go func() { ended <- slots.Run(running) }()
	s.tasks, s.registry = node, registry
	return func() error {
		s.tasks = s.enqueues
		cancel()
		return errors.Join(<-ended, <-ended)
	}
}

// tenant is whose tasks they are: an organisation's, or those of one fairness key of it.
type tenant struct {
	org ids.ID
	key string
}

// queue queues n tasks of a tenant in one call.
func (t tenant) queue(ctx context.Context, by *tasks.Tasks, n int) error {
	args, err := json.Marshal(kontorArgs{At: time.Now()})
	if err != nil {
		return err
	}
	specs := make([]tasks.Spec, n)
	for i := range specs {
		specs[i] = tasks.Spec{OrgID: t.org, FairnessKey: t.key, Kind: strainedKind, Args: args}
	}
	_, err = by.Enqueue(ctx, specs)
	return err
}

// paced makes calls at uneven times, so many a second, until ctx ends; none waits for an earlier one. It returns how many, and the
// first error.
func paced(ctx context.Context, perSecond float64, call func(context.Context) error) (int, error) {
	var calls sync.WaitGroup
	var mu sync.Mutex
	var first error
	mean, n, next := time.Duration(float64(time.Second)/perSecond), 0, time.Now()
	for ctx.Err() == nil {
		n++
		calls.Go(func() {
			if err := call(context.WithoutCancel(ctx)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
				}
			}
		})
		next = next.Add(mean/2 + rand.N(mean))
		sleep(ctx, time.Until(next)) // where one sleep was too long, the next are shorter
	}
	calls.Wait()
	return n, first
}
