package tasks

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Queue says how its tasks are dispatched. A queue that was never made has no limits.
type Queue struct {
	OrgID                   ids.ID
	Name                    string
	State                   string // one of the Queue constants
	PausedUntil             time.Time
	PauseReason             string
	MaxDispatchesPerSecond  int
	MaxBurstSize            int    // dispatches at once: within MaxBurstSize/MaxDispatchesPerSecond seconds
	MaxConcurrentDispatches int    // on all nodes together
	RetryConfig             []byte // JSON
	TaskTTLSeconds          int64  // a task that was not begun by then has expired
	TombstoneTTLSeconds     int64  // how long the name of a task stays taken after its end
	Version                 int64
	CreatedAt, UpdatedAt    time.Time
}

// States of a queue.
const (
	QueueRunning  = "running"
	QueuePaused   = "paused"   // nothing is dispatched
	QueueDraining = "draining" // nothing is taken in
)

// windows are the queue's limits.
func (q *Queue) windows() []limits.Window {
	windows := []limits.Window{
		{Limit: int64(q.MaxConcurrentDispatches)},
		{Limit: int64(q.MaxDispatchesPerSecond), Period: time.Second},
	}
	if q.MaxBurstSize < q.MaxDispatchesPerSecond {
		period := time.Duration(q.MaxBurstSize) * time.Second / time.Duration(q.MaxDispatchesPerSecond)
		windows = append(windows, limits.Window{Limit: int64(q.MaxBurstSize), Period: period})
	}
	return windows
}
