package sandbox

import "time"

// ChargeStatus is where a charge stands.
type ChargeStatus string

// The statuses of a charge. A charge that was captured in part stays authorised while more can be captured.
const (
	ChargePending    ChargeStatus = "pending"
	ChargeAuthorised ChargeStatus = "authorised"
	ChargeCaptured   ChargeStatus = "captured"
	ChargeDeclined   ChargeStatus = "declined"
	ChargeVoided     ChargeStatus = "voided"
	ChargeExpired    ChargeStatus = "expired"
)

// OperationKind is what a request asked for.
type OperationKind string

// The kinds of operations.
const (
	KindAuthorise OperationKind = "authorise"
	KindCapture   OperationKind = "capture"
	KindRefund    OperationKind = "refund"
	KindVoid      OperationKind = "void"
)

// OperationStatus is what became of an operation.
type OperationStatus string

// The statuses of an operation; a declined one moved no money.
const (
	OperationSucceeded OperationStatus = "succeeded"
	OperationPending   OperationStatus = "pending"
	OperationDeclined  OperationStatus = "declined"
)

// Charge is one charge as the provider shows it. Amounts are minor units of Currency; Fee is what the provider keeps
// of the captures so far. ExpiresAt is set while something is authorised.
type Charge struct {
	ID             string            `json:"id"`
	Reference      string            `json:"reference"`
	Amount         int64             `json:"amount"`
	Currency       string            `json:"currency"`
	Status         ChargeStatus      `json:"status"`
	FailureCode    string            `json:"failure_code,omitempty"`
	AmountCaptured int64             `json:"amount_captured"`
	AmountRefunded int64             `json:"amount_refunded"`
	Fee            int64             `json:"fee"`
	CreatedAt      time.Time         `json:"created_at"`
	ExpiresAt      time.Time         `json:"expires_at,omitzero"`
	Metadata       map[string]string `json:"metadata,omitempty"`
}

// Operation is one movement made, or refused, for a reference. The operation that made a charge has the charge's id
// and kind "authorise", also when it captured at once: then Captured is true and Fee is the capture's.
type Operation struct {
	ID          string          `json:"id"`
	Kind        OperationKind   `json:"kind"`
	ChargeID    string          `json:"charge_id"`
	Reference   string          `json:"reference"`
	Amount      int64           `json:"amount"`
	Captured    bool            `json:"captured,omitempty"`
	Fee         int64           `json:"fee"`
	Status      OperationStatus `json:"status"`
	FailureCode string          `json:"failure_code,omitempty"`
	CreatedAt   time.Time       `json:"created_at"`
}

// Operations is everything the provider did for one reference, in order, and the charge the first effective
// operation belongs to. More than one effective operation is a double effect.
type Operations struct {
	Operations []Operation `json:"operations"`
	Charge     Charge      `json:"charge"`
}

// ChargePage is a page of the record of charges, oldest first. NextAfter is empty on the last page.
type ChargePage struct {
	Charges   []Charge `json:"charges"`
	NextAfter string   `json:"next_after,omitempty"`
}

// Event is the body of a webhook. Operation is the one the event is about; for an expiry, the one that authorised.
type Event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      EventData `json:"data"`
}

// EventData carries the operation, and its charge as it stood at the event.
type EventData struct {
	Operation Operation `json:"operation"`
	Charge    Charge    `json:"charge"`
}

// The types of events.
const (
	EventAuthorised = "charge.authorised"
	EventCaptured   = "charge.captured"
	EventDeclined   = "charge.declined"
	EventRefunded   = "charge.refunded"
	EventVoided     = "charge.voided"
	EventExpired    = "charge.expired"
	EventPending    = "charge.pending"
)

// chargeInput is the body of POST /v1/charges.
type chargeInput struct {
	Reference string            `json:"reference"`
	Amount    int64             `json:"amount"`
	Currency  string            `json:"currency"`
	Token     string            `json:"token"`
	Capture   bool              `json:"capture"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// movementInput is the body of a capture, a refund or a void; Amount has no meaning for a void, Final only for a capture.
type movementInput struct {
	Reference string `json:"reference"`
	Amount    int64  `json:"amount,omitempty"`
	Final     bool   `json:"final,omitempty"`
}

// refusal is why the provider will not do something, as {"error": …}.
type refusal struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

// errorBody wraps a refusal for the wire.
type errorBody struct {
	Error refusal `json:"error"`
}
