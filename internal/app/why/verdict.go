package why

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/money"
)

// booked is what the entries of a payment come to.
type booked struct{ captured, held, refunded, refunding, fee int64 }

// books adds the payment's lines up, by the rule of kontor verify.
func (r *records) books() booked {
	var b booked
	for _, l := range r.lines {
		amount := l.Amount
		if l.Reversal {
			amount = -amount
		}
		moved, held := &b.captured, &b.held
		switch l.Code {
		case "payment.refund":
			moved, held = &b.refunded, &b.refunding
		case "payment.fee":
			moved, held = &b.fee, new(int64)
		case "payment.authorise":
		default:
			continue
		}
		switch l.Phase {
		case "posted":
			*moved += amount
		case "pending":
			*held += amount
		case "settled":
			*moved += amount
			*held -= amount
		default:
			*held -= amount
		}
	}
	return b
}

// owed is what the entries ought to come to.
func (r *records) owed() booked {
	p := &r.payment
	b := booked{captured: p.Captured, held: p.Capturable, refunded: p.Refunded, fee: p.Fee}
	if p.Status == "processing" || p.Status == "unknown" {
		b.held = p.Amount
	}
	for i := range r.attempts {
		if a := &r.attempts[i]; a.Kind == "refund" && a.live() {
			b.refunding += a.Amount
		}
	}
	return b
}

func (a *attemptRow) live() bool { return a.State == "processing" || a.State == "unknown" }

// verdict says in a few sentences what everything comes to, and whether the books agree with it.
func (r *records) verdict() (agree bool, text string) {
	sentences := []string{r.charge()}
	sentences = append(sentences, r.troubles()...)
	sentences = append(sentences, r.underWay()...)
	is, ought := r.books(), r.owed()
	if is == ought {
		return true, strings.Join(append(sentences, "The books agree."), " ")
	}
	show := func(b booked) string {
		return fmt.Sprintf("captured %s, held %s, refunded %s, held for refunds %s, fees %s",
			r.money(b.captured), r.money(b.held), r.money(b.refunded), r.money(b.refunding), r.money(b.fee))
	}
	sentences = append(sentences, "THE BOOKS DO NOT AGREE: they have "+show(is)+"; they ought to have "+show(ought)+".")
	return false, strings.Join(sentences, " ")
}

func (r *records) money(amount int64) string { return money.Format(amount, r.payment.Currency) }

// charge says what became of the customer's money.
func (r *records) charge() string {
	p := &r.payment
	switch p.Status {
	case "processing":
		return "It is not final: the provider has not answered yet, and " + r.money(p.Amount) + " stay held."
	case "unknown":
		return "Whether the customer was charged is not known: an answer was lost. The provider is asked what became of it before anything " +
			"is sent again, and " + r.money(p.Amount) + " stay held."
	case "declined":
		reason := ""
		if p.Failure != nil {
			reason = ": " + *p.Failure
		}
		return "The customer was not charged" + reason + "."
	case "authorised":
		until := ""
		if p.ExpiresAt != nil {
			until = " until " + p.ExpiresAt.UTC().Format(time.DateTime)
		}
		return "The customer was not charged yet: " + r.money(p.Capturable) + " are authorised" + until + "."
	case "voided":
		return "The customer was not charged: the authorisation was voided."
	case "expired":
		return "The customer was not charged: the authorisation expired."
	}
	text := "The customer was charged once: " + r.money(p.Captured)
	if n := r.succeeded("capture"); n > 1 {
		text = fmt.Sprintf("The customer was charged in %d captures, each once: %s together", n, r.money(p.Captured))
	}
	switch {
	case p.Refunded == 0:
	case p.Refunded == p.Captured:
		text += ", and got all of it back"
	default:
		text += ", and got " + r.money(p.Refunded) + " back"
	}
	if n := r.succeeded("refund"); n > 1 {
		text += fmt.Sprintf(" in %d refunds", n)
	}
	if p.Capturable > 0 {
		text += "; " + r.money(p.Capturable) + " more are authorised"
	}
	return text + "."
}

func (r *records) succeeded(kind string) int {
	n := 0
	for _, a := range r.attempts {
		if a.Kind == kind && a.State == "succeeded" {
			n++
		}
	}
	return n
}

// troubles says of each attempt how often it had to be sent, and why that charged nobody twice.
func (r *records) troubles() []string {
	var sentences []string
	for _, a := range r.attempts {
		sent, lost := 0, 0
		for _, try := range r.tries {
			if try.TaskID != a.TaskID {
				continue
			}
			var detail struct {
				Calls []call `json:"calls"`
			}
			_ = json.Unmarshal(try.Detail, &detail) // of another form: no calls
			for _, c := range detail.Calls {
				if c.Call == "send" {
					sent++
					if c.Result == "unknown" {
						lost++
					}
				}
			}
			if try.Outcome == "lease_lost" || try.Outcome == "interrupted" {
				lost++
			}
		}
		name := "The " + named(a.Kind)
		if sent > 1 {
			sentences = append(sentences, fmt.Sprintf("%s was sent %d times, always as %s.", name, sent, ids.Format("att", a.ID)))
		}
		if lost > 0 && !a.live() {
			sentences = append(sentences, fmt.Sprintf("Its answer was lost %s; the provider was asked what became of it.", times(lost)))
			if sent <= 1 {
				sentences[len(sentences)-1] = name + "'s answer was lost " + times(lost) + "; the provider was asked what became of it."
			}
		}
	}
	return sentences
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// underWay tells of a change that is not final; of the payment itself charge has told.
func (r *records) underWay() []string {
	var sentences []string
	for i := range r.attempts {
		a := &r.attempts[i]
		if a.Kind == "authorise" || !a.live() {
			continue
		}
		sentences = append(sentences, fmt.Sprintf("A %s of %s is under way.", a.Kind, r.money(a.Amount)))
		if a.State == "unknown" {
			sentences[len(sentences)-1] = fmt.Sprintf("Whether a %s of %s has happened is not known yet.", a.Kind, r.money(a.Amount))
		}
	}
	return sentences
}
