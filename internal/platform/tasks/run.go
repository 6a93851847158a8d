package tasks

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// abandonAfter is how long handlers have to return once their contexts have ended because the node stops.
const abandonAfter = time.Second

// Run works on tasks until ctx ends, then takes no more, hands back what it has not begun, and waits for running handlers up
// to the configured Drain. Those that are still at work then are told to end, and handed back as interrupted; a handler
// that does not return even so keeps its lease until it runs out, because it may still be acting. Run logs those, and those whose ends
// the database did not take, and returns an error. Call it once.
func (t *Tasks) Run(ctx context.Context) error {
	detached := context.WithoutCancel(ctx)
	base, interrupt := context.WithCancelCause(detached)
	defer interrupt(errStopping)
	t.mu.Lock()
	if t.phase != phaseStopped || t.base != nil {
		t.mu.Unlock()
		return errors.New("tasks: Run was called twice")
	}
	t.phase, t.base = phaseRunning, base
	t.mu.Unlock()

	keeping, stopKeeping := context.WithCancel(detached)
	var keepers, takers sync.WaitGroup
	keepers.Go(func() { t.heartbeat(keeping) })
	keepers.Go(func() { t.watch(keeping) })
	keepers.Go(func() { t.give(keeping) })
	keepers.Go(func() { every(keeping, time.Second, t.reclaim) })
	keepers.Go(func() { _ = t.finish.Run(keeping) }) // never fails
	takers.Go(func() { t.poll(ctx) })
	for _, s := range t.sweeps {
		takers.Go(func() { t.runSweep(ctx, s) })
	}

	<-ctx.Done()
	idle := t.drain()
	takers.Wait()
	t.waitFor(idle, func() { interrupt(errStopping) })
	t.giveReturned(detached)
	t.mu.Lock()
	t.phase = phaseStopped
	t.mu.Unlock()
	stopKeeping()
	keepers.Wait()
	t.dismiss()
	return t.left()
}

// drain stops taking tasks and lets go of those that wait. The channel it returns is closed when no worker is left.
func (t *Tasks) drain() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = phaseDraining
	for _, h := range t.ready {
		if !h.lost {
			delete(t.held, keyOf(h.task))
			t.loads.release(h.load)
			t.giveBack(h.task, 0)
		}
	}
	t.ready, t.waiting = nil, 0
	idle := make(chan struct{})
	if t.running == 0 && t.reporting == 0 {
		close(idle)
	} else {
		t.idle = idle
	}
	return idle
}

// waitFor waits for the workers and for what they have to report, and tells them to end when the time is up.
func (t *Tasks) waitFor(idle <-chan struct{}, interrupt func()) {
	select {
	case <-idle:
		return
	case <-time.After(t.cfg.Drain):
	}
	interrupt()
	select {
	case <-idle:
	case <-time.After(abandonAfter):
	}
}

// left names what this node has not done with when it has stopped.
func (t *Tasks) left() error {
	var working, unrecorded []string
	t.mu.Lock()
	for _, h := range t.held {
		name := h.task.Kind + " " + ids.Format(Prefix, h.task.ID)
		if h.reporting {
			unrecorded = append(unrecorded, name)
		} else {
			working = append(working, name)
		}
	}
	t.mu.Unlock()
	slices.Sort(working)
	slices.Sort(unrecorded)
	var left []error
	if len(working) > 0 {
		t.log.Error("handlers did not end; their leases will run out", "tasks", working)
		left = append(left, errors.New("tasks: handlers did not end in time"))
	}
	if len(unrecorded) > 0 {
		t.log.Error("the ends of attempts could not be recorded; their leases will run out", "tasks", unrecorded)
		left = append(left, errors.New("tasks: the ends of attempts could not be recorded in time"))
	}
	return errors.Join(left...)
}
