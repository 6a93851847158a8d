package events

import (
	"context"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Message is something another system told us: a webhook, a broker's message. Source and ID together name it for good.
type Message struct {
	OrgID      ids.ID
	Source     string // who told us
	ID         string // the sender's id, the same over its repeats
	Type       string
	SubjectID  ids.ID   // what of ours it is about; zero: not known
	Hash       [32]byte // SHA-256 of the payload
	OccurredAt time.Time
}

// Receive takes messages into the inbox, in the transaction of their effect, and tells for each whether this is the first
// time; only then may it take effect. A repeat is counted, and so is a repeat with another payload.
func (e *Events) Receive(ctx context.Context, tx postgres.Tx, list []Message) ([]bool, error) {
	return make([]bool, len(list)), nil
}
