package simulate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// world is one payment as the three tell it: captured in part, refunded in part, the rest given back.
type world struct {
	record   *record
	truth    sandbox.PaymentTruth
	outcome  outcome
	balances []balance
	more     []*record // further payments in the database
}

func id(n byte) ids.ID { return ids.ID{0: 1, 15: n} }

func soundWorld() *world {
	capture, refund, void := ids.Format("att", id(11)), ids.Format("att", id(12)), ids.Format("att", id(13))
	opening := ids.Format("att", id(10))
	w := &world{
		record: &record{
			ID: id(1), Status: "captured", Currency: "EUR", Amount: 1000, Captured: 600, Refunded: 100, Fee: 33, Charge: "ch_1", Reference: "order-0",
			attempts: []attempt{
				{id(1), id(10), "authorise", "succeeded", 1000, 0, "order-0"},
				{id(1), id(11), "capture", "succeeded", 600, 33, "order-0-0"},
				{id(1), id(12), "refund", "succeeded", 100, 0, "order-0-1"},
				{id(1), id(13), "void", "succeeded", 400, 0, "order-0-2"},
			},
		},
		balances: []balance{
			{"payments/received/EUR", -500, 0}, {"provider/sandbox/clearing/EUR", 467, 0}, {"provider/sandbox/fees/EUR", 33, 0},
		},
	}
	w.truth = sandbox.PaymentTruth{
		Payment: w.record.shown(), AmountAuthorised: 1000, AmountCaptured: 600, AmountRefunded: 100, Fee: 33, Voided: true,
		Charges: []sandbox.Charge{{
			ID: "ch_1", Reference: opening, Amount: 1000, Currency: "EUR", Status: sandbox.ChargeCaptured, AmountCaptured: 600,
			AmountRefunded: 100, Fee: 33,
		}},
		Operations: []sandbox.Operation{
			{ID: "ch_1", Kind: "authorise", Reference: opening, Amount: 1000, Status: sandbox.OperationSucceeded},
			{ID: "op_1", Kind: "capture", Reference: capture, Amount: 600, Fee: 33, Status: sandbox.OperationSucceeded},
			{ID: "op_2", Kind: "refund", Reference: refund, Amount: 100, Status: sandbox.OperationSucceeded},
			{ID: "op_3", Kind: "void", Reference: void, Amount: 400, Status: sandbox.OperationSucceeded},
		},
	}
	told := client.Payment{
		ID: w.record.shown(), Status: "captured", Amount: 1000, AmountCaptured: 600, AmountRefunded: 100, AmountFee: 33,
	}
	w.outcome = outcome{
		key: "order-0", payment: told.ID, now: standOf(&told), last: &told, refused: map[string]struct{}{"order-0-3": {}},
		asked: map[string]client.Payment{"order-0": {}, "order-0-0": {}, "order-0-1": {}, "order-0-2": {}},
	}
	return w
}

func (w *world) compare() (*comparison, int64, []string) {
	f := &findings{}
	records := map[string]*record{}
	if w.record != nil {
		records[w.record.shown()] = w.record
	}
	for _, r := range w.more {
		records[r.shown()] = r
	}
	c := newComparison(records, f)
	if w.truth.Payment != "" {
		c.witnessed(&w.truth)
	}
	c.unwitnessed()
	c.clients([]outcome{w.outcome})
	books := compareBooks(w.balances, c.truth, f)
	return c, books, f.all()
}

func TestASoundWorldHasNothingWrong(t *testing.T) {
	t.Parallel()
	_, _, found := soundWorld().compare()
	if len(found) > 0 {
		t.Errorf("found %s", strings.Join(found, "\n"))
	}
}

