package destinations

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Lesson is what a node has learned about one destination. There is at most one for each.
type Lesson struct {
	OrgID         ids.ID
	DestinationID ids.ID
	Delta
}

// hot
const lockStatesSQL = `
	select d.org_id, d.id, d.name, d.circuit_breaker, d.version, clock_timestamp(), ` + stateColumnList + `
	from unnest($1::uuid[], $2::uuid[]) with ordinality as w (org_id, id, n)
	join destination_state s on s.org_id = w.org_id and s.destination_id = w.id
	join destination d on d.org_id = s.org_id and d.id = s.destination_id
	order by w.n
	for no key update of s`

// Record adds what a node has learned to what all know, in a transaction of its own of two round trips, however many
// destinations it is about. Should the connection be lost while it commits, requests may be counted twice by a breaker.
func (d *Destinations) Record(ctx context.Context, lessons []Lesson) error {
	if len(lessons) == 0 {
		return nil
	}
	lessons = slices.Clone(lessons)
	slices.SortFunc(lessons, func(a, b Lesson) int {
		if c := ids.Compare(a.OrgID, b.OrgID); c != 0 {
			return c
		}
		return ids.Compare(a.DestinationID, b.DestinationID)
	})
	return d.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error { return d.record(ctx, tx, lessons) })
}

func (d *Destinations) record(ctx context.Context, tx postgres.Tx, lessons []Lesson) error {
	orgs, destinations := make([]ids.ID, len(lessons)), make([]ids.ID, len(lessons))
	for i, l := range lessons {
		orgs[i], destinations[i] = l.OrgID, l.DestinationID
	}
	rows, err := tx.Query(ctx, lockStatesSQL, orgs, destinations)
	if err != nil {
		return fmt.Errorf("lock the states of destinations: %w", err)
	}
	var now time.Time
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Destination, error) {
		var s stored
		into := append([]any{&s.d.OrgID, &s.d.ID, &s.d.Name, &s.breaker, &s.d.Version, &now}, s.stateFields()...)
		if err := row.Scan(into...); err != nil {
			return Destination{}, err
		}
		return s.withBreaker()
	})
	if err != nil {
		return fmt.Errorf("lock the states of destinations: %w", err)
	}
	now = now.UTC() // the latest: the rows are in the order in which they were locked
	var changed []Destination
	var changes []change
	var there []Lesson
	next := 0
	for i := range found {
		before, after := found[i], found[i]
		for lessons[next].DestinationID != after.ID || lessons[next].OrgID != after.OrgID {
			next++ // deleted
		}
		after.State = after.State.After(lessons[next].Delta, after.CircuitBreaker, after.Version, now)
		there = append(there, lessons[next])
		next++
		changed, changes = append(changed, after), append(changes, change{before, after})
	}
	if len(changed) == 0 {
		return nil // they were deleted
	}
	var b pgx.Batch
	queueStates(&b, changed)
	queueKeys(&b, there)
	if err := d.announce(&b, changes, now); err != nil {
		return err
	}
	return write(ctx, tx, &b, "write the states of destinations")
}
