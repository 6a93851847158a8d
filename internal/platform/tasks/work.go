package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// work makes attempts, one after the other, for as long as tasks wait.
func (t *Tasks) work(h *held) {
	for h != nil {
		t.attempt(h)
		h = t.next(h)
	}
}

// next lets go of what is done and gives the task that has waited longest, or ends the worker.
func (t *Tasks) next(done *held) *held {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.held, keyOf(done.task))
	for len(t.ready) > 0 {
		h := t.ready[0]
		t.ready[0] = nil
		t.ready = t.ready[1:]
		if !h.lost {
			h.waiting = false
			t.waiting--
			return h
		}
	}
	t.ready = nil
	t.running--
	if t.running == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
	return nil
}

// unknownKindPause is how long a task is left to other nodes when this one does not know its kind.
const unknownKindPause = 10 * time.Second

// attempt runs the handler once and records what became of it.
func (t *Tasks) attempt(h *held) {
	task := h.task
	kind, known := t.kinds[task.Kind]
	if !known {
		t.log.Error("no handler for this kind of task here; it is left to other nodes", "task", ids.Format("tsk", task.ID), "kind", task.Kind)
		t.letGo(task, unknownKindPause)
		return
	}
	policy := t.policyOf(&task, kind.policy)
	ctx, end := t.begin(h, policy.Timeout)
	defer end()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errLeaseLost):
		return
	case cause != nil || task.grant != nil && !kind.sends && !task.grant.Sent(): // the node has stopped in between, or what the limits gave is stale
		t.letGo(task, 0)
		return
	}
	verdict, hopeless := giveUp(&task, policy)
	if !hopeless {
		verdict = t.call(ctx, kind.handle, task)
	}
	if task.grant != nil {
		task.grant.Done()
	}
	if verdict.finished {
		t.mu.Lock()
		outcome := h.outcome
		t.mu.Unlock()
		t.metrics.attempts.WithLabelValues(task.Kind, outcome).Inc()
	} else {
		t.report(ctx, conclude(task, policy, verdict, context.Cause(ctx), rand.Float64()))
	}
	if !task.turn.IsZero() {
		t.owe([]ids.ID{task.turn})
		signal(t.hurry)
	}
}

// policyOf is the kind's policy with what the task's queue and the task itself say otherwise.
func (t *Tasks) policyOf(task *Task, p Policy) Policy {
	if task.timeout > 0 {
		p.Timeout = task.timeout
	}
	return p
}

// giveUp ends tasks for which nothing is to be tried any more.
func giveUp(task *Task, policy Policy) (Verdict, bool) {
	switch {
	case task.expired:
		return Verdict{outcome: OutcomeExpired, code: "expired", err: errors.New("its time was over before it could be begun"), done: true, dead: DeadExpired}, true
	case policy.LostMax > 0 && task.lost >= policy.LostMax:
		return Verdict{outcome: OutcomeFailed, code: "poison", err: errors.New("the nodes that worked on it died, one after the other"), done: true, dead: DeadPoison}, true
	case policy.exhausted(task.counted() - 1):
		return Verdict{outcome: OutcomeFailed, code: "attempts_used_up", err: errors.New("every attempt the policy allows was begun and none reported"), done: true, dead: DeadMaxAttempts}, true
	default:
		return Verdict{}, false
	}
}

// begin makes the attempt's context. A lease that was lost in the meantime makes one that has ended.
func (t *Tasks) begin(h *held, timeout time.Duration) (context.Context, func()) {
	t.mu.Lock()
	base := t.base
	t.mu.Unlock()
	bounded, release := context.WithTimeoutCause(base, timeout, errTimedOut)
	ctx, cancel := context.WithCancelCause(bounded)
	t.mu.Lock()
	defer t.mu.Unlock()
	h.cancel = cancel
	if h.lost {
		cancel(errLeaseLost)
	}
	return ctx, func() { cancel(nil); release() }
}

