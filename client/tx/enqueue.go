package tx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Kontor queues the tasks of an organisation. Make one with New and share it: tasks with an ordering key are done in the order in
// which one Kontor queued them. Safe for concurrent use.
type Kontor struct {
	organisation string
	id           atomic.Pointer[ids.ID] // of the organisation, once it was found
	outside      *tasks.Outside
}

// New makes a Kontor for the organisation of that name: "default", unless your keys were made for another. It connects to
// nothing.
func New(organisation string) *Kontor {
	return &Kontor{organisation: organisation, outside: tasks.NewOutside(ids.NewSource(clock.System))}
}

// TasksMax is how many tasks one call takes.
const TasksMax = 10_000

// Errors of a call as a whole; of a single task it is a *Refused.
var (
	ErrOrganisation  = errors.New("the organisation is not known")
	ErrTooMany       = errors.New("too many tasks for one call")
	ErrNoTransaction = errors.New("the connection is not in a transaction")
	ErrNotPgx        = errors.New("the connection is not one of pgx's stdlib")
)

// Enqueued is what became of a task.
type Enqueued struct {
	ID string // tsk_…
	// Deduplicated says that nothing was queued: ID is of the task that has the name or the unique key.
	Deduplicated bool
}

// Refused says why a task cannot be queued. Nothing of its list was written, and the transaction is as it was.
type Refused struct {
	Index  int    // of the task in the list
	Code   string // stable, such as queue_not_found
	Param  string // what of the task is at fault; may be empty
	Detail string // a sentence for people
}

// Error implements error.
func (r *Refused) Error() string {
	at := fmt.Sprintf("task %d", r.Index)
	if r.Param != "" {
		at += ", " + r.Param
	}
	return fmt.Sprintf("%s: %s: %s", at, r.Code, r.Detail)
}

// Enqueue queues all of the tasks in the transaction, one Enqueued each, in order, or none and says why. It takes a handful of
// statements however many tasks there are. It works in every mode in which pgx sends statements, and behind a pooler. After any
// error but a *Refused, roll back.
func (k *Kontor) Enqueue(ctx context.Context, db pgx.Tx, list []Task) ([]Enqueued, error) {
	return k.enqueue(ctx, db, list)
}

// EnqueueSQL is Enqueue for database/sql with pgx's stdlib as its driver: on a connection taken with (*sql.DB).Conn, on which a
// transaction was begun. Commit that as always.
func (k *Kontor) EnqueueSQL(ctx context.Context, conn *sql.Conn, list []Task) (queued []Enqueued, err error) {
	err = conn.Raw(func(driver any) error {
		own, ok := driver.(*stdlib.Conn)
		switch {
		case !ok:
			return fmt.Errorf("%w: it is a %T", ErrNotPgx, driver)
		case own.Conn().PgConn().TxStatus() == idle:
			return ErrNoTransaction
		}
		queued, err = k.enqueue(ctx, own.Conn(), list)
		return err
	})
	return queued, err
}

// idle is the status of a connection without a transaction.
const idle = 'I'

func (k *Kontor) enqueue(ctx context.Context, db connection, list []Task) ([]Enqueued, error) {
	if len(list) > TasksMax {
		return nil, fmt.Errorf("%w: %d; %d are the most", ErrTooMany, len(list), TasksMax)
	}
	if len(list) == 0 {
		return []Enqueued{}, nil
	}
	tx := plain{db}
	org, err := k.find(ctx, tx)
	if err != nil {
		return nil, err
	}
	specs := make([]tasks.Spec, len(list))
	for i := range list {
		if specs[i], err = list[i].spec(org); err != nil {
			return nil, refused(i, err)
		}
	}
	queued, at, err := k.outside.Create(ctx, tx, specs)
	if err != nil {
		return nil, refused(at, err)
	}
	out := make([]Enqueued, len(queued))
	for i := range queued {
		out[i] = Enqueued{ID: ids.Format(tasks.Prefix, queued[i].ID), Deduplicated: queued[i].Deduplicated}
	}
	return out, nil
}

// find looks the organisation up, once: it keeps its id.
func (k *Kontor) find(ctx context.Context, tx plain) (ids.ID, error) {
	if known := k.id.Load(); known != nil {
		return *known, nil
	}
	id, err := access.FindOrganisation(ctx, tx, k.organisation)
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return id, fmt.Errorf("%w: %q: %s", ErrOrganisation, k.organisation, f.Detail)
	}
	if err != nil {
		return id, err
	}
	k.id.Store(&id)
	return id, nil
}

// refused makes a fault with a task what callers can take apart; any other error stays what it is.
func refused(index int, err error) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return err
	}
	return &Refused{Index: index, Code: f.Code, Param: f.Param, Detail: f.Detail}
}
