package tasks

import (
	"fmt"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// The module's faults. Their codes are part of the API.
var (
	ErrNotFound = fault.New(fault.NotFound, "task_not_found", "There is no such task.")
	ErrInvalid  = fault.New(fault.Invalid, "task_invalid", "The task cannot be queued as it is described.")
	ErrEnded    = fault.New(fault.Conflict, "task_ended", "The task has ended. Replay it if it is to be done again.")
	ErrBlocked  = fault.New(fault.Conflict, "task_blocked", "The task waits for an earlier one with the same ordering key. Run or cancel that one.")

	ErrNotCancellable = fault.New(fault.Conflict, "task_not_cancellable",
		"The task is Kontor's own work, and is seen through. Void the payment or cancel the replay that it is for.")
	ErrNotEnded      = fault.New(fault.Conflict, "task_not_ended", "The task has not ended. Have it run now, or cancel it first.")
	ErrNotReplayable = fault.New(fault.Conflict, "task_not_replayable", "Only a task that sends a request can be replayed; this one is Kontor's own work.")
	ErrKeyTaken      = fault.New(fault.Conflict, "task_exists", "Another task has that name or unique key.")
	ErrKeyBusy       = fault.New(fault.Conflict, "task_under_way", "The task that has that name or unique key has been begun, and cannot be replaced. Come back when it has ended.")

	ErrQueueNotFound = fault.New(fault.NotFound, "queue_not_found", "There is no such queue. Make it with POST /v1/queues, or name none: that is the queue default.")
	ErrQueueDeleted  = fault.New(fault.NotFound, "queue_not_found", "The queue that the task was in was deleted. Make one of that name with POST /v1/queues, and replay the task then.")
	ErrQueueExists   = fault.New(fault.Conflict, "queue_exists", "A queue of that name exists.").At("name")
	ErrQueueChanged  = fault.New(fault.Conflict, "queue_changed", "The queue was changed since it was read. Read it again and repeat the change.")
	ErrQueueInvalid  = fault.New(fault.Invalid, "queue_invalid", "The queue cannot be used as it is described.")
	ErrQueueNotEmpty = fault.New(fault.Conflict, "queue_not_empty", "The queue has tasks that have not ended. Drain it, and wait for them or cancel them.")
	ErrQueueCrowded  = fault.New(fault.Conflict, "queue_not_empty", "So many tasks have not ended that it cannot be told whether one of them is in the queue. Come back when there are fewer.")
	ErrQueueDraining = fault.New(fault.Conflict, "queue_draining", "The queue takes nothing in: it is being drained. Resume it, or use another.")

	ErrLetterNotFound = fault.New(fault.NotFound, "dead_letter_not_found", "There is no such dead letter: the task is not known, or it has not failed for good.")
	ErrLetterResolved = fault.New(fault.Conflict, "dead_letter_resolved", "The dead letter was replayed or discarded already.")

	ErrLimitNotFound = fault.New(fault.NotFound, "limit_not_found", "There is no queue or destination with such a limit.").At("limit")

	ErrReplayNotFound = fault.New(fault.NotFound, "replay_not_found", "There is no such replay.")
	ErrReplayInvalid  = fault.New(fault.Invalid, "replay_invalid", "The replay cannot be carried out as it is described.")
	ErrReplayEnded    = fault.New(fault.Conflict, "replay_ended", "The replay has ended.")
)

// problems collects everything that is wrong with what is asked for.
type problems []fault.Problem

func (p *problems) add(param, detail string, args ...any) {
	*p = append(*p, fault.Problem{Param: param, Detail: fmt.Sprintf(detail, args...)})
}

// between wants a number within bounds.
func (p *problems) between(param string, value, least, most int64) {
	if value < least || value > most {
		p.add(param, "It must be between %d and %d.", least, most)
	}
}

// short bounds a text.
func (p *problems) short(param, value string, most int) {
	if len(value) > most {
		p.add(param, "It has at most %d bytes.", most)
	}
}

// as is the fault with all problems, or nil.
func (p problems) as(f *fault.Fault) error {
	if len(p) == 0 {
		return nil
	}
	g := *f
	g.Params, g.Param = p, p[0].Param
	if len(p) == 1 {
		g.Detail = p[0].Detail
	}
	return &g
}
