package limits

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// State is a key as the database knows it: at most one refresh old.
type State struct {
	Version int64
	At      time.Time // by the database's clock
	Windows []WindowState
}

// WindowState is where the slots of a window are.
type WindowState struct {
	Window
	Leased  int64     // held by nodes
	Busy    int64     // of those, in use or not free again yet
	Cooling int64     // used, and free again later, without a node
	FreeAt  time.Time // when the next slot that no node holds is free again; zero where there is none
	Nodes   []NodeState
}

// NodeState is a node's part in a window.
type NodeState struct {
	Node             string
	Held, Busy, Want int64
	EndsAt           time.Time // of the lease; after it, what is held counts as used until the period is over
}

const stateSQL = `
	select k.version, k.periods, k.limits, statement_timestamp()
	from limit_key k
	where k.org_id = $1 and k.name = $2`

// State reads a key for people. Of a key that nobody uses there is the definition alone, where this node knows it; else
// ErrUndefined.
func (l *Limits) State(ctx context.Context, name Key) (State, error) {
	orgs, names := []ids.ID{name.OrgID}, []string{name.Name}
	out := make([]record, 1)
	var batch pgx.Batch
	batch.Queue(stateSQL, name.OrgID, name.Name).Query(func(rows pgx.Rows) error {
		r := &out[0]
		var periods, limits []int64
		_, err := pgx.ForEachRow(rows, []any{&r.version, &periods, &limits, &r.at}, func() error {
			r.found, r.windows = true, windowsOf(periods, limits)
			return nil
		})
		return err
	})
	queueReads(&batch, out, orgs, names)
	if err := l.db.Pool().SendBatch(ctx, &batch).Close(); err != nil {
		return State{}, fmt.Errorf("read a limit: %w", err)
	}
	r := out[0]
	q, known := l.elsewhere(name)
	if known && (!r.found || q.version > r.version) {
		r.version, r.windows = q.version, q.windows
	}
	if !r.found && !known {
		return State{}, ErrUndefined
	}
	state := State{Version: r.version, At: r.at}
	for _, w := range r.windows {
		state.Windows = append(state.Windows, r.stateOf(w))
	}
	return state, nil
}

func (r *record) stateOf(w Window) WindowState {
	s := r.standing(w)
	seen := look(ids.ID{}, w.Period, s)
	out := WindowState{Window: w, Cooling: s.cooling, FreeAt: seen.freeAt}
	for _, l := range s.leases {
		if l.overAt(w.Period).After(s.at) {
			out.Leased, out.Busy = out.Leased+l.held, out.Busy+l.busy
			out.Nodes = append(out.Nodes, NodeState{Node: l.node, Held: l.held, Busy: l.busy, Want: l.want, EndsAt: l.endsAt})
		}
	}
	slices.SortFunc(out.Nodes, func(a, b NodeState) int { return int(b.Held - a.Held) })
	return out
}
