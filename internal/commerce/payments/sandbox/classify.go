package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments"
)

// How long to stay away when the provider turns a request away and does not say.
const (
	retryAfterDefault = time.Second
	retryAfterRefused = 30 * time.Second // the API key is wrong: a person has to act
)

// classifySend tells what is known after a send. Only the provider's own word makes an outcome final: a whole answer,
// well-formed, about our reference. Whatever else happened once a byte may have gone out is unknown.
func (p *Provider) classifySend(r payments.ProviderRequest, x exchanged) payments.ProviderAnswer {
	if a, done := p.classifyCommon(x); done {
		return a
	}
	switch {
	case x.status >= 200 && x.status <= 299 && r.Kind == payments.KindAuthorise:
		return classifyCharge(r, x)
	case x.status >= 200 && x.status <= 299:
		return classifyOperation(r, x)
	case x.status == http.StatusPaymentRequired:
		return classifyCharge(r, x)
	case x.status >= 400 && x.status <= 499:
		code, message := x.refusal()
		switch code {
		case "", "idempotency_key_reused": // not the provider's word; or it did something else under our key
			return unknown(x, "refused without a reason: "+code)
		}
		return payments.ProviderAnswer{
			Result: payments.ResultDeclined, ChargeID: r.ChargeID, FailureCode: code, HTTPStatus: x.status, Detail: message,
		}
	}
	return unknown(x, http.StatusText(x.status))
}

// classifyLookUp tells what became of a reference. A refused look-up says nothing about it: never declined.
func (p *Provider) classifyLookUp(reference string, x exchanged) payments.ProviderAnswer {
	if a, done := p.classifyCommon(x); done {
		return a
	}
	if code, message := x.refusal(); x.status == http.StatusNotFound && code == "operation_not_found" {
		return payments.ProviderAnswer{Result: payments.ResultNotFound, HTTPStatus: x.status, Detail: message}
	}
	if x.status != http.StatusOK {
		return unknown(x, http.StatusText(x.status))
	}
	var found Operations
	if err := json.Unmarshal(x.body, &found); err != nil || len(found.Operations) == 0 {
		return unknown(x, "the answer is no list of operations")
	}
	op, effects := found.Operations[0], 0
	for _, next := range found.Operations {
		if next.Reference != reference || next.ID == "" {
			return unknown(x, "the answer is about another reference")
		}
		if next.Status == OperationDeclined {
			continue
		}
		effects++
		if effects == 1 || op.Status == OperationPending && next.Status == OperationSucceeded {
			op = next
		}
	}
	a := answerOf(op, x)
	a.Effects = effects
	if op.Kind == KindAuthorise && op.ChargeID == found.Charge.ID {
		a.ExpiresAt = found.Charge.ExpiresAt
	}
	return a
}

// classifyCommon handles what means the same for a send and a look-up.
func (p *Provider) classifyCommon(x exchanged) (payments.ProviderAnswer, bool) {
	a := payments.ProviderAnswer{HTTPStatus: x.status}
	if !x.sent {
		a.Result, a.Detail = payments.ResultNotSent, x.err.Error()
		return a, true
	}
	if x.status == http.StatusTooManyRequests {
		a.Result, a.Detail, a.RetryAfter = payments.ResultLimited, "rate limited", p.retryAfter(x.header)
		return a, true
	}
	if x.err != nil {
		return unknown(x, x.err.Error()), true
	}
	switch code, message := x.refusal(); {
	case code == "":
	case x.status == http.StatusUnauthorized, x.status == http.StatusForbidden:
		a.Result, a.FailureCode, a.Detail, a.RetryAfter = payments.ResultLimited, code, message, retryAfterRefused
		return a, true
	case x.status == http.StatusServiceUnavailable && code == string(tooLate):
		a.Result, a.FailureCode, a.Detail, a.RetryAfter = payments.ResultLimited, code, message, p.retryAfter(x.header)
		return a, true
	}
	return a, false
}

func classifyCharge(r payments.ProviderRequest, x exchanged) payments.ProviderAnswer {
	var c Charge
	if err := json.Unmarshal(x.body, &c); err != nil {
		return unknown(x, "the answer is no charge")
	}
	if c.ID == "" || c.Reference != r.Reference {
		return unknown(x, "the answer is about another charge")
	}
	a := payments.ProviderAnswer{
		ChargeID: c.ID, OperationID: c.ID, Amount: c.Amount, Fee: c.Fee,
		FailureCode: c.FailureCode, HTTPStatus: x.status, ExpiresAt: c.ExpiresAt,
	}
	declined := x.status == http.StatusPaymentRequired
	switch {
	case declined && c.Status == ChargeDeclined:
		a.Result, a.Amount = payments.ResultDeclined, 0
	case !declined && c.Status == ChargePending:
		a.Result, a.Amount = payments.ResultPending, 0
	case !declined && (c.Status == ChargeAuthorised || c.Status == ChargeCaptured):
		a.Result = payments.ResultSucceeded
	default:
		return unknown(x, fmt.Sprintf("a charge cannot be %q after %d", c.Status, x.status))
	}
	return a
}

func classifyOperation(r payments.ProviderRequest, x exchanged) payments.ProviderAnswer {
	var op Operation
	if err := json.Unmarshal(x.body, &op); err != nil {
		return unknown(x, "the answer is no operation")
	}
	if op.ID == "" || op.Reference != r.Reference || string(op.Kind) != string(r.Kind) {
		return unknown(x, "the answer is about another operation")
	}
	return answerOf(op, x)
}

// answerOf shows an operation's outcome. Only a succeeded one moved an amount.
func answerOf(op Operation, x exchanged) payments.ProviderAnswer {
	a := payments.ProviderAnswer{
		ChargeID: op.ChargeID, OperationID: op.ID, Fee: op.Fee, FailureCode: op.FailureCode, HTTPStatus: x.status,
	}
	switch op.Status {
	case OperationSucceeded:
		a.Result, a.Amount = payments.ResultSucceeded, op.Amount
	case OperationPending:
		a.Result = payments.ResultPending
	case OperationDeclined:
		a.Result = payments.ResultDeclined
	default:
		return unknown(x, fmt.Sprintf("an operation cannot be %q", op.Status))
	}
	return a
}

func unknown(x exchanged, detail string) payments.ProviderAnswer {
	return payments.ProviderAnswer{Result: payments.ResultUnknown, HTTPStatus: x.status, Detail: detail}
}

// refusal reads the provider's reason; an empty code means that the body is not the provider's.
func (x exchanged) refusal() (code, message string) {
	if x.status < 400 {
		return "", ""
	}
	var body errorBody
	if err := json.Unmarshal(x.body, &body); err != nil {
		return "", ""
	}
	return body.Error.Code, body.Error.Message
}

// retryAfter reads seconds or a date, never less than nothing.
func (p *Provider) retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(p.clock()), 0)
	}
	return retryAfterDefault
}
