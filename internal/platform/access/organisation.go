package access

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const findOrganisationSQL = `select id from organisation where name = $1`

// FindOrganisation is the id of the organisation of that name.
func FindOrganisation(ctx context.Context, tx postgres.Tx, name string) (ids.ID, error) {
	if !isOrganisationName(name) {
		return ids.ID{}, ErrOrganisationMalformed
	}
	var id ids.ID
	switch err := tx.QueryRow(ctx, findOrganisationSQL, name).Scan(&id); {
	case errors.Is(err, pgx.ErrNoRows):
		return ids.ID{}, ErrOrganisationNotFound
	case err != nil:
		return ids.ID{}, fmt.Errorf("find the organisation: %w", err)
	}
	return id, nil
}
