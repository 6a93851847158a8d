package schedules

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// RunNow queues a schedule's task at once, also when it is paused, and returns the task's id. It is refused as the task itself would
// be, such as by a queue that drains. It is no tick: those go on as they were. {{tick_at}} is now.
func (s *Schedules) RunNow(ctx context.Context, tx postgres.Tx, orgID, id ids.ID) (ids.ID, error) {
	c, err := s.Get(ctx, tx, orgID, id)
	if err != nil {
		return ids.ID{}, err
	}
	now, err := postgres.Now(ctx, tx)
	if err != nil {
		return ids.ID{}, err
	}
	if err := s.acceptable(ctx, tx, &c, now); err != nil {
		return ids.ID{}, err
	}
	taskID := s.source.New()
	spec, err := c.spec(taskID, now, time.Microsecond)
	if err != nil {
		return ids.ID{}, err
	}
	event, err := asked(&c, taskID)
	if err != nil {
		return ids.ID{}, err
	}
	var batch pgx.Batch
	s.tasks.EnqueueIn(&batch, []tasks.Spec{spec})
	s.events.Queue(&batch, []events.Event{event})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return ids.ID{}, fmt.Errorf("queue a schedule's task: %w", err)
	}
	return taskID, nil
}
