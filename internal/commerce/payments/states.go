package payments

import "fmt"

// Status is where a payment's money stands.
type Status string

// The statuses.
const (
	StatusNone       Status = ""
	StatusProcessing Status = "processing"
	StatusUnknown    Status = "unknown"
	StatusAuthorised Status = "authorised"
	StatusCaptured   Status = "captured"
	StatusRefunded   Status = "refunded"
	StatusDeclined   Status = "declined"
	StatusVoided     Status = "voided"
	StatusExpired    Status = "expired"
)

// Trigger is what moves a payment.
type Trigger string

// The triggers.
const (
	Created              Trigger = "created"
	AnswerLost           Trigger = "answer lost"
	Authorised           Trigger = "authorised"
	CapturedAtOnce       Trigger = "captured at once"
	Declined             Trigger = "declined"
	CaptureSucceeded     Trigger = "capture succeeded"
	RefundSucceeded      Trigger = "refund succeeded"
	VoidSucceeded        Trigger = "void succeeded"
	ChangeDeclined       Trigger = "change declined"
	ChangeUnknown        Trigger = "change's answer lost"
	AuthorisationExpired Trigger = "authorisation expired"
)

// Transition is one row of the table.
type Transition struct {
	From    Status
	Trigger Trigger
	To      Status
	By      string // who may cause it
	Books   string // what it does in the ledger
}

// Transitions is every way a payment can go; what is not in it cannot happen. docs/reference/payment-states.md is made from it.
func Transitions() []Transition {
	const (
		client   = "client"
		provider = "provider"
		kontor   = "Kontor"
		hold     = "holds the amount: clearing to received, pending"
		settle   = "settles the hold by the amount; books the fee"
		release  = "releases what is held"
		refund   = "settles the refund's hold: received to clearing"
		undo     = "releases the refund's hold, if it was a refund"
		nothing  = "nothing: the money stays held"
	)
	return []Transition{
		{StatusNone, Created, StatusProcessing, client, hold},
		{StatusProcessing, AnswerLost, StatusUnknown, kontor, nothing},
		{StatusProcessing, Authorised, StatusAuthorised, provider, nothing},
		{StatusProcessing, CapturedAtOnce, StatusCaptured, provider, settle},
		{StatusProcessing, Declined, StatusDeclined, provider, release},
		{StatusUnknown, AnswerLost, StatusUnknown, kontor, nothing},
		{StatusUnknown, Authorised, StatusAuthorised, provider, nothing},
		{StatusUnknown, CapturedAtOnce, StatusCaptured, provider, settle},
		{StatusUnknown, Declined, StatusDeclined, provider, release},
		{StatusAuthorised, CaptureSucceeded, StatusCaptured, client, settle},
		{StatusAuthorised, VoidSucceeded, StatusVoided, client, release},
		{StatusAuthorised, ChangeDeclined, StatusAuthorised, provider, nothing},
		{StatusAuthorised, ChangeUnknown, StatusAuthorised, kontor, nothing},
		{StatusAuthorised, AuthorisationExpired, StatusExpired, kontor, release},
		{StatusCaptured, CaptureSucceeded, StatusCaptured, client, settle},
		{StatusCaptured, RefundSucceeded, StatusCaptured, client, refund + "; refunded once all is"},
		{StatusCaptured, VoidSucceeded, StatusCaptured, client, release},
		{StatusCaptured, ChangeDeclined, StatusCaptured, provider, undo},
		{StatusCaptured, ChangeUnknown, StatusCaptured, kontor, nothing},
		{StatusCaptured, AuthorisationExpired, StatusCaptured, kontor, release},
	}
}

// Statuses lists all statuses a stored payment can have.
func Statuses() []Status {
	return []Status{
		StatusProcessing, StatusUnknown, StatusAuthorised, StatusCaptured, StatusRefunded,
		StatusDeclined, StatusVoided, StatusExpired,
	}
}

type step struct {
	from    Status
	trigger Trigger
}

// steps is Transitions by its key.
var steps = func() map[step]Status {
	table := make(map[step]Status)
	for _, t := range Transitions() {
		table[step{t.From, t.Trigger}] = t.To
	}
	return table
}()

// Next looks a transition up; an error means that it cannot happen.
func Next(from Status, trigger Trigger) (Status, error) {
	to, ok := steps[step{from, trigger}]
	if !ok {
		return from, fmt.Errorf("payment: %q cannot happen to a payment that is %q", trigger, from)
	}
	return to, nil
}
