// Package why tells the story of a payment from its records: what was asked for and under which key, who carried it out,
// what the provider was asked and answered, what was booked and told, and what all that comes to. It owns no tables and
// writes nothing.
package why

import (
	"context"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Story is what happened to one payment, in the order in which it happened.
type Story struct {
	ID             string    `json:"id"`
	Organisation   string    `json:"organisation"`
	Status         string    `json:"status"`
	Provider       string    `json:"provider"`
	Currency       string    `json:"currency"`
	Amount         int64     `json:"amount"` // this and the following in minor units
	AmountCaptured int64     `json:"amount_captured"`
	AmountRefunded int64     `json:"amount_refunded"`
	AmountFee      int64     `json:"amount_fee"`
	At             time.Time `json:"at"` // the moment as of which it is told
	Timeline       []Moment  `json:"timeline"`
	BooksAgree     bool      `json:"books_agree"` // what was booked equals what the payment says
	Verdict        string    `json:"verdict"`
}

// Kind is what sort of thing a Moment or a Fact is.
type Kind string

// The kinds of moments.
const (
	KindAsked    Kind = "asked"    // a client asked, and the intent was committed
	KindTaken    Kind = "taken"    // a node took the attempt up; its calls to the provider are among the facts
	KindRecorded Kind = "recorded" // what came of it was committed
	KindWebhook  Kind = "webhook"  // the provider told us something
	KindExpired  Kind = "expired"  // the authorisation's time was over
	KindOther    Kind = "other"    // a record that belongs to none of these
	KindNow      Kind = "now"      // what is still to come
)

// The kinds of facts.
const (
	FactRequest Kind = "request"
	FactKey     Kind = "key"
	FactTask    Kind = "task"
	FactCall    Kind = "call"
	FactEntry   Kind = "entry"
	FactEvent   Kind = "event"
	FactNext    Kind = "next"
)

// Moment is something that happened at once: most of them are one transaction.
type Moment struct {
	At      time.Time `json:"at"`
	Kind    Kind      `json:"kind"`
	Attempt string    `json:"attempt,omitempty"` // the attempt it belongs to
	Text    string    `json:"text"`
	Facts   []Fact    `json:"facts"`
}

// Fact is one record of a Moment.
type Fact struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id,omitempty"`
	Text string `json:"text"`
}

// Read tells the story of a payment, or false when there is no such payment in any organisation.
func Read(ctx context.Context, db *postgres.DB, payment ids.ID) (Story, bool, error) {
	var r records
	var found bool
	err := db.Snapshot(ctx, func(ctx context.Context, tx postgres.Tx) error {
		var err error
		r, found, err = read(ctx, tx, payment)
		return err
	})
	if err != nil || !found {
		return Story{}, false, err
	}
	return r.story(), true, nil
}
