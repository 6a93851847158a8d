package tasks

import (
	"context"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// report has an attempt's end recorded; the worker goes on meanwhile. While the database does not take it, it is offered again for as
// long as the lease lasts; after that, whoever takes the task over finds it interrupted.
func (t *Tasks) report(h *held, c Completion) {
	t.mu.Lock()
	t.reporting++
	h.reporting = true
	t.mu.Unlock()
	t.offer(h, c, 50*time.Millisecond)
}

func (t *Tasks) offer(h *held, c Completion, pause time.Duration) {
	err := t.finish.Submit(h.inTrace(t.base), c, func(wasHeld bool, err error) {
		if err != nil {
			t.offerLater(h, c, pause, err)
			return
		}
		t.note(h.inTrace(t.base), &c, wasHeld)
		t.reported(h)
	})
	if err != nil {
		t.offerLater(h, c, pause, err)
	}
}

func (t *Tasks) offerLater(h *held, c Completion, pause time.Duration, cause error) {
	t.mu.Lock()
	lost := h.lost
	t.mu.Unlock()
	if lost {
		t.log.ErrorContext(h.inTrace(t.base), "the end of an attempt could not be recorded; the task will be taken up again", "task", ids.Format(Prefix, c.Task.ID),
			"kind", c.Task.Kind, "attempt", c.Task.Attempt, "outcome", c.Outcome, "error", cause)
		t.reported(h)
		return
	}
	time.AfterFunc(pause, func() { t.offer(h, c, min(2*pause, time.Second)) })
}

// reported is called when an attempt's end is recorded, or never will be.
func (t *Tasks) reported(h *held) {
	t.over(h)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reporting--
	t.noteIdle()
}

// note counts an attempt's end, and tells of one that is not as it should be.
func (t *Tasks) note(ctx context.Context, c *Completion, wasHeld bool) {
	if wasHeld {
		t.kinds[c.Task.Kind].figures.count(c.ended())
		if c.Done && c.Outcome == OutcomeSucceeded || c.Outcome == OutcomeSnoozed {
			return
		}
	}
	log := t.log.With("task", ids.Format(Prefix, c.Task.ID), "kind", c.Task.Kind, "attempt", c.Task.Attempt, "outcome", c.Outcome, "code", c.ErrorCode)
	switch {
	case !wasHeld:
		log.WarnContext(ctx, "the task's lease was lost before its end could be recorded")
	case c.Dead != "":
		log.ErrorContext(ctx, "a task has failed for good", "reason", c.Dead, "detail", string(c.Detail))
	case !c.Done:
		log.WarnContext(ctx, "a task will be tried again", "after", c.Next, "detail", string(c.Detail))
	}
}

// noteOutcomes remembers what a handler wrote through Finish, to be counted when it says so: the transaction may yet run
// again.
func (t *Tasks) noteOutcomes(list []Completion, wasHeld []bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range list {
		if h := t.held[keyOf(c.Task)]; h != nil && wasHeld[i] {
			h.ended = c.ended()
		}
	}
}
