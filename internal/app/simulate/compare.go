package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// comparison holds three stories against each other: what the database says, what the provider really did, and what the clients were
// told. It reads nothing itself.
type comparison struct {
	records  map[string]*record // by shown id; what the witness has spoken of is in seen
	seen     map[string]bool
	findings *findings
	wrong    map[string]map[defect]bool // by payment: each defect counts once a payment
	truth    map[string]totals          // of the witness, by currency
}

// defect is a way for a payment to be wrong, as the report counts them.
type defect int

const (
	doubleCharge defect = iota
	lostPayment
	amountMismatch
)

// totals are one currency's, in minor units.
type totals struct{ captured, refunded, fees, held int64 }

func newComparison(records map[string]*record, f *findings) *comparison {
	return &comparison{
		records: records, seen: map[string]bool{}, findings: f, wrong: map[string]map[defect]bool{}, truth: map[string]totals{},
	}
}

// find notes a defect of a payment, with a sentence for people.
func (c *comparison) find(d defect, payment, format string, args ...any) {
	if c.wrong[payment] == nil {
		c.wrong[payment] = map[defect]bool{}
	}
	c.wrong[payment][d] = true
	c.findings.add("%s: %s", payment, fmt.Sprintf(format, args...))
}

// count is how many payments have the defect.
func (c *comparison) count(d defect) int64 {
	var n int64
	for _, defects := range c.wrong {
		if defects[d] {
			n++
		}
	}
	return n
}

// made is whether a charge stands for money: one that was declined moved none.
func made(c *sandbox.Charge) bool { return c.Status != sandbox.ChargeDeclined }

// witnessed compares what the provider did for one payment with what the database says.
func (c *comparison) witnessed(t *sandbox.PaymentTruth) {
	c.seen[t.Payment] = true
	var charges []*sandbox.Charge
	for i := range t.Charges {
		if made(&t.Charges[i]) {
			charges = append(charges, &t.Charges[i])
		}
	}
	if t.Double || len(charges) > 1 {
		c.find(doubleCharge, t.Payment, "the provider made %d charges for it, and took %d in all", len(charges), t.AmountCaptured)
	}
	for _, charge := range charges {
		c.add(charge)
	}
	r := c.records[t.Payment]
	switch {
	case r == nil && len(charges) > 0:
		c.find(lostPayment, t.Payment, "the provider charged it, and the database does not know it")
	case r == nil:
		c.findings.add("%s: the provider declined it, and the database does not know it", t.Payment)
	case !final(r):
		// It is counted as unknown; there is nothing to compare yet.
	case r.Status == string(client.PaymentStatusDeclined) && len(charges) > 0:
		c.find(lostPayment, t.Payment, "it is declined, and the provider charged it %d", charges[0].Amount)
	case r.Status != string(client.PaymentStatusDeclined) && len(charges) == 0:
		c.find(lostPayment, t.Payment, "it is %s, and the provider never charged it", r.Status)
	case len(charges) > 0:
		c.amounts(r, t, charges[0])
		c.operations(r, t)
	default:
		c.operations(r, t)
	}
}

// add keeps the witness's own books.
func (c *comparison) add(charge *sandbox.Charge) {
	sum := c.truth[charge.Currency]
	sum.captured += charge.AmountCaptured
	sum.refunded += charge.AmountRefunded
	sum.fees += charge.Fee
	if charge.Status == sandbox.ChargeAuthorised {
		sum.held += charge.Amount - charge.AmountCaptured
	}
	c.truth[charge.Currency] = sum
}

// final tells whether nothing is under way.
func final(r *record) bool {
	for _, a := range r.attempts {
		if a.State != string(client.PaymentAttemptStateSucceeded) && a.State != string(client.PaymentAttemptStateDeclined) {
			return false
		}
	}
	return r.Status != string(client.PaymentStatusProcessing) && r.Status != string(client.PaymentStatusUnknown)
}

// amounts compares a payment with its charge.
func (c *comparison) amounts(r *record, t *sandbox.PaymentTruth, charge *sandbox.Charge) {
	var held int64
	if charge.Status == sandbox.ChargeAuthorised {
		held = charge.Amount - charge.AmountCaptured
	}
	var differ []string
	compare := func(what string, ours, theirs any) {
		if ours != theirs {
			differ = append(differ, fmt.Sprintf("%s %v, the provider %v", what, ours, theirs))
		}
	}
	compare("amount", r.Amount, charge.Amount)
	compare("currency", r.Currency, charge.Currency)
	compare("charge", r.Charge, charge.ID)
	compare("capturable", r.Capturable, held)
	compare("captured", r.Captured, t.AmountCaptured)
	compare("refunded", r.Refunded, t.AmountRefunded)
	compare("fee", r.Fee, t.Fee)
	compare("voided", voided(r), t.Voided)
	if len(differ) > 0 {
		c.find(amountMismatch, t.Payment, "the database says %s", strings.Join(differ, "; "))
	}
}

func voided(r *record) bool {
	for _, a := range r.attempts {
		if a.Kind == string(client.PaymentAttemptKindVoid) && a.State == string(client.PaymentAttemptStateSucceeded) {
			return true
		}
	}
	return false
}

