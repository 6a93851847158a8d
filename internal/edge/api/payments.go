package api

import (
	"context"
	"net/http"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
)

const (
	paymentsPath    = "/v1/payments/"
	defaultProvider = "sandbox"
)

// createPayments is the body of the lane for new payments: what it records under the key is the attempt, not an answer.
func (s *Server) createPayments(ctx context.Context, tx postgres.Tx, items []command.Item[payments.Create]) ([]command.Outcome, error) {
	list := make([]payments.Create, len(items))
	for i := range items {
		list[i] = items[i].In
	}
	begun, err := s.deps.Payments.Create(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	return begunOutcomes(begun), nil
}

// changePayments is the body of the lane for captures, refunds and voids.
func (s *Server) changePayments(ctx context.Context, tx postgres.Tx, items []command.Item[payments.Change]) ([]command.Outcome, error) {
	list := make([]payments.Change, len(items))
	for i := range items {
		list[i] = items[i].In
	}
	begun, err := s.deps.Payments.Change(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	return begunOutcomes(begun), nil
}

// begunOutcomes records each attempt as 202 without a body: what its caller is told is asked of the attempt each time.
func begunOutcomes(begun []payments.Begun) []command.Outcome {
	outcomes := make([]command.Outcome, len(begun))
	for i := range begun {
		if begun[i].Err != nil {
			outcomes[i].Err = inBody(begun[i].Err)
			continue
		}
		outcomes[i] = command.Outcome{
			Answer: command.Answer{Status: http.StatusAccepted, SubjectID: begun[i].AttemptID}, Carry: begun[i],
		}
	}
	return outcomes
}

// startPayments hands attempts to this node's workers once their batch has committed.
func (s *Server) startPayments(outcomes []command.Outcome) {
	begun := make([]payments.Begun, 0, len(outcomes))
	for _, o := range outcomes {
		if b, ok := o.Carry.(payments.Begun); ok {
			begun = append(begun, b)
		}
	}
	s.deps.Payments.Start(begun)
}

// CreatePayment answers POST /v1/payments.
func (s *Server) CreatePayment(ctx context.Context, r CreatePaymentRequestObject) (CreatePaymentResponseObject, error) {
	c, b := callOf(ctx), r.Body
	create := payments.Create{
		OrgID: c.principal.OrgID, Provider: defaultProvider, Currency: b.Currency, Amount: b.Amount,
		CaptureMethod: payments.CaptureAutomatic, PaymentMethod: b.PaymentMethod, Reference: valueOf(b.Reference),
		Description: valueOf(b.Description), Metadata: metadataOf(b.Metadata), IdempotencyKey: c.key, RequestID: c.requestID, TraceParent: traceParent(ctx),
	}
	if b.Provider != nil {
		create.Provider = *b.Provider
	}
	if b.CaptureMethod != nil {
		create.CaptureMethod = string(*b.CaptureMethod)
	}
	recorded, err := s.creations.Do(ctx, c.meta(), create)
	if err != nil {
		return nil, err
	}
	return s.await(ctx, recorded, r.Params.Prefer)
}

// CapturePayment answers POST /v1/payments/{payment_id}/capture.
func (s *Server) CapturePayment(ctx context.Context, r CapturePaymentRequestObject) (CapturePaymentResponseObject, error) {
	return s.changePayment(ctx, r.PaymentID, r.Params.Prefer, payments.Change{
		Kind: payments.KindCapture, Amount: valueOf(r.Body.Amount), Final: isTrue(r.Body.Final),
	})
}

// RefundPayment answers POST /v1/payments/{payment_id}/refunds.
func (s *Server) RefundPayment(ctx context.Context, r RefundPaymentRequestObject) (RefundPaymentResponseObject, error) {
	return s.changePayment(ctx, r.PaymentID, r.Params.Prefer, payments.Change{Kind: payments.KindRefund, Amount: valueOf(r.Body.Amount)})
}

// VoidPayment answers POST /v1/payments/{payment_id}/void.
func (s *Server) VoidPayment(ctx context.Context, r VoidPaymentRequestObject) (VoidPaymentResponseObject, error) {
	return s.changePayment(ctx, r.PaymentID, r.Params.Prefer, payments.Change{Kind: payments.KindVoid})
}

func (s *Server) changePayment(ctx context.Context, shown string, prefer *string, change payments.Change) (reply, error) {
	id, err := ids.Parse(payments.PaymentPrefix, shown)
	if err != nil {
		return reply{}, payments.ErrNotFound
	}
	c := callOf(ctx)
	change.OrgID, change.PaymentID, change.IdempotencyKey, change.RequestID = c.principal.OrgID, id, c.key, c.requestID
	change.TraceParent = traceParent(ctx)
	recorded, err := s.changes.Do(ctx, c.meta(), change)
	if err != nil {
		return reply{}, err
	}
	return s.await(ctx, recorded, prefer)
}

// await turns what is recorded under the key into the answer: a refusal as it is, an attempt as it stands once the provider
// has answered or the caller has waited long enough. A repeat waits like the first request did.
func (s *Server) await(ctx context.Context, recorded command.Answer, prefer *string) (reply, error) {
	if recorded.SubjectID.IsZero() {
		return reply{answer: recorded}, nil
	}
	final, err := s.deps.Payments.Await(ctx, callOf(ctx).principal.OrgID, recorded.SubjectID, waitOf(prefer, s.deps.PaymentWait))
	if err != nil {
		return reply{}, err
	}
	if final.Status == http.StatusPaymentRequired {
		declined := s.gate.contract.problem(declinedFault(final.Kind), callOf(ctx).requestID)
		declined.FailureCode = final.FailureCode
		callOf(ctx).code = declined.Code
		answer := declined.answer()
		answer.Replayed = recorded.Replayed
		return reply{answer: answer}, nil
	}
	return reply{
		answer:   command.Answer{Status: final.Status, Body: final.Body, Replayed: recorded.Replayed},
		location: paymentsPath + ids.Format(payments.PaymentPrefix, final.PaymentID),
	}, nil
}

// declinedFault says what the provider declined. A payment that was declined as a whole is no fault: it exists and says so.
func declinedFault(kind payments.Kind) *fault.Fault {
	switch kind {
	case payments.KindCapture:
		return fault.New(fault.Conflict, "capture_declined", "The provider declined the capture; the authorisation stands.")
	case payments.KindRefund:
		return fault.New(fault.Conflict, "refund_declined", "The provider declined the refund; nothing was given back.")
	default:
		return fault.New(fault.Conflict, "void_declined", "The provider declined the void; the authorisation stands.")
	}
}

// GetPayment answers GET /v1/payments/{payment_id}.
func (s *Server) GetPayment(ctx context.Context, r GetPaymentRequestObject) (GetPaymentResponseObject, error) {
	id, err := ids.Parse(payments.PaymentPrefix, r.PaymentID)
	if err != nil {
		return nil, payments.ErrNotFound
	}
	body, err := s.deps.Payments.Get(ctx, callOf(ctx).principal.OrgID, id)
	if err != nil {
		return nil, err
	}
	return ok(body), nil
}

// ListPayments answers GET /v1/payments.
func (s *Server) ListPayments(ctx context.Context, r ListPaymentsRequestObject) (ListPaymentsResponseObject, error) {
	p := r.Params
	after, limit, err := position(listOfPayments, p.Cursor, p.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Payments.List(ctx, callOf(ctx).principal.OrgID, payments.Filter{
		Status: payments.Status(valueOf(p.Status)), Reference: valueOf(p.Reference),
		CreatedFrom: moment(p.CreatedFrom), CreatedTo: moment(p.CreatedTo),
	}, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, list[i]...) }, next, listOfPayments), nil
}
