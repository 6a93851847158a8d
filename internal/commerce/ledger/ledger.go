// Package ledger keeps double-entry books.
//
// It owns the tables ledger_asset, ledger_account, ledger_entry and ledger_posting, and publishes the events
// ledger.account.created and ledger.entry.posted, .pending, .settled, .voided and .expired.
//
// An entry is atomic: its postings, each from a debit account to a credit account, take effect together or not at
// all. So entries balance by construction. A pending entry only holds the amounts; it is settled (wholly or in part),
// released or expires. Nothing that was posted is ever changed: a mistake is reversed by another entry.
//
// The write path takes a slice (Post): it locks the accounts of all entries once, in id order, applies the entries one after
// the other in memory, and writes the outcome with one statement a table. That is why a hot account costs no more
// than a cold one: however many entries touch it, its row is locked and updated once. Accounts that this node wrote to last it does
// not lock and read: it takes them as it left them, and the update takes effect only where that was right (memory).
package ledger

import (
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// Ledger is the books of all organisations. Safe for concurrent use.
type Ledger struct {
	db     *postgres.DB
	events *events.Events
	ids    *ids.Source
	memory *memory
}

// New makes the ledger.
func New(db *postgres.DB, events *events.Events, source *ids.Source) *Ledger {
	return &Ledger{db: db, events: events, ids: source, memory: newMemory()}
}
