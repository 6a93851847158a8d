package tasks

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// Outside queues tasks in the transactions of programs that are no node: it has no database, no leases and no handlers of its
// own. Nodes find the tasks after the commit. Safe for concurrent use.
type Outside struct {
	tasks Tasks // never run: it leases nothing, and asks its destinations for nothing but those that a transaction sees
}

// NewOutside makes an Outside. The ids of one source rise, and tasks with an ordering key are done in the order of their ids.
func NewOutside(source *ids.Source) *Outside {
	o := &Outside{tasks: Tasks{cfg: Config{Node: "outside"}, source: source, destinations: &destinations.Destinations{}}}
	o.tasks.metrics = newMetrics(prometheus.NewRegistry(), &o.tasks) // which nobody reads
	return o
}

// Create queues all of the specs or none, one Enqueued each, in order. The first that cannot be queued is told by its place, with a
// fault that says why; then nothing was written.
func (o *Outside) Create(ctx context.Context, tx postgres.Tx, specs []Spec) (queued []Enqueued, refused int, err error) {
	accepted, refusals, err := o.tasks.accept(ctx, tx, specs)
	if err != nil {
		return nil, 0, err
	}
	for i, refusal := range refusals {
		if refusal != nil {
			return nil, i, refusal
		}
	}
	choosy := slices.ContainsFunc(specs, func(s Spec) bool { return s.OnConflict == OnConflictError || s.OnConflict == OnConflictReplace })
	if choosy { // whether the keys are free is known once others have been taken
		if _, err := tx.Exec(ctx, savepointSQL); err != nil {
			return nil, 0, fmt.Errorf("set a savepoint: %w", err)
		}
	}
	if queued, err = o.tasks.EnqueueTx(ctx, tx, accepted); err != nil || !choosy {
		return queued, 0, err
	}
	conflict := slices.IndexFunc(queued, func(e Enqueued) bool { return e.Conflict != nil })
	if conflict >= 0 {
		if _, err := tx.Exec(ctx, undoSQL); err != nil {
			return nil, 0, fmt.Errorf("go back to a savepoint: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, releaseSQL); err != nil {
		return nil, 0, fmt.Errorf("release a savepoint: %w", err)
	}
	if conflict >= 0 {
		return nil, conflict, queued[conflict].Conflict
	}
	return queued, 0, nil
}

const (
	savepointSQL = `savepoint kontor_create`
	undoSQL      = `rollback to savepoint kontor_create`
	releaseSQL   = `release savepoint kontor_create`
)
