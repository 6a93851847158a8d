package sandbox

import (
	"container/heap"
	"sync"
	"time"
)

// book is the record of what the provider really did. Its methods are called with mu held.
type book struct {
	newID       func(prefix string) string
	settleDelay time.Duration
	ttl         time.Duration // of an authorisation
	notify      func(Event)

	mu         sync.Mutex
	charges    []*charge
	byID       map[string]*charge
	references map[string]*reference
	payments   []*payment
	byPayment  map[string]*payment
	answers    map[string]keptAnswer // by idempotency key
	due        dueHeap
	total      Summary
}

// reference is what the provider knows by one of our references.
type reference struct {
	sends      [verbCount]uint32
	operations []*Operation
}

// payment gathers the charges of one payment, to find what was done twice.
type payment struct {
	id       string
	charges  []*charge
	live     int  // charges not declined
	repeated bool // a capture or refund was made twice for one reference
	double   bool
}

// keptAnswer is the answer that an idempotency key repeats.
type keptAnswer struct {
	fingerprint [32]byte
	answer      answer
}

func newBook(newID func(string) string, settleDelay, ttl time.Duration, notify func(Event)) *book {
	return &book{
		newID: newID, settleDelay: settleDelay, ttl: ttl, notify: notify,
		byID:       map[string]*charge{},
		references: map[string]*reference{},
		byPayment:  map[string]*payment{},
		answers:    map[string]keptAnswer{},
	}
}

// send counts a request for the reference and tells how many there have been, this one included.
func (b *book) send(v verb, ref string) uint32 {
	r := b.reference(ref)
	r.sends[v]++
	return r.sends[v]
}

func (b *book) reference(ref string) *reference {
	r := b.references[ref]
	if r == nil {
		r = &reference{}
		b.references[ref] = r
	}
	return r
}

// charge makes a charge and decides it as its token asks; a pending one is decided by advance.
func (b *book) charge(in *chargeInput, now time.Time) *charge {
	id := b.newID("ch")
	c := &charge{row: len(b.charges), settleAs: tokenBehaviour(in.Token), Charge: Charge{
		ID: id, Reference: in.Reference, Amount: in.Amount, Currency: in.Currency,
		CreatedAt: now, Metadata: in.Metadata,
	}}
	c.opening = &Operation{
		ID: id, Kind: KindAuthorise, ChargeID: id, Reference: in.Reference, Amount: in.Amount,
		Captured: in.Capture, CreatedAt: now,
	}
	b.charges = append(b.charges, c)
	b.byID[id] = c
	b.record(c, c.opening)
	c.payment = b.paymentOf(in)
	c.payment.charges = append(c.payment.charges, c)
	b.countLive(c.payment, +1)
	if c.settleAs.pending {
		c.Status, c.opening.Status = ChargePending, OperationPending
		heap.Push(&b.due, dueCharge{at: now.Add(b.settleDelay), charge: c})
		b.tell(EventPending, c, c.opening, now)
		return c
	}
	b.decide(c, now)
	return c
}

func (b *book) paymentOf(in *chargeInput) *payment {
	id := in.Metadata["payment"]
	if id == "" {
		id = in.Reference
	}
	p := b.byPayment[id]
	if p == nil {
		p = &payment{id: id}
		b.byPayment[id] = p
		b.payments = append(b.payments, p)
	}
	return p
}

// decide approves or declines a new or pending charge.
func (b *book) decide(c *charge, now time.Time) {
	if code := c.settleAs.failureCode; code != "" {
		c.Status, c.FailureCode = ChargeDeclined, code
		c.opening.Status, c.opening.FailureCode = OperationDeclined, code
		b.countLive(c.payment, -1)
		b.total.Declined++
		b.tell(EventDeclined, c, c.opening, now)
		return
	}
	c.Status, c.opening.Status = ChargeAuthorised, OperationSucceeded
	if c.opening.Captured {
		c.opening.Fee = c.capture(c.Amount, true)
		b.countCapture(c.Amount, c.opening.Fee)
		b.tell(EventCaptured, c, c.opening, now)
		return
	}
	c.ExpiresAt = now.Add(b.ttl)
	heap.Push(&b.due, dueCharge{at: c.ExpiresAt, charge: c})
	b.tell(EventAuthorised, c, c.opening, now)
}

