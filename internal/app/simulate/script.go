package simulate

import (
	"math/rand/v2"

	"github.com/kontorhq/kontor/client"
)

// script is what one client wants, drawn from the seed and the script's number: it does not depend on how the run goes.
type script struct {
	number   int
	amount   int64
	currency string
	token    token
	manual   bool
	steps    []step
}

// token is a payment method of the sandbox, and what must come of it.
type token struct {
	name    string
	failure string // the code with which it is declined; empty: it is approved
	weight  int
}

// tokens are drawn by weight: mostly payments that go well, all of the sandbox's mischief, and refusals.
func tokens() []token {
	return []token{
		{name: "tok_approved", weight: 70},
		{name: "tok_declined", failure: "card_declined", weight: 4},
		{name: "tok_insufficient_funds", failure: "insufficient_funds", weight: 4},
		{name: "tok_expired_card", failure: "expired_card", weight: 1},
		{name: "tok_fraud", failure: "suspected_fraud", weight: 1},
		{name: "tok_requires_time", weight: 3},
		{name: "tok_requires_time_declined", failure: "card_declined", weight: 2},
		{name: "tok_timeout_after_charge", weight: 3},
		{name: "tok_timeout_before_charge", weight: 2},
		{name: "tok_error_after_charge", weight: 3},
		{name: "tok_error_before_charge", weight: 2},
		{name: "tok_rate_limited_once", weight: 2},
		{name: "tok_slow", weight: 3},
	}
}

// step is what is asked for at one time: one move, or two that meet.
type step struct{ moves []move }

// move is a capture, a refund or a void.
type move struct {
	kind    client.PaymentAttemptKind
	amount  int64 // 0: not said, which means all that is possible
	final   bool
	refusal string // the code with which Kontor must refuse it; empty: it must succeed
}

// stand is what a payment must have come to.
type stand struct {
	status     client.PaymentStatus
	amount     int64
	capturable int64
	captured   int64
	refunded   int64
}

// stepsMax bounds how much happens to one payment.
const stepsMax = 6

// draw makes a script.
func draw(seed int64, number int) script {
	r := rand.New(rand.NewPCG(uint64(seed), uint64(number)))
	sc := script{number: number, amount: drawAmount(r), currency: "EUR", token: drawToken(r), manual: r.IntN(100) < 40}
	switch n := r.IntN(100); {
	case n < 15:
		sc.currency = "USD"
	case n < 20:
		sc.currency = "JPY"
	}
	now := sc.opening()
	for range drawSteps(r) {
		st := drawStep(r, now)
		if len(st.moves) == 0 {
			break
		}
		sc.steps = append(sc.steps, st)
		for _, m := range st.moves {
			now = now.after(m)
		}
	}
	return sc
}

func drawAmount(r *rand.Rand) int64 {
	switch n := r.IntN(100); {
	case n < 5: // less than the provider's fee
		return 1 + r.Int64N(20)
	case n < 95:
		return 100 + r.Int64N(50_000)
	default:
		return 1_000_000 + r.Int64N(1_000_000_000)
	}
}

func drawToken(r *rand.Rand) token {
	all := tokens()
	total := 0
	for _, t := range all {
		total += t.weight
	}
	at := r.IntN(total)
	for _, t := range all {
		if at < t.weight {
			return t
		}
		at -= t.weight
	}
	return all[0]
}

// drawSteps is how much happens after the payment was made: often nothing.
func drawSteps(r *rand.Rand) int {
	n := 0
	for n < stepsMax && r.IntN(100) < 60 {
		n++
	}
	return n
}

// opening is what the payment must be once it is made.
func (sc *script) opening() stand {
	switch {
	case sc.token.failure != "":
		return stand{status: client.PaymentStatusDeclined, amount: sc.amount}
	case sc.manual:
		return stand{status: client.PaymentStatusAuthorised, amount: sc.amount, capturable: sc.amount}
	default:
		return stand{status: client.PaymentStatusCaptured, amount: sc.amount, captured: sc.amount}
	}
}

