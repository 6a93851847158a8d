package payments

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Provider is a payment provider as Kontor needs it. Each call is one send over the wire: adapters never
// repeat a call of their own, because a repeat that nobody recorded is how customers are charged twice.
// Implementations must be safe for concurrent use.
type Provider interface {
	// Name is the provider's name in accounts, events and configuration, such as "sandbox".
	Name() string
	// Send asks for one movement of money. It does not return an error: every outcome is a Result.
	Send(ctx context.Context, r ProviderRequest) ProviderAnswer
	// LookUp asks what became of the request with our reference.
	LookUp(ctx context.Context, reference string) ProviderAnswer
	// ParseWebhook checks the signature and reads a notification.
	ParseWebhook(header http.Header, body []byte) (ProviderWebhook, error)
	// SettleWithin is how long after a send its effect may still appear; only after that does a look-up
	// that finds nothing prove that nothing happened.
	SettleWithin() time.Duration
}

// Kind is what an attempt asks the provider for.
type Kind string

// The kinds of attempts.
const (
	KindAuthorise Kind = "authorise"
	KindCapture   Kind = "capture"
	KindRefund    Kind = "refund"
	KindVoid      Kind = "void"
)

// ProviderRequest is one request to a provider. Reference is ours (the attempt's id): it is sent as the idempotency
// key as well, and stays the same however often the attempt is repeated.
type ProviderRequest struct {
	Kind      Kind
	Reference string
	OrgID     ids.ID
	PaymentID string // shown form, sent as metadata so that the provider's records name our payment
	ChargeID  string // the provider's id of the authorised charge; empty for authorise
	Amount    int64  // minor units
	Currency  string
	Token     string // the payment method, for authorise
	Capture   bool   // authorise: capture at once
	Final     bool   // capture: release what is left
}

// Result is what is known after asking a provider.
type Result string

// The results.
const (
	ResultSucceeded Result = "succeeded"
	ResultDeclined  Result = "declined"  // final: the provider did not do it and will not
	ResultPending   Result = "pending"   // accepted; the outcome comes later, by webhook or look-up
	ResultNotFound  Result = "not_found" // look-up only
	ResultNotSent   Result = "not_sent"  // certainly never reached the provider: safe to repeat
	ResultLimited   Result = "limited"   // turned away before doing anything: safe to repeat after RetryAfter
	ResultUnknown   Result = "unknown"   // it may have happened
)

// ProviderAnswer is the outcome of one call.
type ProviderAnswer struct {
	Result      Result
	ChargeID    string // the provider's id of the charge
	OperationID string // the provider's id of this operation, where it has one
	Amount      int64  // minor units the provider says it moved
	Fee         int64  // minor units the provider keeps
	FailureCode string // why it was declined, stable
	HTTPStatus  int    // 0 when there was no answer
	Detail      string // for people and logs
	RetryAfter  time.Duration
	ExpiresAt   time.Time // of an authorisation; zero if unsaid
	// Effects is how many times the provider says it carried the reference out: more than one is a double effect
	// (a provider that ignored the idempotency key). Only LookUp can know; 0 where unknown.
	Effects int
}

// ProviderWebhook is a notification, after its signature was checked.
type ProviderWebhook struct {
	ID         string // the provider's message id, the same over its repeats
	Type       string
	OrgID      ids.ID
	PaymentID  string // our payment, from the metadata
	Reference  string // our attempt
	OccurredAt time.Time

	provider string
	hash     [sha256.Size]byte
}
