package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kontorhq/kontor/client"
)

// answer is what a node said, whole.
type answer struct {
	status  int
	payment *client.Payment // of 200, 201 and 202
	problem *client.Problem // of 400 and above
	body    []byte
}

// code is the problem's, or empty.
func (a *answer) code() string {
	if a.problem == nil {
		return ""
	}
	return a.problem.Code
}

// settled tells whether the answer is the last word: it will be the same however often it is asked for.
func (a *answer) settled() bool {
	switch {
	case a.status == http.StatusOK, a.status == http.StatusCreated:
		return true
	case a.status == http.StatusTooManyRequests, a.code() == "attempt_in_progress":
		return false
	default:
		return a.status >= 400 && a.status < 500
	}
}

// String is the answer in a few words.
func (a *answer) String() string {
	switch {
	case a.problem != nil:
		return fmt.Sprintf("%d %s", a.status, a.problem.Code)
	case a.payment != nil:
		return fmt.Sprintf("%d %s %s, latest attempt %s", a.status, a.payment.ID, a.payment.Status, a.payment.LatestAttempt.State)
	default:
		return fmt.Sprintf("%d", a.status)
	}
}

// answerBytesMax bounds an answer that is read.
const answerBytesMax = 1 << 20

// readAnswer reads an answer to its end; one that breaks off is none.
func readAnswer(w *http.Response) (*answer, error) {
	defer drain(w.Body)
	a := &answer{status: w.StatusCode}
	var err error
	if a.body, err = io.ReadAll(io.LimitReader(w.Body, answerBytesMax)); err != nil {
		return nil, err
	}
	var into any
	if w.StatusCode >= 400 {
		a.problem = &client.Problem{}
		into = a.problem
	} else {
		a.payment = &client.Payment{}
		into = a.payment
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return nil, fmt.Errorf("%w: %d with %.200q", errGarbled, w.StatusCode, a.body)
	}
	return a, nil
}

// errGarbled says that a node answered something that the contract does not know.
var errGarbled = errors.New("the answer is not what the contract says")

// request asks one node for something; key and prefer are headers, prefer may be nil.
type request func(ctx context.Context, to client.ClientInterface, key string, prefer *string) (*http.Response, error)

// creation asks for the script's payment.
func (sc *script) creation() request {
	method := client.CaptureMethodAutomatic
	if sc.manual {
		method = client.CaptureMethodManual
	}
	reference := fmt.Sprintf("order-%d", sc.number)
	in := client.PaymentRequest{
		Amount: sc.amount, Currency: sc.currency, PaymentMethod: sc.token.name, CaptureMethod: &method, Reference: &reference,
	}
	if sc.number%3 == 0 {
		description := "what was ordered as " + reference
		in.Description = &description
		in.Metadata = &client.Metadata{"order": reference, "customer": "Zoë & Søn"}
	}
	return create(in)
}

func create(in client.PaymentRequest) request {
	return func(ctx context.Context, to client.ClientInterface, key string, prefer *string) (*http.Response, error) {
		return to.CreatePayment(ctx, &client.CreatePaymentParams{IdempotencyKey: key, Prefer: prefer}, in)
	}
}

// change asks for a move of a payment.
func (m *move) change(paymentID string) request {
	var amount *int64
	if m.amount != 0 {
		amount = &m.amount
	}
	var final *bool
	if m.final {
		final = &m.final
	}
	return func(ctx context.Context, to client.ClientInterface, key string, prefer *string) (*http.Response, error) {
		switch m.kind {
		case client.PaymentAttemptKindCapture:
			return to.CapturePayment(ctx, paymentID, &client.CapturePaymentParams{IdempotencyKey: key, Prefer: prefer},
				client.CaptureRequest{Amount: amount, Final: final})
		case client.PaymentAttemptKindRefund:
			return to.RefundPayment(ctx, paymentID, &client.RefundPaymentParams{IdempotencyKey: key, Prefer: prefer},
				client.RefundRequest{Amount: amount})
		default:
			return to.VoidPayment(ctx, paymentID, &client.VoidPaymentParams{IdempotencyKey: key, Prefer: prefer}, client.VoidRequest{})
		}
	}
}

// look asks for a payment as it is.
func look(paymentID string) request {
	return func(ctx context.Context, to client.ClientInterface, _ string, _ *string) (*http.Response, error) {
		return to.GetPayment(ctx, paymentID)
	}
}

// try sends one request to one node and waits for the answer as long as its patience lasts.
func (d *driver) try(ctx context.Context, on *node, r request, key string, prefer *string, patience time.Duration) (*answer, error) {
	to, err := on.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d.counts.sent.Add(1)
	w, err := r(ctx, to, key, prefer)
	if err != nil {
		d.counts.lost.Add(1)
		return nil, err
	}
	a, err := readAnswer(w)
	switch {
	case errors.Is(err, errGarbled):
		d.findings.add("%s on %s: %s", key, on.name, err)
	case err != nil:
		d.counts.lost.Add(1)
	case a.status >= 500:
		d.counts.unavailable.Add(1)
		d.noteInternal(a, on, key)
	}
	return a, err
}

// noteInternal keeps what a node could not explain itself: a client can only repeat its request, but somebody should look.
func (d *driver) noteInternal(a *answer, on *node, key string) {
	if a.code() == "internal" {
		d.counts.internal.Add(1)
		d.journal.note("%s answered %s with an internal error, request %s", on.name, key, a.problem.RequestID)
	}
}

// equal tells whether two answers are the same to the last byte.
func (a *answer) equal(b *answer) bool { return a.status == b.status && bytes.Equal(a.body, b.body) }
