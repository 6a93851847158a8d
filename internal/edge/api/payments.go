package api

import (
	"context"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

var errSoon = fault.New(fault.Unavailable, "overloaded", "Payments are not there yet.")

func (s *Server) CreatePayment(context.Context, CreatePaymentRequestObject) (CreatePaymentResponseObject, error) {
	return nil, errSoon
}
func (s *Server) ListPayments(context.Context, ListPaymentsRequestObject) (ListPaymentsResponseObject, error) {
	return nil, errSoon
}
func (s *Server) GetPayment(context.Context, GetPaymentRequestObject) (GetPaymentResponseObject, error) {
	return nil, errSoon
}
func (s *Server) CapturePayment(context.Context, CapturePaymentRequestObject) (CapturePaymentResponseObject, error) {
	return nil, errSoon
}
func (s *Server) VoidPayment(context.Context, VoidPaymentRequestObject) (VoidPaymentResponseObject, error) {
	return nil, errSoon
}
func (s *Server) RefundPayment(context.Context, RefundPaymentRequestObject) (RefundPaymentResponseObject, error) {
	return nil, errSoon
}
