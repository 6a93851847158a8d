package access

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Taking the name up again is how the id of an organisation that exists comes back in the same statement. The key's id is
// made once, so running the transaction again, after a commit whose answer was lost, makes no second key.
const createKeySQL = `
	with org as (
		insert into organisation (id, name) values ($1, $2)
		on conflict (name) do update set name = excluded.name
		returning id
	), made as (
		insert into api_key (org_id, id, hash, hint, name, live, expires_at)
		select id, $3, $4, $5, $6, $7, $8 from org
		on conflict (hash) do nothing
	)
	select id, now() from org`

// isOrganisationName is the database's constraint organisation_name_form.
func isOrganisationName(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// CreateKey makes a key for the named organisation, and the organisation when there is none, and returns the key as it is
// shown, this once. The zero time as expiry means never.
func (a *Access) CreateKey(ctx context.Context, orgName, keyName string, live bool, expiresAt time.Time) (string, Key, error) {
	switch {
	case !isOrganisationName(orgName):
		return "", Key{}, ErrOrganisationMalformed
	case keyName == "" || utf8.RuneCountInString(keyName) > 100:
		return "", Key{}, ErrKeyNameMalformed
	case !expiresAt.IsZero() && !expiresAt.After(a.cache.now()):
		return "", Key{}, ErrExpiryPassed
	}
	shown := newSecret(live)
	hash, _ := hashOf(shown)
	key := Key{ID: a.source.New(), Name: keyName, Hint: shown[len(shown)-4:], Live: live, ExpiresAt: expiresAt}
	orgID, expires := a.source.New(), optional(expiresAt)
	err := a.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		return tx.QueryRow(ctx, createKeySQL, orgID, orgName, key.ID, hash[:], key.Hint, key.Name, key.Live, expires).
			Scan(&key.OrgID, &key.CreatedAt)
	})
	if err != nil {
		return "", Key{}, fmt.Errorf("make an API key: %w", err)
	}
	return shown, key, nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// KeysMax is the most keys that ListKeys returns.
const KeysMax = 1000

const listKeysSQL = `
	select k.org_id, k.id, k.name, k.hint, k.live, k.created_at, k.expires_at, k.revoked_at
	from organisation o
	join api_key k on k.org_id = o.id
	where o.name = $1
	order by k.id desc
	limit $2`

// ListKeys lists an organisation's keys, newest first. An organisation that does not exist has none.
func (a *Access) ListKeys(ctx context.Context, orgName string) ([]Key, error) {
	rows, err := a.db.Pool().Query(ctx, listKeysSQL, orgName, KeysMax)
	if err != nil {
		return nil, fmt.Errorf("list the API keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, scanKey)
	if err != nil {
		return nil, fmt.Errorf("list the API keys: %w", err)
	}
	return keys, nil
}

func scanKey(row pgx.CollectableRow) (Key, error) {
	var k Key
	var expires, revoked *time.Time
	err := row.Scan(&k.OrgID, &k.ID, &k.Name, &k.Hint, &k.Live, &k.CreatedAt, &expires, &revoked)
	if expires != nil {
		k.ExpiresAt = *expires
	}
	if revoked != nil {
		k.RevokedAt = *revoked
	}
	return k, err
}

const revokeKeySQL = `
	update api_key k
	set revoked_at = coalesce(k.revoked_at, now())
	from organisation o
	where o.name = $1 and k.org_id = o.id and k.id = $2
	returning k.org_id, k.id, k.name, k.hint, k.live, k.created_at, k.expires_at, k.revoked_at`

// RevokeKey ends a key for good; every node refuses it within a second. Revoking it again changes nothing.
func (a *Access) RevokeKey(ctx context.Context, orgName string, keyID ids.ID) (Key, error) {
	var key Key
	err := a.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		rows, err := tx.Query(ctx, revokeKeySQL, orgName, keyID)
		if err != nil {
			return err
		}
		key, err = pgx.CollectExactlyOneRow(rows, scanKey)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Key{}, ErrKeyNotFound
	}
	if err != nil {
		return Key{}, fmt.Errorf("revoke an API key: %w", err)
	}
	return key, nil
}
