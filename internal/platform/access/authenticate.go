package access

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// Authenticate tells who holds the key, or why nobody is let in with it: one of the package's faults. It asks the
// database at most about twice a second for a key that is in use, and never for one whose checksum is wrong.
func (a *Access) Authenticate(ctx context.Context, key string) (Principal, error) {
	if key == "" {
		return Principal{}, ErrKeyMissing
	}
	hash, ok := hashOf(key)
	if !ok {
		return Principal{}, ErrKeyMalformed
	}
	answer, err := a.cache.get(ctx, hash)
	if err != nil {
		return Principal{}, err
	}
	if answer.refusal != nil {
		return Principal{}, answer.refusal
	}
	return answer.principal, nil
}

// answer is what the database knows of a key.
type answer struct {
	principal Principal
	refusal   *fault.Fault // nil: let in
}

// Whether a key has expired is for the database's clock to say; the answer is never used for longer than a second.

// hot
const loadSQL = `
	select org_id, id, live, revoked_at is not null, expires_at is not null and expires_at <= now()
	from api_key
	where hash = $1`

func (a *Access) load(ctx context.Context, hash [32]byte) (answer, error) {
	var found answer
	var revoked, expired bool
	err := a.db.Pool().QueryRow(ctx, loadSQL, hash[:]).
		Scan(&found.principal.OrgID, &found.principal.KeyID, &found.principal.Live, &revoked, &expired)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return answer{refusal: ErrKeyUnknown}, nil
	case err != nil:
		return answer{}, ErrUnavailable.Because(fmt.Errorf("look up an API key: %w", err))
	case revoked:
		return answer{refusal: ErrKeyRevoked}, nil
	case expired:
		return answer{refusal: ErrKeyExpired}, nil
	}
	return found, nil
}
