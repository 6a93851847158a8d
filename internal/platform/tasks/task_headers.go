package tasks

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The headers that tell the other side which task it has before it, after their prefix.
const (
	headerQueueName        = "QueueName"
	headerTaskName         = "TaskName"
	headerRetryCount       = "TaskRetryCount"
	headerExecutionCount   = "TaskExecutionCount"
	headerETA              = "TaskETA"
	headerPreviousResponse = "TaskPreviousResponse"
	headerRetryReason      = "TaskRetryReason"
)

// The prefixes: our own, and that of Google's Cloud Tasks, whose names and meanings these are.
const (
	kontorPrefix     = "X-Kontor-"
	cloudTasksPrefix = "X-CloudTasks-"
)

// told is what the headers of an attempt say and the attempt itself does not have: what people call its task, and how the attempt before
// it ended.
type told struct {
	name    string
	status  int    // of the answer; 0: there was none
	reason  string // a word
	another bool   // there was an attempt before it
}

// hot
const toldSQL = `
	select coalesce(k.name, ''), coalesce(p.status, 0), coalesce(p.error_code, p.outcome, ''), p.outcome is not null
	from task k
	left join task_attempt p on p.org_id = k.org_id and p.task_id = k.id and p.number = $3 - 1
	where k.org_id = $1 and k.id = $2`

// readTold reads what the headers of an attempt say. A first attempt needs it only where the task's name is told.
func readTold(ctx context.Context, tx postgres.Tx, t *Task) (w told, err error) {
	if err := tx.QueryRow(ctx, toldSQL, t.OrgID, t.ID, t.Attempt).Scan(&w.name, &w.status, &w.reason, &w.another); err != nil {
		return w, fmt.Errorf("read what came before an attempt: %w", err)
	}
	return w, nil
}

// headers tell the other side which task it has before it, as Cloud Tasks does; under its names too, where that is wanted: there the
// task is called as whoever queued it has called it.
func (t *Task) headers(w told, cloudTasks bool) http.Header {
	said := map[string]string{
		headerQueueName:      t.Queue,
		headerTaskName:       ids.Format(Prefix, t.ID),
		headerRetryCount:     strconv.Itoa(t.Attempt - 1),
		headerExecutionCount: strconv.Itoa(t.counted() - 1),
	}
	if !t.wantedAt.IsZero() {
		said[headerETA] = sinceEpoch(t.wantedAt)
	}
	if w.another {
		said[headerRetryReason] = w.reason
	}
	if w.status != 0 {
		said[headerPreviousResponse] = strconv.Itoa(w.status)
	}
	out := http.Header{}
	for name, value := range said {
		out.Set(kontorPrefix+name, value)
		if cloudTasks {
			out.Set(cloudTasksPrefix+name, value)
		}
	}
	if cloudTasks && w.name != "" {
		out.Set(cloudTasksPrefix+headerTaskName, w.name)
	}
	return out
}

// sinceEpoch writes a moment as Cloud Tasks does: since 1970, with its microseconds.
func sinceEpoch(at time.Time) string {
	return fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/int(time.Microsecond))
}