// Each lie must be noticed, and counted as what it is.
func TestEveryLieIsNoticed(t *testing.T) {
	t.Parallel()
	const none = defect(-1)
	for _, c := range []struct {
		name string
		lie  func(w *world)
		want defect
		says string
	}{
		{"charged twice", func(w *world) { w.truth.Charges = append(w.truth.Charges, w.truth.Charges[0]) }, doubleCharge, "2 charges"},
		{"the witness says double", func(w *world) { w.truth.Double = true }, doubleCharge, "charges"},
		{"captured twice for one reference", func(w *world) {
			w.truth.Operations = append(w.truth.Operations, w.truth.Operations[1])
		}, doubleCharge, "2 times"},
		{"one order, two charged payments", func(w *world) {
			other := *w.record
			other.ID, other.attempts = id(2), nil
			w.more = append(w.more, &other)
		}, doubleCharge, "2 payments"},
		{"a charge without a payment", func(w *world) { w.record, w.outcome = nil, outcome{} }, lostPayment, "does not know it"},
		{"acknowledged and gone", func(w *world) { w.record, w.truth, w.balances = nil, sandbox.PaymentTruth{}, nil }, lostPayment, "is not in the database"},
		{"booked and never charged", func(w *world) { w.truth = sandbox.PaymentTruth{} }, lostPayment, "never heard of it"},
		{"booked, and the provider declined", func(w *world) { w.truth.Charges[0].Status = sandbox.ChargeDeclined }, lostPayment, "never charged it"},
		{"declined, and the provider charged", func(w *world) { w.record.Status = "declined" }, lostPayment, "charged it 1000"},
		{"another amount", func(w *world) { w.record.Amount++ }, amountMismatch, "amount 1001"},
		{"another currency", func(w *world) { w.record.Currency = "USD" }, amountMismatch, "currency"},
		{"another charge", func(w *world) { w.record.Charge = "ch_2" }, amountMismatch, "charge"},
		{"captured more", func(w *world) { w.record.Captured++ }, amountMismatch, "captured 601"},
		{"refunded less", func(w *world) { w.record.Refunded-- }, amountMismatch, "refunded 99"},
		{"still capturable", func(w *world) { w.record.Capturable = 400 }, amountMismatch, "capturable 400"},
		{"still held by the provider", func(w *world) { w.truth.Charges[0].Status = sandbox.ChargeAuthorised }, amountMismatch, "capturable 0, the provider 400"},
		{"another fee", func(w *world) { w.record.Fee++ }, amountMismatch, "fee 34"},
		{"voided by the provider alone", func(w *world) {
			w.record.attempts, w.outcome.asked = w.record.attempts[:3], map[string]client.Payment{"order-0": {}, "order-0-0": {}, "order-0-1": {}}
		}, amountMismatch, "voided"},
		{"an attempt the provider never saw", func(w *world) { w.truth.Operations = w.truth.Operations[:3] }, amountMismatch, "never carried it out"},
		{"an attempt of another amount", func(w *world) { w.truth.Operations[2].Amount = 99 }, amountMismatch, "refund of 99"},
		{"declined, and carried out", func(w *world) { w.record.attempts[2].State = "declined" }, amountMismatch, "carried it out"},
		{"the client was told of more", func(w *world) { w.outcome.last.AmountRefunded = 200 }, amountMismatch, "the client was told"},
		{"the client wanted something else", func(w *world) { w.outcome.now.refunded = 200 }, amountMismatch, "the client was told"},
		{"asked for once, begun twice", func(w *world) { w.record.attempts[2].Key = "order-0-0" }, amountMismatch, "2 times"},
		{"refused, and begun all the same", func(w *world) { w.record.attempts[2].Key = "order-0-3" }, amountMismatch, "refused"},
		{"asked for by nobody", func(w *world) { w.record.attempts[3].Key = "order-9" }, none, "nobody asked for"},
		{"a payment nobody asked for", func(w *world) {
			w.more = []*record{{ID: id(3), Status: "declined", Reference: "order-9"}}
		}, none, "nobody asked for"},
		{"a second payment, not charged", func(w *world) {
			w.more = []*record{{ID: id(3), Status: "declined", Reference: "order-0"}}
		}, none, "has 2 payments"},
		{"a balance of another amount", func(w *world) { w.balances[1].Posted++ }, none, "account provider/sandbox/clearing/EUR has 468"},
		{"something held for ever", func(w *world) { w.balances[0].Pending = -400 }, none, "-400 held"},
		{"an account that nothing explains", func(w *world) {
			w.balances = append(w.balances, balance{"payments/received/SEK", 1, 0})
		}, none, "payments/received/SEK"},
		{"an account that is missing", func(w *world) { w.balances = w.balances[:2] }, none, "is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := soundWorld()
			c.lie(w)
			compared, books, found := w.compare()
			if !strings.Contains(strings.Join(found, "\n"), c.says) {
				t.Errorf("%q is not said, only\n%s", c.says, strings.Join(found, "\n"))
			}
			switch {
			case c.want != none && compared.count(c.want) == 0:
				t.Errorf("not counted: %+v", compared.wrong)
			case c.want == none && strings.HasPrefix(c.says, "account") && books == 0:
				t.Error("not counted against the books")
			}
		})
	}
}

// A payment that is not final is not compared: it is reported as such.
func TestWhatIsOpenIsNotCompared(t *testing.T) {
	t.Parallel()
	w := soundWorld()
	w.record.attempts[3].State = "unknown"
	w.outcome.abandoned = true
	w.truth.Voided = false
	_, _, found := w.compare()
	if final(w.record) || len(found) != 0 {
		t.Errorf("final: %v, found %s", final(w.record), fmt.Sprint(found))
	}
}
