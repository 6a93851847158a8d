package tasks

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Prefix is that of task ids as people see them.
const Prefix = "tsk"

// Task is one attempt at a piece of work, as its handler gets it. Lease is the fence: only its holder can finish.
type Task struct {
	OrgID          ids.ID
	ID             ids.ID
	Queue          string
	Destination    string // empty: none
	LimitKey       string
	FairnessKey    string
	Kind           string
	Args           []byte // JSON
	SubjectType    string
	SubjectID      string
	Units          int
	IdempotencyKey string // the same for every attempt
	TraceParent    string
	Attempt        int // the attempt's number in the history, from 1
	Lease          ids.ID
	// Interrupted says that an earlier attempt ended without a word (its node died, was stopped, the handler panicked, or
	// the other side's answer was lost): its effects are unknown. It stays set until an attempt reports.
	Interrupted bool

	line         ids.ID
	weight       float64 // of its line
	turn         ids.ID  // of its queue and ordering key; zero: it has none
	grant        *grant
	excused      int           // attempts before this one that do not count against the policy
	rateLimited  int           // those of them that the other side turned away
	lost         int           // leases lost, one after the other
	sinceFailure time.Duration // since the first failure; 0: none yet
	expired      bool
	timeout      time.Duration // of one attempt; 0: as its kind says
	retry        []byte        // its own retry configuration, as JSON
	wantedAt     time.Time     // this attempt, by the database's clock; zero: at once
	told         told          // what is only known of an attempt that sends a request
	since        time.Time     // when the lease was asked for, by the monotonic clock: it cannot have begun earlier
	waited       time.Duration // before that, for a node to take it
	figures      *queueFigures
}

// counted is how many attempts have been used of those the policy allows, this one included.
func (t Task) counted() int { return t.Attempt - t.excused }

// Spec is a piece of work to be queued. Zero fields take the defaults named beside them.
type Spec struct {
	OrgID       ids.ID
	ID          ids.ID // made when it is queued
	Queue       string // default
	Destination string // none
	Kind        string
	Args        []byte // JSON; {}
	SubjectType string // what the work is about, for people and for searching
	SubjectID   string
	// After is how long from now, by the database's clock, the work is wanted; At, when it is set, is the moment itself. With
	// neither it is wanted at once: where nothing stands in the way the task is leased to this node as it is queued.
	After time.Duration
	At    time.Time

	Priority       int     // 1 to 4, 1 first; 1
	LimitKey       string  // which of the destination's limits by key it counts against
	Units          int     // how much of a limit one attempt uses; 1
	FairnessKey    string  // those with different keys take turns: a tenant, say
	FairnessWeight float32 // its share among them; 1
	OrderingKey    string  // those with the same key are done one at a time, in order

	// Name and UniqueKey keep a second task like it from being queued: a name while the task lives and for Tombstone after; a
	// unique key while the task lives, or, with UniqueFor, for that long from now. One of them at most.
	Name      string
	Tombstone time.Duration
	UniqueKey string
	UniqueFor time.Duration
	// OnConflict is what to do where another task has the name or the unique key: one of the OnConflict constants; OnConflictReturn.
	OnConflict string

	// ExpiresAt is when it is too late to begin an attempt. ExpiresAfter says the same from when the work is wanted on, by the
	// database's clock; it counts where there is no ExpiresAt. With neither it is never too late.
	ExpiresAt    time.Time
	ExpiresAfter time.Duration

	Timeout        time.Duration
	Retry          []byte // retry configuration as JSON; the queue's, else the kind's
	IdempotencyKey string // the task's id
	TraceParent    string
	Tags           []string
	ReplayOf       ids.ID
}

// Outcomes of an attempt, as the history has them.
const (
	OutcomeSucceeded   = "succeeded"
	OutcomeFailed      = "failed"
	OutcomeSnoozed     = "snoozed"      // nothing went wrong; look again later. Does not count against the policy
	OutcomeTimedOut    = "timed_out"    // the handler did not end within the policy's Timeout
	OutcomeUnknown     = "unknown"      // it may have happened: the answer was lost
	OutcomeRateLimited = "rate_limited" // turned away by the other side. Does not count
	OutcomeHeld        = "held"         // the destination was closed before anything was sent. Does not count
	OutcomeInterrupted = "interrupted"  // this node had to stop. Does not count
	OutcomeLeaseLost   = "lease_lost"   // written by the node that took over from a dead one
	OutcomeCancelled   = "cancelled"    // somebody wanted it no more; no attempt was made
	OutcomeExpired     = "expired"      // it was too late for another attempt; none was made
)

// excuses tells whether an attempt with this outcome leaves the policy's count alone.
func excuses(outcome string) bool {
	switch outcome {
	case OutcomeSnoozed, OutcomeRateLimited, OutcomeHeld, OutcomeInterrupted:
		return true
	default:
		return false
	}
}

// Completion ends an attempt: with the task finished (Done), or wanted again after Next.
type Completion struct {
	Task      Task
	Outcome   string // one of the Outcome constants
	ErrorCode string
	Detail    []byte        // JSON, for people
	Status    int           // HTTP status of the answer; 0: none
	Exchange  []byte        // request and answer as JSON, redacted; nil: none
	Next      time.Duration // from the database's now; for Done, ignored
	Done      bool
	Dead      string // why it has failed for good, one of the Dead constants; empty: it has not

	unclear bool // what the attempt did is not known
}

// Why a task has failed for good.
const (
	DeadMaxAttempts      = "max_attempts"
	DeadMaxRetryDuration = "max_retry_duration"
	DeadMaxRateLimited   = "max_rate_limited"
	DeadNonRetryable     = "non_retryable"
	DeadExpired          = "expired"
	DeadPoison           = "poison" // its nodes died of it, one after the other
)

// line is what tasks are claimed from: those of one queue, destination, limit key and fairness key that use the same number of
// units of a limit. All of a line's tasks wait for the same things.
type line struct {
	org                                       ids.ID
	queue, destination, limitKey, fairnessKey string
	units                                     int
}

// id names the line. The migration of the first tasks makes the same.
func (l line) id() ids.ID {
	return hashed(l.org, l.units, l.queue, l.destination, l.limitKey, l.fairnessKey)
}

// turnOf names the tasks of a queue that have an ordering key.
func turnOf(org ids.ID, queue, orderingKey string) ids.ID { return hashed(org, 1, queue, orderingKey) }

func hashed(org ids.ID, number int, parts ...string) ids.ID {
	text := make([]byte, 0, 128)
	text = append(text, org[:]...)
	for _, part := range parts {
		text = binary.BigEndian.AppendUint32(text, uint32(len(part)))
		text = append(text, part...)
	}
	text = binary.BigEndian.AppendUint32(text, uint32(number))
	sum := sha256.Sum256(text)
	return ids.ID(sum[:16])
}

func (t *Task) lineOf() line {
	return line{t.OrgID, t.Queue, t.Destination, t.LimitKey, t.FairnessKey, t.Units}
}

// unused gives back what the task may use of limits: it was not begun.
func (t *Task) unused() {
	if t.grant != nil {
		t.grant.Unused()
	}
}
