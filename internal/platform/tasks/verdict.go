package tasks

import (
	"context"
	"time"
)

// Handler works on a task until it has a verdict. ctx ends before the lease does, when the lease is lost, when the policy's
// Timeout is over, and when the node has waited long enough to stop; from then on the handler must not act on the outside.
type Handler func(ctx context.Context, t Task) Verdict

// Verdict is what became of an attempt. Make it with the functions below.
type Verdict struct {
	outcome  string
	code     string
	err      error
	next     time.Duration
	done     bool
	finished bool
	unclear  bool
	dead     string
	status   int
	exchange []byte
}

// Succeeded finishes the task.
func Succeeded() Verdict { return Verdict{outcome: OutcomeSucceeded, done: true} }

// Retry has the task tried again as its policy says; when the policy's attempts are used up, the task has failed.
func Retry(code string, err error) Verdict {
	return Verdict{outcome: OutcomeFailed, code: code, err: err}
}

// Snooze has the task looked at again after d, from the database's now. It does not count as an attempt; code says what
// is being waited for.
func Snooze(d time.Duration, code string) Verdict {
	return Verdict{outcome: OutcomeSnoozed, code: code, next: d}
}

// RetryAfter is Retry, and not before d has passed.
func RetryAfter(d time.Duration, code string, err error) Verdict {
	return Verdict{outcome: OutcomeFailed, code: code, err: err, next: d}
}

// Failed finishes the task without success and without another attempt. It leaves a dead letter.
func Failed(code string, err error) Verdict {
	return Verdict{outcome: OutcomeFailed, code: code, err: err, done: true, dead: DeadNonRetryable}
}

// Cancelled finishes the task because nobody wants it any more.
func Cancelled(code string) Verdict {
	return Verdict{outcome: OutcomeCancelled, code: code, done: true}
}

// Finished says that the handler has ended the attempt through Finish, in its own transaction.
func Finished() Verdict { return Verdict{finished: true} }
