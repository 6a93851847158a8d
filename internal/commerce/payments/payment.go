package payments

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Payment is what a customer is asked for. Amounts are minor units of Currency.
type Payment struct {
	OrgID                  ids.ID
	ID                     ids.ID
	Status                 Status
	Provider               string
	Currency               string
	Amount                 int64
	AmountCapturable       int64 // authorised and not yet captured
	AmountCaptured         int64
	AmountRefunded         int64
	AmountFee              int64
	CaptureMethod          string
	Token                  string
	Reference              string
	Description            string
	Metadata               []byte // JSON object of strings, or nil
	ChargeID               string // the provider's
	HoldEntryID            ids.ID // the ledger entry that holds the authorised amount
	FailureCode            string
	AuthorisationExpiresAt time.Time
	CreatedAt              time.Time
	UpdatedAt              time.Time
}

// The ways to capture.
const (
	CaptureAutomatic = "automatic"
	CaptureManual    = "manual"
)

// Attempt is one request to the provider, however often it has to be sent. Its id is the reference and the idempotency key there.
type Attempt struct {
	OrgID          ids.ID
	ID             ids.ID
	PaymentID      ids.ID
	TaskID         ids.ID
	Kind           Kind
	State          AttemptState
	Amount         int64
	Final          bool // capture: release the rest
	EntryID        ids.ID
	Fee            int64
	OperationID    string
	FailureCode    string
	Settled        bool // as read: a look-up that finds nothing now proves that nothing happened
	IdempotencyKey string
	RequestID      string
	Age            time.Duration // as read, by the database's clock
	began          time.Time     // the same by this node's monotonic clock; only measured with
}

// AttemptState is how much is known of an attempt.
type AttemptState string

// The states of an attempt. Processing and unknown attempts are live: at most one a payment.
const (
	AttemptProcessing AttemptState = "processing"
	AttemptUnknown    AttemptState = "unknown"
	AttemptSucceeded  AttemptState = "succeeded"
	AttemptDeclined   AttemptState = "declined"
)

func (s AttemptState) live() bool { return s == AttemptProcessing || s == AttemptUnknown }

// advance is the whole rule of what an outcome does to a payment: pure, and the only place that changes its amounts.
func (p *Payment) advance(trigger Trigger, a *Attempt) error {
	next, err := Next(p.Status, trigger)
	if err != nil {
		return err
	}
	switch trigger {
	case Authorised:
		p.AmountCapturable = p.Amount
	case CapturedAtOnce:
		p.AmountCaptured = p.Amount
	case CaptureSucceeded:
		p.AmountCaptured += a.Amount
		p.AmountCapturable -= a.Amount
		if a.Final {
			p.AmountCapturable = 0
		}
	case RefundSucceeded:
		p.AmountRefunded += a.Amount
		if p.AmountRefunded == p.AmountCaptured && p.AmountCapturable == 0 {
			next = StatusRefunded
		}
	case VoidSucceeded, AuthorisationExpired:
		p.AmountCapturable = 0
		if p.AmountCaptured > 0 && p.AmountRefunded == p.AmountCaptured {
			next = StatusRefunded
		}
	}
	p.Status = next
	return nil
}

// refusal says why a change cannot be begun, or returns nil. It fills in the amount where none was given.
func (p *Payment) refusal(c *Change) error {
	switch c.Kind {
	case KindCapture:
		if p.AmountCapturable == 0 {
			return ErrNotCapturable
		}
		if c.Amount == 0 {
			c.Amount = p.AmountCapturable
		}
		if c.Amount > p.AmountCapturable {
			return ErrExceedsCapturable.At("amount")
		}
	case KindRefund:
		left := p.AmountCaptured - p.AmountRefunded
		if left == 0 {
			return ErrNotRefundable
		}
		if c.Amount == 0 {
			c.Amount = left
		}
		if c.Amount > left {
			return ErrExceedsRefundable.At("amount")
		}
	case KindVoid:
		if p.AmountCapturable == 0 {
			return ErrNotVoidable
		}
		c.Amount = p.AmountCapturable
	}
	if c.Amount <= 0 {
		return ErrAmountNotPositive.At("amount")
	}
	return nil
}
