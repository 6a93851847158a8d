package payments

import (
	"encoding/json"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// view is a payment as everybody sees it: in answers, in lists and in events.
type view struct {
	ID                     string          `json:"id"`
	Status                 Status          `json:"status"`
	Provider               string          `json:"provider"`
	Currency               string          `json:"currency"`
	Amount                 int64           `json:"amount"`
	AmountCapturable       int64           `json:"amount_capturable"`
	AmountCaptured         int64           `json:"amount_captured"`
	AmountRefunded         int64           `json:"amount_refunded"`
	AmountFee              int64           `json:"amount_fee"`
	CaptureMethod          string          `json:"capture_method"`
	PaymentMethod          string          `json:"payment_method"`
	Reference              *string         `json:"reference"`
	Description            *string         `json:"description"`
	Metadata               json.RawMessage `json:"metadata"`
	FailureCode            *string         `json:"failure_code"`
	AuthorisationExpiresAt *time.Time      `json:"authorisation_expires_at"`
	LatestAttempt          attemptView     `json:"latest_attempt"`
	CreatedAt              time.Time       `json:"created_at"`
	UpdatedAt              time.Time       `json:"updated_at"`
}

type attemptView struct {
	ID          string       `json:"id"`
	Kind        Kind         `json:"kind"`
	State       AttemptState `json:"state"`
	Amount      int64        `json:"amount"`
	FailureCode *string      `json:"failure_code"`
}

// encode writes a payment with its latest attempt.
func (w *work) encode() []byte {
	p, a := &w.payment, &w.attempt
	body, err := json.Marshal(view{
		ID: ids.Format(PaymentPrefix, p.ID), Status: p.Status, Provider: p.Provider, Currency: p.Currency, Amount: p.Amount,
		AmountCapturable: p.AmountCapturable, AmountCaptured: p.AmountCaptured, AmountRefunded: p.AmountRefunded, AmountFee: p.AmountFee,
		CaptureMethod: p.CaptureMethod, PaymentMethod: p.Token, Reference: optional(p.Reference), Description: optional(p.Description),
		Metadata: p.Metadata, FailureCode: optional(p.FailureCode), AuthorisationExpiresAt: optional(p.AuthorisationExpiresAt),
		LatestAttempt: attemptView{
			ID: ids.Format(AttemptPrefix, a.ID), Kind: a.Kind, State: a.State, Amount: a.Amount, FailureCode: optional(a.FailureCode),
		},
		CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	})
	if err != nil {
		panic("payments: a payment could not be written: " + err.Error()) // only metadata could, and it was read as JSON
	}
	return body
}

// announce makes an event of each work; name gives its type without the prefix.
func (p *Payments) announce(works []work, name func(*work) string) []events.Event {
	out := make([]events.Event, len(works))
	for i := range works {
		w := &works[i]
		out[i] = events.Event{
			OrgID: w.payment.OrgID, AggregateType: "payment", AggregateID: w.payment.ID, Type: "payment." + name(w),
			Payload: w.encode(),
		}
	}
	return out
}