// operations compares every attempt with what the provider did under its reference, and the other way round.
func (c *comparison) operations(r *record, t *sandbox.PaymentTruth) {
	type did struct {
		times  int
		kind   string
		amount int64
		fee    int64
	}
	done := map[string]did{}
	for _, op := range t.Operations {
		if op.Status != sandbox.OperationSucceeded {
			continue
		}
		d := done[op.Reference]
		d.times, d.kind, d.amount, d.fee = d.times+1, string(op.Kind), op.Amount, op.Fee
		done[op.Reference] = d
	}
	for _, a := range r.attempts {
		reference := ids.Format("att", a.ID)
		d := done[reference]
		delete(done, reference)
		switch {
		case a.State == string(client.PaymentAttemptStateDeclined) && d.times == 0:
		case a.State == string(client.PaymentAttemptStateDeclined):
			c.find(amountMismatch, t.Payment, "its %s %s is declined, and the provider carried it out", a.Kind, reference)
		case d.times == 0:
			c.find(amountMismatch, t.Payment, "its %s %s succeeded, and the provider never carried it out", a.Kind, reference)
		case d.times > 1:
			c.find(doubleCharge, t.Payment, "its %s %s was carried out %d times", a.Kind, reference, d.times)
		case d.kind != a.Kind || d.amount != a.Amount || d.fee != a.Fee:
			c.find(amountMismatch, t.Payment, "its %s %s is of %d with a fee of %d, and the provider's is a %s of %d with a fee of %d",
				a.Kind, reference, a.Amount, a.Fee, d.kind, d.amount, d.fee)
		}
	}
	for _, reference := range slices.Sorted(maps.Keys(done)) {
		c.find(amountMismatch, t.Payment, "the provider carried out a %s of %d as %s, which the database does not know",
			done[reference].kind, done[reference].amount, reference)
	}
}

// unwitnessed looks at the payments of which the provider has never heard: they cannot have succeeded.
func (c *comparison) unwitnessed() {
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		r := c.records[id]
		if c.seen[id] || !final(r) {
			continue
		}
		if r.Status != string(client.PaymentStatusDeclined) {
			c.find(lostPayment, id, "it is %s, and the provider has never heard of it", r.Status)
		}
	}
}

// clients compares what every client was told with the database, and the database with what was asked for.
func (c *comparison) clients(outcomes []outcome) {
	byKey := map[string][]*record{}
	byAttempt := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		r := c.records[id]
		byKey[r.Reference] = append(byKey[r.Reference], r)
		for _, a := range r.attempts {
			byAttempt[a.Key] = append(byAttempt[a.Key], id)
		}
	}
	for i := range outcomes {
		o := &outcomes[i]
		c.client(o, byKey[o.key])
		delete(byKey, o.key)
		for key := range o.asked {
			if n := len(byAttempt[key]); n != 1 {
				c.find(amountMismatch, o.payment, "what was asked for under the key %s was begun %d times", key, n)
			}
			delete(byAttempt, key)
		}
		for key := range o.refused {
			if len(byAttempt[key]) != 0 {
				c.find(amountMismatch, o.payment, "what was refused under the key %s was begun all the same", key)
			}
			delete(byAttempt, key)
		}
		if o.abandoned { // what became of the last request is open
			maps.DeleteFunc(byAttempt, func(key string, _ []string) bool { return key == o.key || strings.HasPrefix(key, o.key+"-") })
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		c.findings.add("%s: nobody asked for it, or not under the reference %q", byKey[key][0].shown(), key)
	}
	for _, key := range slices.Sorted(maps.Keys(byAttempt)) {
		c.findings.add("%s: something was done for it under the key %q that nobody asked for", byAttempt[key][0], key)
	}
}

// client compares one client's belief with the payments made for it.
func (c *comparison) client(o *outcome, mine []*record) {
	charged := 0
	for _, r := range mine {
		if r.Charge != "" && r.Status != string(client.PaymentStatusDeclined) {
			charged++
		}
	}
	r := c.records[o.payment]
	switch {
	case charged > 1:
		c.find(doubleCharge, mine[0].shown(), "the order %s was charged as %d payments", o.key, charged)
	case len(mine) > 1:
		c.findings.add("%s: the order %s has %d payments", mine[0].shown(), o.key, len(mine))
	case o.payment != "" && r == nil:
		c.find(lostPayment, o.payment, "a client was told of it, and it is not in the database")
	case o.abandoned || r == nil:
		return
	}
	if r == nil || o.last == nil || o.abandoned {
		return
	}
	is := stand{client.PaymentStatus(r.Status), r.Amount, r.Capturable, r.Captured, r.Refunded}
	if is != o.now || is != standOf(o.last) || r.Fee != o.last.AmountFee || r.Failure != valueOf(o.last.FailureCode) {
		c.find(amountMismatch, o.payment, "the client was told of %+v with a fee of %d, and the database says %+v with a fee of %d",
			standOf(o.last), o.last.AmountFee, is, r.Fee)
	}
}
