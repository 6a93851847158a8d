package payments

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// The module's faults. Their codes are part of the API.
var (
	ErrNotFound          = fault.New(fault.NotFound, "payment_not_found", "There is no such payment.")
	ErrProviderUnknown   = fault.New(fault.Invalid, "provider_unknown", "No provider of that name is configured.").At("provider")
	ErrCurrencyInvalid   = fault.New(fault.Invalid, "currency_invalid", "There is no such currency in ISO 4217.").At("currency")
	ErrAmountNotPositive = fault.New(fault.Invalid, "amount_must_be_positive", "An amount must be above zero.").At("amount")
	ErrAmountTooLarge    = fault.New(fault.Invalid, "amount_too_large", "An amount of a payment has at most twelve digits.").At("amount")
	ErrCaptureMethod     = fault.New(fault.Invalid, "capture_method_invalid", "capture_method is automatic or manual.").At("capture_method")
	ErrNotCapturable     = fault.New(fault.Conflict, "payment_not_capturable", "Nothing of this payment can be captured.")
	ErrNotRefundable     = fault.New(fault.Conflict, "payment_not_refundable", "Nothing of this payment can be refunded.")
	ErrNotVoidable       = fault.New(fault.Conflict, "payment_not_voidable", "This payment holds no authorisation that could be voided.")
	ErrExceedsCapturable = fault.New(fault.Conflict, "exceeds_capturable", "Less than that is left to capture.")
	ErrExceedsRefundable = fault.New(fault.Conflict, "exceeds_refundable", "Less than that is left to refund.")
	ErrAttemptInProgress = fault.New(fault.Conflict, "attempt_in_progress", "Another request for this payment is under way. Repeat this one when it is final.").After(time.Second)
)
