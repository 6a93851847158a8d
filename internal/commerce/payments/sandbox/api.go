package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// The bounds of requests and pages.
const (
	bodyBytesMax    = 64 << 10
	referenceMax    = 200
	keyMax          = 255
	metadataMax     = 50
	pageDefault     = 100
	pageMax         = 1000
	metadataTextMax = 500
)

// provider guards the provider's own endpoints: counted, and only with a bearer key (any).
func (s *Server) provider(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer || key == "" {
			refuse(w, &refusal{status: http.StatusUnauthorized, Code: "unauthorized", Message: "An API key is missing."})
			return
		}
		next(w, r)
	}
}

// postCharge makes a charge: 201, 202 while it is pending, 402 if declined.
func (s *Server) postCharge(w http.ResponseWriter, r *http.Request) {
	var in chargeInput
	body, problem := readInput(r, &in)
	if problem == nil {
		problem = in.validate()
	}
	if problem != nil {
		refuse(w, problem)
		return
	}
	s.perform(w, r, request{
		verb: verbCharge, reference: in.Reference, token: in.Token, body: body,
		make: func(now time.Time) answer {
			c := s.book.charge(&in, now)
			status := http.StatusCreated
			switch c.Status {
			case ChargePending:
				status = http.StatusAccepted
			case ChargeDeclined:
				status = http.StatusPaymentRequired
			}
			a := shown(status, &c.Charge)
			a.kept = true
			return a
		},
	})
}

// postMovement captures, refunds or voids. A refused movement is kept under its key like a made one.
func (s *Server) postMovement(kind OperationKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in movementInput
		body, problem := readInput(r, &in)
		if problem == nil {
			problem = in.validate(kind)
		}
		if problem != nil {
			refuse(w, problem)
			return
		}
		id := r.PathValue("id")
		s.perform(w, r, request{
			verb: verbOf(kind), reference: in.Reference, body: body,
			make: func(now time.Time) answer {
				c := s.book.byID[id]
				if c == nil {
					return refusalAnswer(&refusal{status: http.StatusNotFound, Code: "charge_not_found", Message: "No charge has this id."})
				}
				op, refused := s.book.move(c, kind, &in, now)
				a := shown(http.StatusCreated, op)
				if refused != nil {
					a = refusalAnswer(refused)
				}
				a.kept = true
				return a
			},
		})
	}
}

func verbOf(kind OperationKind) verb {
	switch kind {
	case KindCapture:
		return verbCapture
	case KindRefund:
		return verbRefund
	case KindVoid:
		return verbVoid
	default:
		return verbCharge
	}
}

// getOperations tells what was done for a reference.
func (s *Server) getOperations(w http.ResponseWriter, r *http.Request) {
	ref := r.PathValue("reference")
	if !s.lookUp(w, r, ref) {
		return
	}
	s.book.mu.Lock()
	s.book.advance(s.clock())
	found := s.book.operations(ref)
	s.book.mu.Unlock()
	if len(found.Operations) == 0 {
		refuse(w, &refusal{status: http.StatusNotFound, Code: "operation_not_found", Message: "Nothing was done for this reference."})
		return
	}
	a := shown(http.StatusOK, found)
	reply(w, a.status, a.body)
}

// operations copies what was done for a reference.
func (b *book) operations(ref string) Operations {
	var out Operations
	r := b.references[ref]
	if r == nil {
		return out
	}
	effective := false
	for _, op := range r.operations {
		out.Operations = append(out.Operations, *op)
		if !effective {
			effective = op.Status != OperationDeclined
			if effective || len(out.Operations) == 1 {
				out.Charge = b.byID[op.ChargeID].Charge
			}
		}
	}
	return out
}

// listCharges is the record of charges, for reconciliation.
func (s *Server) listCharges(w http.ResponseWriter, r *http.Request) {
	limit, problem := limitOf(r)
	if problem != nil {
		refuse(w, problem)
		return
	}
	after := r.URL.Query().Get("after")
	if !s.lookUp(w, r, "charges after "+after) {
		return
	}
	page, problem := s.pageOfCharges(after, limit)
	if problem != nil {
		refuse(w, problem)
		return
	}
	a := shown(http.StatusOK, page)
	reply(w, a.status, a.body)
}

