package destinations

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The columns in the order of stored.fields.
const (
	settingsColumns = `d.org_id, d.id, d.name, d.base_url, d.auth, d.rate_limits, d.max_concurrent_dispatches, d.timeout_seconds,
		d.circuit_breaker, d.classifier, d.redact, d.allow_private_networks, d.allow_absolute_urls, d.max_response_bytes, d.tls,
		d.cloud_tasks_headers, d.version, d.created_at, d.updated_at`
	stateColumnList = `s.revision, s.paused, s.paused_until, s.pause_reason, s.limited_until, s.auth_held_at, s.auth_mark, s.breaker,
		s.breaker_spell, s.breaker_window_at, s.breaker_requests, s.breaker_failures, s.breaker_open_until, s.breaker_openings,
		s.breaker_successes, s.learned_permille, s.learned_at, s.learned_ceiling, s.learned_ceiling_at, s.last_error`
)

const (
	getSQL = `
	select ` + settingsColumns + `, ` + stateColumnList + `
	from destination d
	join destination_state s on s.org_id = d.org_id and s.destination_id = d.id
	where d.org_id = $1 and d.name = $2`

	lockSQL = getSQL + `
	for no key update of d, s`

	listSQL = `
	select ` + settingsColumns + `, ` + stateColumnList + `
	from destination d
	join destination_state s on s.org_id = d.org_id and s.destination_id = d.id
	where d.org_id = $1 and d.id > $2
	order by d.id
	limit $3`
)

// Get reads a destination. Like every read here it takes a transaction, or the pool.
func (d *Destinations) Get(ctx context.Context, tx postgres.Tx, orgID ids.ID, name string) (Destination, error) {
	if err := d.hear(ctx, tx); err != nil {
		return Destination{}, err
	}
	rows, err := tx.Query(ctx, getSQL, orgID, name)
	if err != nil {
		return Destination{}, fmt.Errorf("read a destination: %w", err)
	}
	list, err := collect(rows)
	switch {
	case err != nil:
		return Destination{}, fmt.Errorf("read a destination: %w", err)
	case len(list) == 0:
		return Destination{}, ErrNotFound
	}
	return list[0], nil
}

// listMax bounds a page.
const listMax = 1000

// List reads an organisation's destinations in the order in which they were made, after a given one.
func (d *Destinations) List(ctx context.Context, tx postgres.Tx, orgID, after ids.ID, limit int) ([]Destination, error) {
	if err := d.hear(ctx, tx); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, listSQL, orgID, after, min(max(limit, 1), listMax))
	if err != nil {
		return nil, fmt.Errorf("list the destinations: %w", err)
	}
	list, err := collect(rows)
	if err != nil {
		return nil, fmt.Errorf("list the destinations: %w", err)
	}
	return list, nil
}

// lock reads a destination that the transaction is about to change, and then the database's clock.
func (d *Destinations) lock(ctx context.Context, tx postgres.Tx, orgID ids.ID, name string) (Destination, time.Time, error) {
	var found []Destination
	var now time.Time
	var batch pgx.Batch
	batch.Queue(lockSQL, orgID, name).Query(func(rows pgx.Rows) (err error) {
		found, err = collect(rows)
		return err
	})
	postgres.QueueNow(&batch, &now)
	err := tx.SendBatch(ctx, &batch).Close()
	switch {
	case err != nil:
		return Destination{}, now, fmt.Errorf("lock a destination: %w", err)
	case len(found) == 0:
		return Destination{}, now, ErrNotFound
	}
	d.registry.clock.set(now)
	return found[0], now, nil
}

// write sends a batch of statements.
func write(ctx context.Context, tx postgres.Tx, b *pgx.Batch, doing string) error {
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
