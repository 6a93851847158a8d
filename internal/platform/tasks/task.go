package tasks

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Task is one attempt at a piece of work, as its handler gets it. Lease is the fence: only its holder can finish.
type Task struct {
	OrgID       ids.ID
	ID          ids.ID
	Queue       string
	Kind        string
	Args        []byte // JSON
	SubjectType string
	SubjectID   ids.ID
	Attempt     int // the attempt's number in the history, from 1
	Lease       ids.ID
	// Interrupted says that an earlier attempt ended without a word (its node died, was stopped, or the handler
	// panicked): its effects are unknown. It stays set until an attempt reports.
	Interrupted bool
	StartedAt   time.Time

	excused int       // attempts before this one that do not count against the policy
	since   time.Time // when the lease was asked for, by the monotonic clock: it cannot have begun earlier
}

// counted is how many attempts have been used of those the policy allows, this one included.
func (t Task) counted() int { return t.Attempt - t.excused }

// Spec is a piece of work to be queued.
type Spec struct {
	OrgID       ids.ID
	ID          ids.ID // zero: made by Queue
	Queue       string // empty: default
	Kind        string
	Args        []byte // JSON; empty: {}
	SubjectType string
	SubjectID   ids.ID
	// After is how long from now, by the database's clock, the work is wanted. 0 is at once: the task is leased to this
	// node as it is queued.
	After time.Duration
}

// Outcomes of an attempt, as the history has them.
const (
	OutcomeSucceeded   = "succeeded"
	OutcomeFailed      = "failed"
	OutcomeSnoozed     = "snoozed"      // nothing went wrong; look again later. Does not count against the policy
	OutcomeTimedOut    = "timed_out"    // the handler did not end within the policy's Timeout
	OutcomeRateLimited = "rate_limited" // turned away by the other side. Does not count
	OutcomeInterrupted = "interrupted"  // this node had to stop. Does not count
	OutcomeLeaseLost   = "lease_lost"   // written by the node that took over from a dead one
)

// excuses tells whether an attempt with this outcome leaves the policy's count alone.
func excuses(outcome string) bool {
	return outcome == OutcomeSnoozed || outcome == OutcomeRateLimited || outcome == OutcomeInterrupted
}

// Completion ends an attempt: with the task finished (Done), or wanted again after Next.
type Completion struct {
	Task      Task
	Outcome   string // one of the Outcome constants
	ErrorCode string
	Detail    []byte        // JSON, for people
	Next      time.Duration // from the database's now; for Done, ignored
	Done      bool

	unclear bool // what the attempt did is not known
}
