package tasks

import (
	"context"
	"time"
)

// poll looks for tasks until ctx ends: at once when it is told of some, every PollMin while there are some and for a while after, and
// then the more seldom the longer there have been none.
func (t *Tasks) poll(ctx context.Context) {
	t.foundAt = monotonic() // a node that begins takes it that there is work
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.hurry:
		case <-t.limits.Freed():
			if since := time.Since(t.roundAt); since < t.cfg.PollMin { // by the handful, not one by one
				timer.Reset(t.cfg.PollMin - since)
				continue
			}
		case <-timer.C:
		}
		r, err := t.round(ctx)
		if r.found {
			t.foundAt = t.roundAt
		}
		pause := t.cfg.PollMin
		switch {
		case err != nil:
			pause = t.cfg.PollMax
			if ctx.Err() == nil { // else the node stops
				t.log.Warn("due tasks could not be taken", "error", err)
			}
		case r.again:
			signal(t.hurry)
		case t.roundAt.Sub(t.foundAt) > lineActive:
			pause = t.lookPause()
		}
		timer.Reset(min(pause, r.wait))
	}
}

const (
	lookOften  = 10 * time.Millisecond  // between two looks for lines while there are tasks, and none wait
	lookRarely = 100 * time.Millisecond // while some wait in the lines that are known, or there have been none for long
	lookIdle   = 100                    // what part of the time without any a pause is: the first task waits for a hundredth of it, at the most
)

// lookPause is between two looks for lines: what another program queues in a line that this node does not ask waits no longer. A node
// that has found nothing for ten seconds looks ten times a second.
func (t *Tasks) lookPause() time.Duration {
	if t.behind {
		return min(lookRarely, t.cfg.PollMax)
	}
	return min(max(lookOften, t.roundAt.Sub(t.foundAt)/lookIdle), lookRarely, t.cfg.PollMax)
}

// result is what a round came to.
type result struct {
	found bool          // there were tasks
	again bool          // there are more that could be begun now
	wait  time.Duration // until something is due, at the most
}

// round stages what is due, looks for lines with tasks, and claims what may be begun.
func (t *Tasks) round(ctx context.Context) (result, error) {
	now := monotonic()
	t.roundAt = now
	r := result{wait: t.cfg.PollMax}
	t.takeHints(now)
	if !now.Before(t.stageAt) {
		next, err := t.stage(ctx)
		if err != nil {
			return r, err
		}
		t.stageAt = now.Add(max(next, t.cfg.PollMin))
	}
	if err := t.giveTurns(ctx, now); err != nil {
		return r, err
	}
	if t.lookSoon.Swap(false) || t.lookDue || !now.Before(t.lookAt) {
		began := monotonic()
		if err := t.look(ctx); err != nil {
			return r, err
		}
		// A look that is dear, since a long transaction keeps what was taken in the index, is rare.
		t.lookDue, t.lookAt = false, now.Add(max(t.lookPause(), dearTimes*monotonic().Sub(began)))
	}
	r.wait = min(r.wait, max(0, time.Until(t.stageAt)), max(0, time.Until(t.lookAt)))
	if err := t.queues.refresh(ctx, now, t.lines); err != nil {
		return r, err
	}
	if err := t.meet(ctx); err != nil {
		return r, err
	}
	if len(t.lines) == 0 {
		return r, nil
	}
	budget := min(t.free(), claimMax)
	if budget <= 0 {
		t.crowd()
		return r, nil
	}
	shares, refusedFor, short := t.admit(now, budget)
	r.wait = min(r.wait, refusedFor)
	claimed, more, err := t.claim(ctx, shares)
	r.found = claimed > 0
	t.behind = more || short
	if t.behind {
		r.again = t.spare() > 0
	}
	if t.behind && !r.again {
		t.crowd()
	}
	return r, err
}

// keep notes whether the tasks that wait have to leave what is reserved to others.
func (t *Tasks) keep(reserve bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keeping = reserve
}

// spare is how many workers are free for tasks that wait.
func (t *Tasks) spare() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spareLocked()
}

func (t *Tasks) spareLocked() int {
	free := t.cfg.Workers - t.running - t.waiting
	if t.keeping {
		free -= t.loads.reserve()
	}
	return free
}

// crowd notes that tasks wait for nothing but workers.
func (t *Tasks) crowd() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crowded = t.spareLocked() <= 0; !t.crowded {
		signal(t.hurry) // one was freed meanwhile
	}
}

// freed is called when a worker has nothing to do: if tasks wait for workers, they are claimed by the handful, not one by one. The
// caller holds mu.
func (t *Tasks) freed() {
	if t.crowded && t.spareLocked()*8 >= t.cfg.Workers {
		t.crowded = false
		signal(t.hurry)
	}
}
