package schedules

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const (
	queueUserSQL       = `select s.name from schedule s where s.org_id = $1 and s.queue = $2 order by s.id limit 1`
	destinationUserSQL = `select s.name from schedule s where s.org_id = $1 and s.destination = $2 order by s.id limit 1`
)

// SpareQueue refuses the deletion of a queue that a schedule uses, also one that is paused: its tasks would have no limits. Ask it with
// the queue locked: who makes or changes a schedule locks its queue too, and comes before or after. The queue default is there for
// all, also without settings.
func (s *Schedules) SpareQueue(ctx context.Context, tx postgres.Tx, orgID ids.ID, queue string) error {
	if queue == tasks.DefaultQueue {
		return nil
	}
	schedule, err := userOf(ctx, tx, queueUserSQL, orgID, queue)
	if err != nil || schedule == "" {
		return err
	}
	return fault.New(fault.Conflict, "queue_in_use", "The schedule %s uses the queue. Give it another, or delete the schedule first.", schedule)
}

// SpareDestination is SpareQueue for a destination: its schedule's tasks would all fail.
func (s *Schedules) SpareDestination(ctx context.Context, tx postgres.Tx, orgID ids.ID, destination string) error {
	schedule, err := userOf(ctx, tx, destinationUserSQL, orgID, destination)
	if err != nil || schedule == "" {
		return err
	}
	return fault.New(fault.Conflict, "destination_in_use", "The schedule %s uses the destination. Give it another, or delete the schedule first.", schedule)
}

// userOf names a schedule that uses what is to be deleted; empty: none does.
func userOf(ctx context.Context, tx postgres.Tx, sql string, orgID ids.ID, name string) (schedule string, err error) {
	err = tx.QueryRow(ctx, sql, orgID, name).Scan(&schedule)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for a schedule that uses %s: %w", name, err)
	}
	return schedule, nil
}
