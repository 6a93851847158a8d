package api

import (
	"errors"
	"net/http"
	"testing"

	"github.com/kontorhq/kontor/client"
)

func TestTheClientSpeaksToTheServer(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	kontor, err := client.New(n.http.URL, n.key)
	if err != nil {
		t.Fatal(err)
	}
	reference := "order-42"
	made, err := kontor.CreatePaymentWithResponse(t.Context(), &client.CreatePaymentParams{IdempotencyKey: client.NewKey()},
		client.PaymentRequest{Amount: 1000, Currency: "EUR", PaymentMethod: "tok_approved", Reference: &reference})
	if err != nil || made.JSON201 == nil || made.JSON201.Status != client.PaymentStatusCaptured || *made.JSON201.Reference != reference {
		t.Fatalf("%s, %v", made.Body, err)
	}
	amount := int64(400)
	back, err := kontor.RefundPaymentWithResponse(t.Context(), made.JSON201.ID, &client.RefundPaymentParams{IdempotencyKey: client.NewKey()},
		client.RefundRequest{Amount: &amount})
	if err != nil || back.JSON201 == nil || back.JSON201.AmountRefunded != amount {
		t.Fatalf("%s, %v", back.Body, err)
	}
	listed, err := kontor.ListPaymentsWithResponse(t.Context(), &client.ListPaymentsParams{Reference: &reference})
	if err != nil || listed.JSON200 == nil || len(listed.JSON200.Data) != 1 || listed.JSON200.HasMore {
		t.Fatalf("%s, %v", listed.Body, err)
	}
	refused, err := kontor.CreatePaymentWithResponse(t.Context(), &client.CreatePaymentParams{IdempotencyKey: client.NewKey()},
		client.PaymentRequest{Amount: -1, Currency: "EUR", PaymentMethod: "tok_approved"})
	if err != nil || refused.StatusCode() != http.StatusBadRequest {
		t.Fatalf("%s, %v", refused.Body, err)
	}
	var problem *client.Problem
	if !errors.As(error(refused.ApplicationProblemJSONDefault), &problem) || problem.Code != "invalid_request" || problem.Error() == "" {
		t.Errorf("%v", refused.ApplicationProblemJSONDefault)
	}
	accounts, err := kontor.ListAccountsWithResponse(t.Context(), &client.ListAccountsParams{})
	if err != nil || accounts.JSON200 == nil || len(accounts.JSON200.Data) == 0 {
		t.Fatalf("%s, %v", accounts.Body, err)
	}
}
