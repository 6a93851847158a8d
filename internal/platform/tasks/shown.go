package tasks

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The states of a task that has ended, as its last attempt tells. Those of one that has not are in task_live.
const (
	StateScheduled = "scheduled" // wanted later
	StateAvailable = "available" // may be begun as far as its time goes
	StateBlocked   = "blocked"   // an earlier one with its ordering key has not ended
	StateRunning   = "running"
	StateRetryable = "retryable" // an attempt has failed, or was put off; there will be another
	StateCompleted = "completed"
	StateCancelled = "cancelled"
	StateDiscarded = "discarded" // it has failed for good: there is a dead letter
	StateExpired   = "expired"   // so has this: it was too late to begin
)

// Shown is a task as people see it.
type Shown struct {
	OrgID          ids.ID
	ID             ids.ID
	Name           string
	Queue          string
	Destination    string
	Kind           string
	Args           []byte
	SubjectType    string
	SubjectID      string
	LimitKey       string
	Units          int
	OrderingKey    string
	FairnessKey    string
	FairnessWeight float32
	Priority       int
	ScheduledAt    time.Time // as it was asked for; zero: at once
	ExpiresAt      time.Time
	TimeoutSeconds int
	RetryConfig    []byte
	IdempotencyKey string
	TraceParent    string
	Tags           []string
	ReplayOf       ids.ID
	CreatedAt      time.Time

	State string // one of the State constants
	// DueAt is when the next attempt is wanted, of a running one when its lease ends; zero: the task has ended.
	DueAt         time.Time
	Attempts      int // begun
	Excused       int // those of them that do not count against the retry configuration
	FirstFailedAt time.Time
	LeasedBy      string
	LeasedAt      time.Time
	Cancelling    bool // it runs, and will be cancelled when the attempt ends
	EndedAt       time.Time
	Last          Attempt // the latest that has ended; Number 0: none has

	line, turn ids.ID
	place      time.Time // in its line, while it is available
}

// Attempt is one attempt that has ended.
type Attempt struct {
	Number     int
	Node       string
	StartedAt  time.Time
	FinishedAt time.Time
	Outcome    string // one of the Outcome constants
	ErrorCode  string
	Detail     []byte // JSON
	Status     int    // of HTTP; 0: none
	Exchange   []byte // request and answer as JSON, redacted and cut; nil: none
	NextDueAt  time.Time
}

// What shownTables joins: the task, its row while it has not ended, and its latest attempt that has.
const (
	shownColumns = `k.org_id, k.id, coalesce(k.name, ''), k.queue, coalesce(k.destination, ''), k.kind, k.args, coalesce(k.subject_type, ''),
		coalesce(k.subject_id, ''), coalesce(k.limit_key, ''), k.units, coalesce(k.ordering_key, ''), coalesce(k.fairness_key, ''),
		coalesce(k.fairness_weight, 1), k.priority, k.scheduled_at, k.expires_at, coalesce(k.timeout_seconds, 0), k.retry_config,
		coalesce(k.idempotency_key, ''), coalesce(k.traceparent, ''), k.tags, k.replay_of, k.created_at,
		` + shownState + `, l.due_at, coalesce(l.attempt, a.number, 0), coalesce(l.excused, 0), l.first_failed_at, coalesce(l.leased_by, ''),
		l.leased_at, coalesce(l.cancelled, false), l.line, l.turn, coalesce(a.number, 0), coalesce(a.node, ''), a.started_at, a.finished_at,
		coalesce(a.outcome, ''), coalesce(a.error_code, ''), a.detail, coalesce(a.status, 0), a.next_due_at`

	shownState = `coalesce(l.state, case a.outcome when 'succeeded' then 'completed' when 'cancelled' then 'cancelled' when 'expired' then 'expired'
			else 'discarded' end)`

	lastAttempt = `
	left join lateral (
		select h.number, h.node, h.started_at, h.finished_at, h.outcome, h.error_code, h.detail, h.status, h.next_due_at
		from task_attempt h
		where h.org_id = k.org_id and h.task_id = k.id
		order by h.number desc
		limit 1
	) a on true`

	// The limit keeps the planner from reading all of task_live for a few tasks.
	liveRow = `
	left join lateral (
		select ` + liveColumns + `
		from task_live l
		where l.org_id = k.org_id and l.task_id = k.id
		limit 1
	) l on true`

	shownTables = ` from task k` + liveRow + lastAttempt

	taskColumns = `k.org_id, k.id, k.name, k.queue, k.destination, k.kind, k.args, k.subject_type, k.subject_id, k.limit_key, k.units,
			k.ordering_key, k.fairness_key, k.fairness_weight, k.priority, k.scheduled_at, k.expires_at, k.timeout_seconds, k.retry_config,
			k.idempotency_key, k.traceparent, k.tags, k.replay_of, k.created_at`

	liveColumns = `l.state, l.due_at, l.attempt, l.excused, l.first_failed_at, l.leased_by, l.leased_at, l.cancelled, l.line, l.turn`
)

func scanShown(row pgx.CollectableRow) (Shown, error) {
	var s Shown
	var scheduled, expires, due, failed, leased, began, finished, next *time.Time
	var replayOf, line, turn *ids.ID
	err := row.Scan(&s.OrgID, &s.ID, &s.Name, &s.Queue, &s.Destination, &s.Kind, &s.Args, &s.SubjectType, &s.SubjectID, &s.LimitKey, &s.Units,
		&s.OrderingKey, &s.FairnessKey, &s.FairnessWeight, &s.Priority, &scheduled, &expires, &s.TimeoutSeconds, &s.RetryConfig,
		&s.IdempotencyKey, &s.TraceParent, &s.Tags, &replayOf, &s.CreatedAt,
		&s.State, &due, &s.Attempts, &s.Excused, &failed, &s.LeasedBy, &leased, &s.Cancelling, &line, &turn,
		&s.Last.Number, &s.Last.Node, &began, &finished, &s.Last.Outcome, &s.Last.ErrorCode, &s.Last.Detail, &s.Last.Status, &next)
	s.ScheduledAt, s.ExpiresAt, s.DueAt, s.FirstFailedAt, s.LeasedAt = momentOf(scheduled), momentOf(expires), momentOf(due), momentOf(failed), momentOf(leased)
	s.Last.StartedAt, s.Last.FinishedAt, s.Last.NextDueAt = momentOf(began), momentOf(finished), momentOf(next)
	s.CreatedAt, s.place = s.CreatedAt.UTC(), s.DueAt
	for _, id := range []struct {
		from *ids.ID
		into *ids.ID
	}{{replayOf, &s.ReplayOf}, {line, &s.line}, {turn, &s.turn}} {
		if id.from != nil {
			*id.into = *id.from
		}
	}
	if due == nil {
		s.EndedAt = s.Last.FinishedAt
	}
	if s.IdempotencyKey == "" {
		s.IdempotencyKey = ids.Format(Prefix, s.ID)
	}
	return s, err
}
