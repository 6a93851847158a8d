package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// worker makes attempts for as long as this node runs. Between two it waits to be woken: goroutines that stay have grown their
// stacks, and there are never more of them than workers.
type worker chan struct{}

func (t *Tasks) work(w worker) {
	var done *held
	for woken := true; ; {
		if h := t.next(w, woken, done); h != nil {
			woken, done = false, h
			t.attempt(h)
		} else if _, woken = <-w; !woken {
			return
		} else {
			done = nil
		}
	}
}

// wake has one worker more at work, when tasks wait and none has been woken that is not at work yet. A worker that takes a task
// wakes the next one: handlers that take long are all begun within no time, and those that do not are left to the few workers that
// are awake anyway. The caller holds mu.
func (t *Tasks) wake() {
	if t.waking || t.waiting == 0 || t.running == t.cfg.Workers {
		return
	}
	t.waking = true
	if last := len(t.parked) - 1; last >= 0 {
		w := t.parked[last]
		t.parked = t.parked[:last]
		w <- struct{}{}
		return
	}
	go t.work(make(worker, 1))
}

// next gives a worker the task that has waited longest, or notes that the worker waits. done is what it has worked on; nil: nothing.
func (t *Tasks) next(w worker, woken bool, done *held) *held {
	t.mu.Lock()
	defer t.mu.Unlock()
	if done != nil {
		t.loads.release(done.load)
	}
	if woken {
		t.waking = false
		t.running++
	}
	for len(t.ready) > 0 {
		h := t.ready[0]
		t.ready[0] = nil
		t.ready = t.ready[1:]
		if !h.lost {
			h.waiting = false
			t.waiting--
			t.freed()
			t.wake()
			return h
		}
	}
	t.ready = nil
	t.running--
	if t.phase == phaseStopped {
		close(w)
	} else {
		t.parked = append(t.parked, w)
	}
	t.freed()
	t.noteIdle()
	return nil
}

// noteIdle tells who waits for the end that nothing is at work or to be reported any more. The caller holds mu.
func (t *Tasks) noteIdle() {
	if t.running == 0 && t.reporting == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// dismiss ends the workers that wait.
func (t *Tasks) dismiss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.parked {
		close(w)
	}
	t.parked = nil
}

// forget lets go of a lease that is done with.
func (t *Tasks) forget(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.held, keyOf(h.task))
}

// unknownKindPause is how long a task is left to other nodes when this one does not know its kind.
const unknownKindPause = 10 * time.Second

// attempt runs the handler once and has recorded what became of it.
func (t *Tasks) attempt(h *held) {
	task := &h.task
	kind, known := t.kinds[task.Kind]
	if !known {
		t.log.Error("no handler for this kind of task here; it is left to other nodes", "task", ids.Format(Prefix, task.ID), "kind", task.Kind)
		t.forget(h)
		t.letGo(*task, unknownKindPause)
		return
	}
	retry := t.retryOf(task, kind)
	ctx, end := t.begin(h, kind.timeoutOf(task))
	defer end()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errLeaseLost):
		t.forget(h)
		return
	case cause != nil || task.grant != nil && !kind.sends && !task.grant.Sent(): // the node has stopped in between, or what the limits gave is stale
		t.forget(h)
		t.letGo(*task, 0)
		return
	}
	ctx, span := t.trace(ctx, task)
	h.span = span.SpanContext()
	verdict, hopeless := giveUp(task, kind.policy.LostMax, &retry)
	if !hopeless {
		began := monotonic()
		task.began(began)
		verdict = t.call(ctx, kind.handle, *task)
		kind.figures.duration.Observe(monotonic().Sub(began).Seconds())
	}
	if task.grant != nil {
		task.grant.Done()
	}
	if verdict.finished {
		t.mu.Lock()
		ended := h.ended
		t.mu.Unlock()
		kind.figures.count(ended)
		endTrace(span, ended.outcome, ended.dead, nil)
		t.over(h)
		return
	}
	c := conclude(*task, &retry, verdict, context.Cause(ctx), rand.Float64())
	endTrace(span, c.Outcome, c.ErrorCode, verdict.err)
	t.report(h, c)
}

