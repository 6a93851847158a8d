package destinations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Create describes a new destination. What is left out of Settings gets its default.
type Create struct {
	OrgID ids.ID
	Name  string
	Settings
}

const insertSQL = `
	with made as (
		insert into destination (org_id, id, name, base_url, auth, rate_limits, max_concurrent_dispatches, timeout_seconds,
			circuit_breaker, classifier, redact, allow_private_networks, allow_absolute_urls, max_response_bytes, tls, cloud_tasks_headers)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		on conflict (org_id, name) do nothing
		returning org_id, id, version, created_at, updated_at
	), state as (
		insert into destination_state (org_id, destination_id)
		select m.org_id, m.id from made m
		returning revision
	)
	select m.version, m.created_at, m.updated_at, s.revision from made m, state s`

// Create makes a destination, or returns ErrInvalid with all that is wrong, or ErrExists.
func (d *Destinations) Create(ctx context.Context, tx postgres.Tx, c Create) (Destination, error) {
	made := Destination{OrgID: c.OrgID, ID: d.IDs.New(), Name: c.Name, Settings: c.withDefaults()}
	if err := d.validate(made.Name, made.Settings); err != nil {
		return Destination{}, err
	}
	raw, err := encodeSettings(made.Settings)
	if err != nil {
		return Destination{}, err
	}
	err = tx.QueryRow(ctx, insertSQL, made.OrgID, made.ID, made.Name, made.BaseURL, raw.auth, raw.limits, made.MaxConcurrentDispatches,
		made.TimeoutSeconds, raw.breaker, raw.classifier, raw.redact, made.AllowPrivateNetworks, made.AllowAbsoluteURLs, made.MaxResponseBytes,
		raw.tls, made.CloudTasksHeaders).
		Scan(&made.Version, &made.CreatedAt, &made.UpdatedAt, &made.State.Revision)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Destination{}, ErrExists
	case err != nil:
		return Destination{}, fmt.Errorf("create a destination: %w", err)
	}
	made.CreatedAt, made.UpdatedAt = made.CreatedAt.UTC(), made.UpdatedAt.UTC()
	made.State.Breaker.Position = BreakerClosed
	var b pgx.Batch
	if err := d.tell(&b, eventCreated, &made); err != nil {
		return Destination{}, err
	}
	return made, write(ctx, tx, &b, "tell of a destination")
}
