package sandbox

import (
	"io"
	"net/http"
	"strconv"
)

// Summary is what the provider really did, all in all. Amounts are minor units, added up over all currencies.
type Summary struct {
	Charges        int64            `json:"charges"`  // made or pending; declined ones apart
	Captures       int64            `json:"captures"` // also those made with their charge
	Refunds        int64            `json:"refunds"`
	Voids          int64            `json:"voids"`
	Declined       int64            `json:"declined"`
	AmountCaptured int64            `json:"amount_captured"`
	AmountRefunded int64            `json:"amount_refunded"`
	Fees           int64            `json:"fees"`
	DoubleCharges  int64            `json:"double_charges"` // payments charged twice, or with a capture or refund made twice for one reference
	FaultsInjected map[string]int64 `json:"faults_injected"`
	Requests       int64            `json:"requests"`
	Webhooks       WebhookCounts    `json:"webhooks"`
}

// WebhookCounts tells where the notifications are. Dropped ones found the queue full; abandoned ones were never taken.
type WebhookCounts struct {
	Waiting   int64 `json:"waiting"` // queued, or being sent
	Delivered int64 `json:"delivered"`
	Dropped   int64 `json:"dropped"`
	Abandoned int64 `json:"abandoned"`
}

// PaymentTruth is what really happened for one payment: metadata.payment of its charges, else their reference.
type PaymentTruth struct {
	Payment          string      `json:"payment"`
	Charges          []Charge    `json:"charges"`
	AmountAuthorised int64       `json:"amount_authorised"` // ever authorised, whatever became of it
	AmountCaptured   int64       `json:"amount_captured"`
	AmountRefunded   int64       `json:"amount_refunded"`
	Voided           bool        `json:"voided"` // a charge was voided
	Fee              int64       `json:"fee"`
	Double           bool        `json:"double"` // counted in Summary.DoubleCharges
	Operations       []Operation `json:"operations"`
}

// PaymentPage is a page of payments in the order they were first seen. NextAfter is empty on the last page.
type PaymentPage struct {
	Payments  []PaymentTruth `json:"payments"`
	NextAfter string         `json:"next_after,omitempty"`
}

// Summary tells what was done so far. Safe for concurrent use.
func (s *Server) Summary() Summary {
	s.book.mu.Lock()
	s.book.advance(s.clock())
	out := s.book.total
	s.book.mu.Unlock()
	out.FaultsInjected = s.tally.read()
	out.Requests = s.requests.Load()
	out.Webhooks = s.webhooks.counts()
	return out
}

func (s *Server) getSummary(w http.ResponseWriter, _ *http.Request) {
	a := shown(http.StatusOK, s.Summary())
	reply(w, a.status, a.body)
}

func (s *Server) listPayments(w http.ResponseWriter, r *http.Request) {
	limit, problem := limitOf(r)
	if problem != nil {
		refuse(w, problem)
		return
	}
	start := 0
	if after := r.URL.Query().Get("after"); after != "" {
		row, err := strconv.Atoi(after)
		if err != nil || row < 0 {
			refuse(w, malformed("after_unknown", "after must be a next_after of this list."))
			return
		}
		start = row
	}
	a := shown(http.StatusOK, s.pageOfPayments(start, limit))
	reply(w, a.status, a.body)
}

func (s *Server) pageOfPayments(start, limit int) PaymentPage {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	s.book.advance(s.clock())
	start = min(start, len(s.book.payments))
	end := min(start+limit, len(s.book.payments))
	page := PaymentPage{Payments: make([]PaymentTruth, 0, end-start)}
	for _, p := range s.book.payments[start:end] {
		page.Payments = append(page.Payments, s.book.truth(p))
	}
	if end < len(s.book.payments) {
		page.NextAfter = strconv.Itoa(end)
	}
	return page
}

// truth adds up one payment.
func (b *book) truth(p *payment) PaymentTruth {
	out := PaymentTruth{Payment: p.id, Double: p.double}
	for _, c := range p.charges {
		out.Charges = append(out.Charges, c.Charge)
		if c.opening.Status == OperationSucceeded {
			out.AmountAuthorised += c.Amount
		}
		out.AmountCaptured += c.AmountCaptured
		out.AmountRefunded += c.AmountRefunded
		out.Fee += c.Fee
		for _, op := range c.operations {
			out.Operations = append(out.Operations, *op)
			out.Voided = out.Voided || op.Kind == KindVoid && op.Status == OperationSucceeded
		}
	}
	return out
}

// plantDuplicate charges the reference's first charge once more, so that a check for double charges can be seen to fail.
func (s *Server) plantDuplicate(w http.ResponseWriter, r *http.Request) {
	s.book.mu.Lock()
	first := s.book.firstCharge(r.PathValue("reference"))
	var planted Charge
	if first != nil {
		planted = s.book.charge(&chargeInput{
			Reference: first.Reference, Amount: first.Amount, Currency: first.Currency,
			Token: "tok_approved", Capture: first.opening.Captured, Metadata: first.Metadata,
		}, s.clock()).Charge
	}
	s.book.mu.Unlock()
	if first == nil {
		refuse(w, &refusal{status: http.StatusNotFound, Code: "operation_not_found", Message: "No charge has this reference."})
		return
	}
	a := shown(http.StatusCreated, &planted)
	reply(w, a.status, a.body)
}

func (b *book) firstCharge(ref string) *charge {
	r := b.references[ref]
	if r == nil {
		return nil
	}
	for _, op := range r.operations {
		if op.Kind == KindAuthorise {
			return b.byID[op.ChargeID]
		}
	}
	return nil
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) {
	a := shown(http.StatusOK, s.faults.Load())
	reply(w, a.status, a.body)
}

// putFaults changes the profile: a JSON object, a JSON string, or plain text as ParseFaults reads it.
func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyBytesMax))
	var f Faults
	if err == nil {
		err = f.UnmarshalJSON(body)
	}
	if err != nil {
		refuse(w, malformed("faults_invalid", err.Error()))
		return
	}
	s.setFaults(f)
	s.getFaults(w, r)
}

// postWebhookTarget says where webhooks go from now on; an empty url ends them.
func (s *Server) postWebhookTarget(w http.ResponseWriter, r *http.Request) {
	var in struct {
		URL    string `json:"url"`
		Secret string `json:"secret"`
	}
	if _, problem := readInput(r, &in); problem != nil {
		refuse(w, problem)
		return
	}
	if err := s.webhooks.aim(in.URL, in.Secret); err != nil {
		refuse(w, unprocessable("webhook_target_invalid", err.Error()))
		return
	}
	a := shown(http.StatusOK, map[string]string{"url": in.URL})
	reply(w, a.status, a.body)
}