// over is called when an attempt's end is recorded, or never will be.
func (t *Tasks) over(h *held) {
	t.forget(h)
	if turn := h.task.turn; !turn.IsZero() {
		t.owe([]ids.ID{turn})
		signal(t.hurry)
	}
}

// timeoutOf bounds an attempt.
func (k *handling) timeoutOf(task *Task) time.Duration {
	if task.timeout > 0 && !k.sends { // what sends ends the request first, and says how
		return task.timeout
	}
	return k.policy.Timeout
}

// retryOf is how the task is tried again: as it says itself, else as its queue says, else as its kind does.
func (t *Tasks) retryOf(task *Task, kind handling) RetryConfig {
	retry := kind.retry
	if queue, _ := t.queues.get(task.OrgID, task.Queue); queue.retry != nil {
		retry = *queue.retry
	}
	if len(task.retry) == 0 {
		return retry
	}
	own, problems, err := ReadRetry(task.retry, retry)
	if err != nil || len(problems) > 0 {
		t.log.Error("a task's retry configuration is not valid; its queue's is taken", "task", ids.Format(Prefix, task.ID), "error", err, "problems", problems)
		return retry
	}
	return own
}

// giveUp ends tasks for which nothing is to be tried any more.
func giveUp(task *Task, lostMax int, retry *RetryConfig) (Verdict, bool) {
	switch {
	case task.expired:
		return Verdict{outcome: OutcomeExpired, code: "expired", err: errors.New("its time was over before it could be begun"), done: true, dead: DeadExpired}, true
	case lostMax > 0 && task.lost >= lostMax:
		return Verdict{outcome: OutcomeFailed, code: "poison", err: errors.New("the nodes that worked on it died, one after the other"), done: true, dead: DeadPoison}, true
	case retry.exhausted(task.counted() - 1):
		return Verdict{outcome: OutcomeFailed, code: "attempts_used_up", err: errors.New("every attempt that is allowed was begun and none reported"), done: true, dead: DeadMaxAttempts}, true
	default:
		return Verdict{}, false
	}
}

// begin makes the attempt's context. A lease that was lost in the meantime makes one that has ended.
func (t *Tasks) begin(h *held, timeout time.Duration) (context.Context, func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, cancel := context.WithCancelCause(t.base)
	timer := time.AfterFunc(timeout, func() { cancel(errTimedOut) })
	h.cancel = cancel
	if h.lost {
		cancel(errLeaseLost)
	}
	return ctx, func() { timer.Stop(); cancel(nil) }
}

// call runs the handler; a panic is a failed attempt of which nobody knows how far it came.
func (t *Tasks) call(ctx context.Context, handle Handler, task Task) (v Verdict) {
	defer func() {
		if r := recover(); r != nil {
			t.log.ErrorContext(ctx, "a task's handler panicked", "task", ids.Format("tsk", task.ID), "kind", task.Kind, "panic", r, "stack", string(debug.Stack()))
			v = Retry("panic", fmt.Errorf("panic: %v", r))
			v.unclear = true
		}
	}()
	return handle(ctx, task)
}

// conclude turns a verdict into the attempt's end. cause is why the attempt's context ended, if it has.
func conclude(task Task, retry *RetryConfig, v Verdict, cause error, chance float64) Completion {
	c := Completion{
		Task: task, Outcome: v.outcome, ErrorCode: v.code, Detail: detailOf(v.err), Status: v.status, Exchange: v.exchange, Next: v.next, Done: v.done,
		Dead: v.dead, unclear: v.unclear,
	}
	if v.outcome == OutcomeHeld { // nothing was sent: what is not known of an earlier attempt is not known now
		c.unclear = c.unclear || task.Interrupted
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
	pause, dead := retry.Next(task.counted(), task.sinceFailure, chance)
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
	text := strings.ReplaceAll(err.Error(), "\x00", " ") // no text of PostgreSQL's has that
	if len(text) > detailMax {
		text = text[:detailMax]
	}
	detail, _ := json.Marshal(map[string]string{"error": text}) // a map of strings always can be
	return detail
}
