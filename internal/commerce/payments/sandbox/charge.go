package sandbox

import (
	"net/http"
	"time"
)

// amountMax keeps the sum of millions of charges within an int64.
const amountMax = 1_000_000_000_000

// charge is a charge and what the provider remembers beside what it shows.
type charge struct {
	Charge
	row        int          // its place in the record
	opening    *Operation   // the operation that made it
	operations []*Operation // all of them, the opening one first
	settleAs   behaviour    // what a pending charge becomes
	payment    *payment
}

// behaviour is what a test token makes of a charge.
type behaviour struct {
	pending     bool      // answered 202, decided later
	failureCode string    // declined with this code
	firstFault  faultKind // what befalls the first send of the reference
	slow        time.Duration
}

// tokenBehaviour is the table of test tokens; a token it does not know is declined.
func tokenBehaviour(token string) behaviour {
	switch token {
	case "tok_approved":
		return behaviour{}
	case "tok_declined":
		return behaviour{failureCode: "card_declined"}
	case "tok_insufficient_funds":
		return behaviour{failureCode: "insufficient_funds"}
	case "tok_expired_card":
		return behaviour{failureCode: "expired_card"}
	case "tok_fraud":
		return behaviour{failureCode: "suspected_fraud"}
	case "tok_requires_time":
		return behaviour{pending: true}
	case "tok_requires_time_declined":
		return behaviour{pending: true, failureCode: "card_declined"}
	case "tok_timeout_after_charge":
		return behaviour{firstFault: hangAfter}
	case "tok_timeout_before_charge":
		return behaviour{firstFault: hangBefore}
	case "tok_error_after_charge":
		return behaviour{firstFault: errorAfter}
	case "tok_error_before_charge":
		return behaviour{firstFault: errorBefore}
	case "tok_rate_limited_once":
		return behaviour{firstFault: rateLimited}
	case "tok_slow":
		return behaviour{slow: 3 * time.Second}
	default:
		return behaviour{failureCode: "unknown_token"}
	}
}

// captureFee is what the provider keeps of a capture: 1.4 % rounded half up, and 25 minor units.
func captureFee(amount int64) int64 { return (amount*14+500)/1000 + 25 }

// capturable is what may still be captured.
func (c *Charge) capturable() int64 {
	if c.Status != ChargeAuthorised {
		return 0
	}
	return c.Amount - c.AmountCaptured
}

// refuse tells why the charge does not allow a movement; nil means it does.
func (c *Charge) refuse(kind OperationKind, amount int64) *refusal {
	switch kind {
	case KindCapture:
		if c.Status != ChargeAuthorised {
			return conflict("charge_not_capturable", "The charge is "+string(c.Status)+" and cannot be captured.")
		}
		if amount > c.capturable() {
			return unprocessable("amount_exceeds_capturable", "The amount is more than is left to capture.")
		}
	case KindRefund:
		if c.AmountCaptured == 0 {
			return conflict("charge_not_refundable", "Nothing of the charge was captured.")
		}
		if amount > c.AmountCaptured-c.AmountRefunded {
			return unprocessable("amount_exceeds_refundable", "The amount is more than is left to refund.")
		}
	case KindVoid:
		if c.Status == ChargeVoided {
			return conflict("already_voided", "The charge was voided before.")
		}
		if c.Status != ChargeAuthorised {
			return conflict("charge_not_voidable", "The charge is "+string(c.Status)+" and cannot be voided.")
		}
	case KindAuthorise:
	}
	return nil
}

// capture moves the amount and tells the fee. final releases what is left.
func (c *Charge) capture(amount int64, final bool) int64 {
	fee := captureFee(amount)
	c.AmountCaptured += amount
	c.Fee += fee
	if final || c.AmountCaptured == c.Amount {
		c.Status = ChargeCaptured
		c.ExpiresAt = time.Time{}
	}
	return fee
}

// release ends the authorisation; what was captured stays captured.
func (c *Charge) release(otherwise ChargeStatus) {
	c.Status = otherwise
	if c.AmountCaptured > 0 {
		c.Status = ChargeCaptured
	}
	c.ExpiresAt = time.Time{}
}

func conflict(code, message string) *refusal {
	return &refusal{status: http.StatusConflict, Code: code, Message: message}
}

func unprocessable(code, message string) *refusal {
	return &refusal{status: http.StatusUnprocessableEntity, Code: code, Message: message}
}

func malformed(code, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, Code: code, Message: message}
}
