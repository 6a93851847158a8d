package destinations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// hot
const reserveSQL = `
	select w.n
	from unnest($1::uuid[], $2::text[]) with ordinality as w (org_id, name, n)
	join destination d on d.org_id = w.org_id and d.name = w.name
	order by d.org_id, d.id
	for key share of d`

// Reserve tells which of the destinations there are, and keeps those from being deleted until the transaction has ended: whoever
// queues a task for one does so first.
func (d *Destinations) Reserve(ctx context.Context, tx postgres.Tx, refs []Ref) ([]bool, error) {
	there := make([]bool, len(refs))
	if len(refs) == 0 {
		return there, nil
	}
	orgs, names := make([]ids.ID, len(refs)), make([]string, len(refs))
	for i, ref := range refs {
		orgs[i], names[i] = ref.OrgID, ref.Name
	}
	rows, err := tx.Query(ctx, reserveSQL, orgs, names)
	if err != nil {
		return nil, fmt.Errorf("look for destinations: %w", err)
	}
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&n}, func() error { there[n-1] = true; return nil }); err != nil {
		return nil, fmt.Errorf("look for destinations: %w", err)
	}
	return there, nil
}