func (s *Server) pageOfCharges(after string, limit int) (ChargePage, *refusal) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	s.book.advance(s.clock())
	start := 0
	if after != "" {
		c := s.book.byID[after]
		if c == nil {
			return ChargePage{}, malformed("after_unknown", "No charge has the id in after.")
		}
		start = c.row + 1
	}
	end := min(start+limit, len(s.book.charges))
	page := ChargePage{Charges: make([]Charge, 0, end-start)}
	for _, c := range s.book.charges[start:end] {
		page.Charges = append(page.Charges, c.Charge)
	}
	if end < len(s.book.charges) {
		page.NextAfter = s.book.charges[end-1].ID
	}
	return page, nil
}

// lookUp takes a reading request through its faults; false when a fault answered it.
func (s *Server) lookUp(w http.ResponseWriter, r *http.Request, subject string) bool {
	faults := s.faults.Load()
	var nth uint32
	if faults.troubled() {
		s.book.mu.Lock()
		nth = s.book.send(verbLookUp, subject)
		s.book.mu.Unlock()
	}
	p := faults.plan(verbLookUp, subject, nth, "")
	if p.slow {
		s.tally.add(slow)
	}
	badserver.Pause(s.stopped, p.delay)
	if p.fault != noFault {
		s.suffer(w, r, p.fault)
		return false
	}
	return true
}

// troubled tells whether requests can suffer at all.
func (f *Faults) troubled() bool { return f.LatencyMax > 0 || f.Slow > 0 || f.exclusive() > 0 }

// readInput reads a JSON body strictly and keeps its bytes for the idempotency key's fingerprint.
func readInput(r *http.Request, into any) ([]byte, *refusal) {
	if len(r.Header.Get(headerKey)) > keyMax {
		return nil, malformed("idempotency_key_too_long", fmt.Sprintf("The idempotency key may have %d characters.", keyMax))
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyBytesMax+1))
	if err != nil {
		return nil, malformed("body_unreadable", "The body ended early.")
	}
	if len(body) > bodyBytesMax {
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "The body is too large."}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return nil, malformed("invalid_json", err.Error())
	}
	return body, nil
}

func (in *chargeInput) validate() *refusal {
	if problem := validReference(in.Reference); problem != nil {
		return problem
	}
	if problem := validAmount(in.Amount); problem != nil {
		return problem
	}
	if len(in.Currency) != 3 || strings.Trim(in.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return unprocessable("currency_invalid", "currency must be three upper-case letters.")
	}
	if !strings.HasPrefix(in.Token, "tok_") {
		return unprocessable("token_invalid", "token must begin with tok_.")
	}
	if len(in.Metadata) > metadataMax {
		return unprocessable("metadata_too_large", fmt.Sprintf("metadata may have %d entries.", metadataMax))
	}
	for key, value := range in.Metadata {
		if len(key) > metadataTextMax || len(value) > metadataTextMax {
			return unprocessable("metadata_too_large", fmt.Sprintf("Metadata may have %d characters each.", metadataTextMax))
		}
	}
	return nil
}

func (in *movementInput) validate(kind OperationKind) *refusal {
	if problem := validReference(in.Reference); problem != nil {
		return problem
	}
	if kind == KindVoid {
		return nil
	}
	return validAmount(in.Amount)
}

func validReference(ref string) *refusal {
	if ref == "" || len(ref) > referenceMax {
		return unprocessable("reference_invalid", fmt.Sprintf("reference must have 1 to %d characters.", referenceMax))
	}
	return nil
}

func validAmount(amount int64) *refusal {
	if amount <= 0 || amount > amountMax {
		return unprocessable("amount_invalid", fmt.Sprintf("amount must be 1 to %d minor units.", int64(amountMax)))
	}
	return nil
}

func limitOf(r *http.Request) (int, *refusal) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return pageDefault, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > pageMax {
		return 0, malformed("limit_invalid", fmt.Sprintf("limit must be 1 to %d.", pageMax))
	}
	return limit, nil
}
