package api

import (
	"errors"
	"net/http"

	"github.com/kontorhq/kontor/internal/platform/command"
)

// reply is an answer in bytes, recorded or just made. It serves every operation, so that what is sent is always what
// was recorded, byte for byte.
type reply struct {
	answer   command.Answer
	location string // path of what was made; may be empty
}

// ok is a reply to a read.
func ok(body []byte) reply { return reply{answer: command.Answer{Status: http.StatusOK, Body: body}} }

var errNotOurWriter = errors.New("the response writer is not the gate's")

func (r reply) visit(w http.ResponseWriter) error {
	c, isCall := w.(*call)
	if !isCall {
		return errNotOurWriter
	}
	if r.location != "" {
		c.Header()["Location"] = []string{r.location}
	}
	c.write(r.answer)
	return nil
}

// The generated code has one interface an operation.

// VisitCreatePaymentResponse implements CreatePaymentResponseObject.
func (r reply) VisitCreatePaymentResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListPaymentsResponse implements ListPaymentsResponseObject.
func (r reply) VisitListPaymentsResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetPaymentResponse implements GetPaymentResponseObject.
func (r reply) VisitGetPaymentResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCapturePaymentResponse implements CapturePaymentResponseObject.
func (r reply) VisitCapturePaymentResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitVoidPaymentResponse implements VoidPaymentResponseObject.
func (r reply) VisitVoidPaymentResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitRefundPaymentResponse implements RefundPaymentResponseObject.
func (r reply) VisitRefundPaymentResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateAccountResponse implements CreateAccountResponseObject.
func (r reply) VisitCreateAccountResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListAccountsResponse implements ListAccountsResponseObject.
func (r reply) VisitListAccountsResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetAccountResponse implements GetAccountResponseObject.
func (r reply) VisitGetAccountResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetAccountBalanceResponse implements GetAccountBalanceResponseObject.
func (r reply) VisitGetAccountBalanceResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetAccountStatementResponse implements GetAccountStatementResponseObject.
func (r reply) VisitGetAccountStatementResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateEntryResponse implements CreateEntryResponseObject.
func (r reply) VisitCreateEntryResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListEntriesResponse implements ListEntriesResponseObject.
func (r reply) VisitListEntriesResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitCreateEntryBatchResponse implements CreateEntryBatchResponseObject.
func (r reply) VisitCreateEntryBatchResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetEntryResponse implements GetEntryResponseObject.
func (r reply) VisitGetEntryResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitPostEntryResponse implements PostEntryResponseObject.
func (r reply) VisitPostEntryResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitVoidEntryResponse implements VoidEntryResponseObject.
func (r reply) VisitVoidEntryResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitReverseEntryResponse implements ReverseEntryResponseObject.
func (r reply) VisitReverseEntryResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitListEventsResponse implements ListEventsResponseObject.
func (r reply) VisitListEventsResponse(w http.ResponseWriter) error { return r.visit(w) }

// VisitGetContractResponse implements GetContractResponseObject.
func (r reply) VisitGetContractResponse(w http.ResponseWriter) error { return r.visit(w) }
