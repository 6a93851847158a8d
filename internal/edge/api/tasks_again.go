package api

import (
	"context"
	"net/http"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// ReplayTask answers POST /v1/tasks/{task_id}/replay.
func (s *Server) ReplayTask(ctx context.Context, r ReplayTaskRequestObject) (ReplayTaskResponseObject, error) {
	id, err := ids.Parse(tasks.Prefix, r.TaskID)
	if err != nil {
		return nil, tasks.ErrNotFound
	}
	return s.again(ctx, id, r.Body, s.deps.Tasks.ReplayTask)
}

// CancelTasks answers POST /v1/tasks/cancel.
func (s *Server) CancelTasks(ctx context.Context, r CancelTasksRequestObject) (CancelTasksResponseObject, error) {
	after, _, err := position(listOfCancellable, r.Body.Cursor, nil)
	if err != nil {
		return nil, err
	}
	f := r.Body.Filter
	if f == (TaskFilter{}) { // who means all of them says so, by the time
		return nil, invalid([]fault.Problem{{Param: "/filter", Detail: "must name one thing at least"}})
	}
	filter := tasks.Filter{
		State: string(valueOf(f.State)), Queue: valueOf(f.Queue), Destination: valueOf(f.Destination), SubjectType: valueOf(f.SubjectType),
		SubjectID: valueOf(f.SubjectID), Tag: valueOf(f.Tag), CreatedFrom: moment(f.CreatedFrom), CreatedTo: moment(f.CreatedTo),
	}
	preview := isTrue(r.Body.DryRun)
	cancel := func(ctx context.Context, tx postgres.Tx) (any, error) {
		c, err := s.deps.Tasks.CancelMany(ctx, tx, org(ctx), filter, after, preview)
		return showCancelling(&c), err
	}
	if !preview {
		return s.once(ctx, http.StatusOK, cancel)
	}
	shown, err := cancel(ctx, s.deps.DB.Pool())
	if err != nil {
		return nil, err
	}
	return ok(encoded(shown)), nil
}

// shownCancelling is a TasksCancelled of the contract.
type shownCancelling struct {
	Cancelled  int      `json:"cancelled"`
	Cancelling int      `json:"cancelling"`
	NextCursor nullable `json:"next_cursor"`
}

func showCancelling(c *tasks.Cancelling) shownCancelling {
	return shownCancelling{c.Cancelled, c.Running, nullable(c.Next.Encode(listOfCancellable))}
}

// ListReplays answers GET /v1/replays.
func (s *Server) ListReplays(ctx context.Context, r ListReplaysRequestObject) (ListReplaysResponseObject, error) {
	after, limit, err := position(listOfReplays, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Tasks.Replays(ctx, s.deps.DB.Pool(), org(ctx), after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showReplay(&list[i]))...) }, next, listOfReplays), nil
}
