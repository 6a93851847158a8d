package simulate

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// quietPatience bounds the wait until all is quiet.
const quietPatience = 3 * time.Minute

const openSQL = `
	select
		(select count(*) from payment p where p.org_id = $1 and p.status in ('processing', 'unknown')),
		(select count(*) from payment_attempt a where a.org_id = $1 and a.state in ('processing', 'unknown')),
		(select count(*) from task_live l where l.org_id = $1)`

// stillOpen is what is not final yet.
type stillOpen struct{ Payments, Attempts, Tasks int64 }

func (o stillOpen) any() bool { return o != stillOpen{} }

func (s *simulation) open(ctx context.Context) (stillOpen, error) {
	rows, err := s.db.Pool().Query(ctx, openSQL, s.org)
	if err != nil {
		return stillOpen{}, fmt.Errorf("count what is not final: %w", err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[stillOpen])
	if err != nil {
		return stillOpen{}, fmt.Errorf("count what is not final: %w", err)
	}
	return o, nil
}

// settle waits until every payment is final, no task is left and the last late webhook is delivered. The provider goes on
// misbehaving meanwhile. When the patience is over, what is stuck is found wrong, by name.
func (s *simulation) settle(ctx context.Context) error {
	const every = 100 * time.Millisecond
	s.Progress.Begin("waiting until all is quiet", 0)
	began := clock.System()
	for {
		o, err := s.open(ctx)
		if err != nil {
			return err
		}
		waiting := s.witness.summary().Webhooks.Waiting
		if !o.any() && waiting == 0 {
			return nil
		}
		s.Progress.Note("%d payments, %d tasks, %d webhooks", o.Payments, o.Tasks, waiting)
		if clock.System().Sub(began) > quietPatience {
			return s.nameStuck(ctx, o, waiting)
		}
		if !pause(ctx, every) {
			return ctx.Err()
		}
	}
}

const stuckTasksSQL = `
	select l.task_id, k.kind, k.subject_id, l.attempt, extract(epoch from l.due_at - now())::double precision, coalesce(l.leased_by, '')
	from task_live l
	join task k on k.org_id = l.org_id and k.id = l.task_id
	where l.org_id = $1
	order by l.task_id
	limit 20`

const stuckAttemptsSQL = `
	select p.id, p.status, a.id, a.kind, a.state
	from payment_attempt a
	join payment p on p.org_id = a.org_id and p.id = a.payment_id
	where a.org_id = $1 and a.state in ('processing', 'unknown')
	order by a.payment_id
	limit 20`

func (s *simulation) nameStuck(ctx context.Context, o stillOpen, webhooks int64) error {
	s.findings.add("not quiet after %s: %d payments, %d attempts and %d tasks are not final, %d webhooks are not delivered",
		quietPatience, o.Payments, o.Attempts, o.Tasks, webhooks)
	rows, err := s.db.Pool().Query(ctx, stuckTasksSQL, s.org)
	if err != nil {
		return fmt.Errorf("name the tasks that are stuck: %w", err)
	}
	type stuckTask struct {
		ID       ids.ID
		Kind     string
		Subject  ids.ID
		Attempt  int
		Due      float64
		LeasedBy string
	}
	tasks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stuckTask])
	if err != nil {
		return fmt.Errorf("name the tasks that are stuck: %w", err)
	}
	for _, t := range tasks {
		s.findings.add("stuck: %s (%s) for %s, attempt %d, due in %.1f s, leased by %q",
			ids.Format("tsk", t.ID), t.Kind, ids.Format("pay", t.Subject), t.Attempt, t.Due, t.LeasedBy)
	}
	if rows, err = s.db.Pool().Query(ctx, stuckAttemptsSQL, s.org); err != nil {
		return fmt.Errorf("name the attempts that are stuck: %w", err)
	}
	var payment, attempt ids.ID
	var status, kind, state string
	_, err = pgx.ForEachRow(rows, []any{&payment, &status, &attempt, &kind, &state}, func() error {
		s.findings.add("stuck: %s is %s, its %s %s is %s", ids.Format("pay", payment), status, kind, ids.Format("att", attempt), state)
		return nil
	})
	if err != nil {
		return fmt.Errorf("name the attempts that are stuck: %w", err)
	}
	return nil
}