// move captures, refunds or voids, or records that it was refused.
func (b *book) move(c *charge, kind OperationKind, in *movementInput, now time.Time) (*Operation, *refusal) {
	op := &Operation{
		ID: b.newID("op"), Kind: kind, ChargeID: c.ID, Reference: in.Reference, Amount: in.Amount,
		Status: OperationSucceeded, CreatedAt: now,
	}
	if kind == KindVoid {
		op.Amount = c.capturable()
	}
	if refused := c.refuse(kind, in.Amount); refused != nil {
		op.Status, op.FailureCode = OperationDeclined, refused.Code
		b.record(c, op)
		return op, refused
	}
	event := EventVoided
	switch kind {
	case KindCapture:
		event = EventCaptured
		op.Fee = c.capture(in.Amount, in.Final)
		b.countCapture(in.Amount, op.Fee)
	case KindRefund:
		event = EventRefunded
		c.AmountRefunded += in.Amount
		b.total.Refunds++
		b.total.AmountRefunded += in.Amount
	case KindVoid, KindAuthorise:
		c.release(ChargeVoided)
		b.total.Voids++
	}
	if b.reference(in.Reference).succeeded(kind) {
		c.payment.repeated = true
		b.judge(c.payment)
	}
	b.record(c, op)
	b.tell(event, c, op, now)
	return op, nil
}

// record enters an operation by its reference and by its charge.
func (b *book) record(c *charge, op *Operation) {
	r := b.reference(op.Reference)
	r.operations = append(r.operations, op)
	c.operations = append(c.operations, op)
}

// succeeded tells whether an operation of the kind was made for the reference.
func (r *reference) succeeded(kind OperationKind) bool {
	for _, op := range r.operations {
		if op.Kind == kind && op.Status == OperationSucceeded {
			return true
		}
	}
	return false
}

// advance settles pending charges and expires authorisations whose time has come. Every request calls it first, so
// what a caller sees never depends on a ticker.
func (b *book) advance(now time.Time) {
	for len(b.due) > 0 && !b.due[0].at.After(now) {
		d := heap.Pop(&b.due).(dueCharge)
		switch {
		case d.charge.Status == ChargePending:
			b.decide(d.charge, d.at)
		case d.charge.Status == ChargeAuthorised && !d.charge.ExpiresAt.After(d.at):
			d.charge.release(ChargeExpired)
			b.tell(EventExpired, d.charge, d.charge.opening, d.at)
		}
	}
}

func (b *book) countCapture(amount, fee int64) {
	b.total.Captures++
	b.total.AmountCaptured += amount
	b.total.Fees += fee
}

func (b *book) countLive(p *payment, by int) {
	p.live += by
	b.total.Charges += int64(by)
	b.judge(p)
}

// judge keeps the count of payments with a double effect.
func (b *book) judge(p *payment) {
	double := p.live > 1 || p.repeated
	if double == p.double {
		return
	}
	p.double = double
	if double {
		b.total.DoubleCharges++
	} else {
		b.total.DoubleCharges--
	}
}

func (b *book) tell(event string, c *charge, op *Operation, at time.Time) {
	b.notify(Event{Type: event, Timestamp: at, Data: EventData{Operation: *op, Charge: c.Charge}})
}

// dueCharge is a charge that something happens to by itself at a moment.
type dueCharge struct {
	at     time.Time
	charge *charge
}

// dueHeap orders due charges by time, for container/heap.
type dueHeap []dueCharge

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueCharge)) }

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = dueCharge{}
	*h = old[:len(old)-1]
	return last
}
