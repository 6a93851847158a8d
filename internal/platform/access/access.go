// Package access knows who is asking: organisations and their API keys. It owns the tables organisation and api_key.
//
// A key is shown once, when it is made; its SHA-256 is all that is stored. Decisions are made in memory, from what the
// database said at most a second ago, so that a revoked key is refused everywhere within a second. When the database
// does not answer, nobody is let in.
package access

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Access answers for keys. Safe for concurrent use.
type Access struct {
	db     *postgres.DB
	source *ids.Source
	cache  *cache
}

// New makes Access; it starts nothing.
func New(db *postgres.DB, now clock.Clock, source *ids.Source) *Access {
	a := &Access{db: db, source: source}
	a.cache = newCache(now, a.load)
	return a
}

// Principal is who is asking.
type Principal struct {
	OrgID ids.ID
	KeyID ids.ID
	Live  bool // made for real money, not for tests
}

// Key is an API key without its secret.
type Key struct {
	OrgID     ids.ID
	ID        ids.ID
	Name      string
	Hint      string // the last four characters of the key
	Live      bool
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: not revoked
}
