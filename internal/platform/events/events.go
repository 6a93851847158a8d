// Package events is the log of everything that happened, written in the transaction that made it happen, and the inbox
// of everything that others told us, taken in once.
//
// It owns the tables event and inbox_record. The log is append-only and read without gaps: a reader sees an event only when
// every transaction that began before the event's has ended, so that nothing can appear behind a cursor. The price is
// that one long transaction anywhere in the PostgreSQL cluster delays all readers, never a writer.
package events

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Events is the log and the inbox. Safe for concurrent use.
type Events struct {
	db      *postgres.DB
	source  *ids.Source
	metrics *metrics
}

// New makes the log's door; it starts nothing.
func New(db *postgres.DB, source *ids.Source) *Events {
	return &Events{db: db, source: source, metrics: newMetrics()}
}

// Event is something that happened to an aggregate: a payment, an account.
type Event struct {
	OrgID         ids.ID
	ID            ids.ID // zero: made by Queue
	AggregateType string
	AggregateID   ids.ID
	Type          string
	Payload       []byte    // JSON
	RecordedAt    time.Time // zero: the transaction's time by the database's clock
}