// call runs the handler; a panic is a failed attempt of which nobody knows how far it came.
func (t *Tasks) call(ctx context.Context, handle Handler, task Task) (v Verdict) {
	defer func() {
		if r := recover(); r != nil {
			t.log.Error("a task's handler panicked", "task", ids.Format("tsk", task.ID), "kind", task.Kind, "panic", r, "stack", string(debug.Stack()))
			v = Retry("panic", fmt.Errorf("panic: %v", r))
			v.unclear = true
		}
	}()
	return handle(ctx, task)
}

// conclude turns a verdict into the attempt's end. cause is why the attempt's context ended, if it has.
func conclude(task Task, policy Policy, v Verdict, cause error, chance float64) Completion {
	c := Completion{
		Task: task, Outcome: v.outcome, ErrorCode: v.code, Detail: detailOf(v.err), Status: v.status, Exchange: v.exchange, Next: v.next, Done: v.done,
		Dead: v.dead, unclear: v.unclear,
	}
	if v.done || v.outcome == OutcomeSnoozed {
		return c
	}
	switch {
	case errors.Is(cause, errStopping):
		c.Outcome, c.Next, c.unclear = OutcomeInterrupted, 0, true
		return c
	case errors.Is(cause, errCancelled):
		c.Outcome, c.Done = OutcomeCancelled, true
		return c
	case errors.Is(cause, errTimedOut) && v.outcome == OutcomeFailed:
		c.Outcome, c.unclear = OutcomeTimedOut, true
	}
	if excuses(c.Outcome) {
		if task.rateLimited >= rateLimitedMax {
			c.Done, c.Dead = true, DeadMaxRateLimited
		}
		return c
	}
	pause, dead := policy.next(task.counted(), task.sinceFailure, chance)
	if dead != "" {
		c.Done, c.Dead = true, dead
		return c
	}
	c.Next = max(c.Next, pause)
	return c
}

// rateLimitedMax bounds how often the other side may turn a task away.
const rateLimitedMax = 1000

// detailMax bounds an error's text in the history, in bytes.
const detailMax = 2000

func detailOf(err error) []byte {
	if err == nil {
		return nil
	}
	text := err.Error()
	if len(text) > detailMax {
		text = text[:detailMax]
	}
	detail, _ := json.Marshal(map[string]string{"error": text}) // a map of strings always can be
	return detail
}

// report records the attempt's end. While the database does not take it, it is offered again as long as the lease lasts;
// after that, whoever takes the task over finds it interrupted.
func (t *Tasks) report(ctx context.Context, c Completion) {
	log := t.log.With("task", ids.Format("tsk", c.Task.ID), "kind", c.Task.Kind, "attempt", c.Task.Attempt, "outcome", c.Outcome, "code", c.ErrorCode)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		wasHeld, err := t.finish.Do(context.WithoutCancel(ctx), c)
		switch {
		case err == nil && wasHeld:
			t.count(c)
			if c.Done && c.Outcome != OutcomeSucceeded {
				t.metrics.givenUp.WithLabelValues(c.Task.Kind).Inc()
				log.Error("a task has failed for good", "detail", string(c.Detail))
			} else if c.Outcome != OutcomeSucceeded && c.Outcome != OutcomeSnoozed {
				log.Warn("a task will be tried again", "after", c.Next, "detail", string(c.Detail))
			}
			return
		case err == nil:
			log.Warn("the task's lease was lost before its end could be recorded")
			return
		}
		select {
		case <-ctx.Done():
			log.Error("the end of an attempt could not be recorded; the task will be taken up again", "error", err)
			return
		case <-time.After(pause):
		}
	}
}

func (t *Tasks) count(c Completion) {
	t.metrics.attempts.WithLabelValues(c.Task.Kind, c.Outcome).Inc()
}

// noteOutcomes remembers what a handler wrote through Finish, to be counted when it says so: the transaction may yet run
// again.
func (t *Tasks) noteOutcomes(list []Completion, wasHeld []bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range list {
		if h := t.held[keyOf(c.Task)]; h != nil && wasHeld[i] {
			h.outcome = c.Outcome
		}
	}
}
