package tasks

import (
	"encoding/json"
	"regexp"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Queue says how its tasks are dispatched. A queue that was never made has no limits.
type Queue struct {
	OrgID                   ids.ID          `json:"-"`
	ID                      ids.ID          `json:"-"` // for its events: requests name it
	Name                    string          `json:"name"`
	State                   string          `json:"state"` // one of the Queue constants
	PausedUntil             time.Time       `json:"paused_until,omitzero"`
	PauseReason             string          `json:"pause_reason,omitempty"`
	MaxDispatchesPerSecond  Rate            `json:"max_dispatches_per_second"`
	MaxBurstSize            int             `json:"max_burst_size"`            // dispatches at once, of at most a second's; see Rate.windows
	MaxConcurrentDispatches int             `json:"max_concurrent_dispatches"` // on all nodes together
	RetryConfig             json.RawMessage `json:"retry_config"`
	TaskTTLSeconds          int64           `json:"task_ttl_seconds"`      // a task that was not begun by then has expired
	TombstoneTTLSeconds     int64           `json:"tombstone_ttl_seconds"` // how long the name of a task stays taken after its end
	Version                 int64           `json:"version"`
	CreatedAt               time.Time       `json:"created_at"`
	UpdatedAt               time.Time       `json:"updated_at"`
}

// States of a queue.
const (
	QueueRunning  = "running"
	QueuePaused   = "paused"   // nothing is dispatched
	QueueDraining = "draining" // nothing is taken in
)

// QueueSettings are what people set of a queue. What is nil is left as it is, or gets its default.
type QueueSettings struct {
	MaxDispatchesPerSecond  *Rate
	MaxBurstSize            *int
	MaxConcurrentDispatches *int
	RetryConfig             []byte
	TaskTTLSeconds          *int64
	TombstoneTTLSeconds     *int64
}

// The defaults and bounds of a queue's settings.
const (
	dispatchesPerSecondDefault  = 50 * onePerSecond
	burstShare                  = 5 // a burst is a fifth of the rate
	concurrentDispatchesDefault = 100
	dispatchesPerSecondMost     = 100_000 * onePerSecond
	burstMost                   = 100_000
	concurrentDispatchesMost    = 100_000
	taskTTLDefault              = 31 * 24 * 3600
	taskTTLMost                 = 366 * 24 * 3600
	tombstoneTTLDefault         = 3600
	tombstoneTTLMost            = 31 * 24 * 3600
	pauseReasonBytesMax         = 500
	queueNamePattern            = `^[A-Za-z0-9-]{1,100}$`
)

// onto is the queue with the settings.
func (s QueueSettings) onto(q Queue) Queue {
	set(&q.MaxDispatchesPerSecond, s.MaxDispatchesPerSecond)
	set(&q.MaxBurstSize, s.MaxBurstSize)
	set(&q.MaxConcurrentDispatches, s.MaxConcurrentDispatches)
	set(&q.TaskTTLSeconds, s.TaskTTLSeconds)
	set(&q.TombstoneTTLSeconds, s.TombstoneTTLSeconds)
	if s.RetryConfig != nil {
		q.RetryConfig = s.RetryConfig
	}
	return q
}

// validate tells everything that is wrong with a queue. It writes the retry configuration out, so that it stays what it is when a
// default or a preset changes.
func (q *Queue) validate() error {
	var p problems
	whole, found := wholeRetry(q.RetryConfig)
	p = append(p, found...)
	q.RetryConfig = whole
	if !regexp.MustCompile(queueNamePattern).MatchString(q.Name) {
		p.add("name", "It has 1 to 100 letters, digits and hyphens.")
	}
	if q.MaxDispatchesPerSecond < 1 || q.MaxDispatchesPerSecond > dispatchesPerSecondMost {
		p.add("max_dispatches_per_second", "It must be between %s and %s.", Rate(1), dispatchesPerSecondMost)
	}
	p.between("max_burst_size", int64(q.MaxBurstSize), 1, burstMost)
	p.between("max_concurrent_dispatches", int64(q.MaxConcurrentDispatches), 1, concurrentDispatchesMost)
	p.between("task_ttl_seconds", q.TaskTTLSeconds, 1, taskTTLMost)
	p.between("tombstone_ttl_seconds", q.TombstoneTTLSeconds, 0, tombstoneTTLMost)
	return p.as(ErrQueueInvalid)
}

// wholeRetry is a retry configuration with all that it leaves out, or what is wrong with it.
func wholeRetry(raw []byte) ([]byte, []fault.Problem) {
	c, found, err := ReadRetry(raw, DefaultRetry())
	if err != nil {
		return nil, []fault.Problem{{Param: "retry_config", Detail: "It is not a retry configuration."}}
	}
	for i := range found {
		found[i].Param = "retry_config/" + found[i].Param
	}
	whole, err := json.Marshal(c)
	if err != nil {
		return nil, []fault.Problem{{Param: "retry_config", Detail: "It is not a retry configuration."}}
	}
	return whole, found
}

// EffectiveRate is how fast the queue dispatches now, at most.
func (q *Queue) EffectiveRate() Rate {
	if q.State == QueuePaused {
		return 0
	}
	return q.MaxDispatchesPerSecond
}

// windows are the queue's limits.
func (q *Queue) windows() []limits.Window {
	return append(q.MaxDispatchesPerSecond.windows(q.MaxBurstSize), limits.Window{Limit: int64(q.MaxConcurrentDispatches)})
}