// The refusals that a script asks for.
const (
	notCapturable     = "payment_not_capturable"
	notRefundable     = "payment_not_refundable"
	notVoidable       = "payment_not_voidable"
	exceedsCapturable = "exceeds_capturable"
	exceedsRefundable = "exceeds_refundable"
)

// drawStep chooses what may be asked for as the payment stands, and now and then what may not.
func drawStep(r *rand.Rand, now stand) step {
	left := now.captured - now.refunded
	if r.IntN(100) < 8 {
		return step{[]move{drawRefusal(r, now)}}
	}
	capturing := now.capturable > 0 && (left == 0 || r.IntN(100) < 60)
	switch {
	case capturing && r.IntN(100) < 20:
		return step{[]move{{kind: client.PaymentAttemptKindVoid}}}
	case capturing:
		return step{[]move{drawCapture(r, now.capturable)}}
	case left > 1 && r.IntN(100) < 15: // two refunds meet; each has its room
		first := 1 + r.Int64N(left-1)
		return step{[]move{{kind: client.PaymentAttemptKindRefund, amount: first}, {kind: client.PaymentAttemptKindRefund, amount: 1 + r.Int64N(left-first)}}}
	case left > 0 && r.IntN(100) < 30:
		return step{[]move{{kind: client.PaymentAttemptKindRefund}}}
	case left > 0:
		return step{[]move{{kind: client.PaymentAttemptKindRefund, amount: 1 + r.Int64N(left)}}}
	default:
		return step{}
	}
}

func drawCapture(r *rand.Rand, capturable int64) move {
	if r.IntN(100) < 35 {
		return move{kind: client.PaymentAttemptKindCapture}
	}
	return move{kind: client.PaymentAttemptKindCapture, amount: 1 + r.Int64N(capturable), final: r.IntN(100) < 30}
}

// drawRefusal asks for more than there is.
func drawRefusal(r *rand.Rand, now stand) move {
	left := now.captured - now.refunded
	switch r.IntN(3) {
	case 0:
		if now.capturable > 0 {
			return move{kind: client.PaymentAttemptKindCapture, amount: now.capturable + 1 + r.Int64N(1000), refusal: exceedsCapturable}
		}
		return move{kind: client.PaymentAttemptKindCapture, refusal: notCapturable}
	case 1:
		if left > 0 {
			return move{kind: client.PaymentAttemptKindRefund, amount: left + 1 + r.Int64N(1000), refusal: exceedsRefundable}
		}
		return move{kind: client.PaymentAttemptKindRefund, refusal: notRefundable}
	default:
		if now.capturable > 0 { // a void would be granted
			return move{kind: client.PaymentAttemptKindCapture, amount: now.capturable + 1, refusal: exceedsCapturable}
		}
		return move{kind: client.PaymentAttemptKindVoid, refusal: notVoidable}
	}
}

// after is the stand that a move leads to. It is written from the contract, not from the code that it checks.
func (s stand) after(m move) stand {
	if m.refusal != "" {
		return s
	}
	switch m.kind {
	case client.PaymentAttemptKindCapture:
		amount := m.amount
		if amount == 0 {
			amount = s.capturable
		}
		s.captured += amount
		s.capturable -= amount
		if m.final {
			s.capturable = 0
		}
	case client.PaymentAttemptKindRefund:
		if m.amount == 0 {
			s.refunded = s.captured
		} else {
			s.refunded += m.amount
		}
	case client.PaymentAttemptKindVoid:
		s.capturable = 0
	}
	switch {
	case s.captured == 0 && s.capturable == 0:
		s.status = client.PaymentStatusVoided
	case s.captured == 0:
		s.status = client.PaymentStatusAuthorised
	case s.refunded == s.captured && s.capturable == 0:
		s.status = client.PaymentStatusRefunded
	default:
		s.status = client.PaymentStatusCaptured
	}
	return s
}

// standOf is what an answer says.
func standOf(p *client.Payment) stand {
	return stand{
		status: p.Status, amount: p.Amount, capturable: p.AmountCapturable, captured: p.AmountCaptured, refunded: p.AmountRefunded,
	}
}
