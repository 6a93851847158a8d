package schedules

import (
	"bytes"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// spec is the task of a tick. after keeps a task from being leased to this node as it is queued, where nobody can
// hand it to the node after the commit.
func (s *Schedule) spec(taskID ids.ID, at time.Time, after time.Duration) tasks.Spec {
	kind, args := s.Task.Kind, []byte(s.Task.Args)
	if kind == "" {
		kind, args = tasks.KindHTTP, s.Task.HTTPRequest
	}
	return tasks.Spec{
		OrgID: s.OrgID, ID: taskID, Queue: s.Task.Queue, Destination: s.Task.Destination, Kind: kind, Args: s.fill(args, at),
		SubjectType: aggregate, SubjectID: ids.Format(Prefix, s.ID), After: after,
	}
}

// fill puts the tick in the place of the words that stand for it. What it puts in needs no escapes in JSON.
func (s *Schedule) fill(document []byte, at time.Time) []byte {
	document = bytes.ReplaceAll(document, []byte("{{tick_at}}"), []byte(at.UTC().Format(time.RFC3339)))
	return bytes.ReplaceAll(document, []byte("{{schedule_id}}"), []byte(ids.Format(Prefix, s.ID)))
}
