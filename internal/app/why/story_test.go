package why

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// past is records made by hand: a second apart, so that the order is that of the calls.
type past struct {
	records
	source *ids.Source
	now    time.Time
}

func newPast(status, method string) *past {
	p := &past{source: ids.NewSource(clock.System), now: time.Date(2026, 11, 21, 23, 59, 55, 0, time.UTC)}
	p.payment = paymentRow{ID: p.source.New(), HoldEntryID: p.source.New(), Status: status, Currency: "EUR", Amount: 1000, CaptureMethod: method, Provider: "p"}
	return p
}

func (p *past) tick() time.Time {
	p.now = p.now.Add(time.Second)
	p.payment.Now = p.now.Add(time.Hour)
	return p.now
}

// ask makes an attempt with the event of its transaction.
func (p *past) ask(kind, state, event string, amount int64) *attemptRow {
	at := p.tick()
	p.attempts = append(p.attempts, attemptRow{
		ID: p.source.New(), TaskID: p.source.New(), EntryID: p.payment.HoldEntryID, Kind: kind, State: state, Amount: amount, CreatedAt: at,
	})
	p.tell(event, at)
	return &p.attempts[len(p.attempts)-1]
}

func (p *past) tell(event string, at time.Time) {
	p.events = append(p.events, eventRow{ID: p.source.New(), AggregateID: p.payment.ID, Type: "payment." + event, RecordedAt: at})
}

// try is taken up at one tick and ends at the next, where its transaction had begun shortly before.
func (p *past) try(a *attemptRow, outcome, code, detail string, last bool, event string) {
	started := p.tick()
	row := tryRow{TaskID: a.TaskID, Number: len(p.tries) + 1, Node: "node-1", StartedAt: started, FinishedAt: p.tick(), Outcome: outcome, Detail: []byte(detail)}
	if code != "" {
		row.Code = &code
	}
	if !last {
		due := row.FinishedAt.Add(200 * time.Millisecond)
		row.NextDueAt = &due
	}
	p.tries = append(p.tries, row)
	if event != "" {
		p.tell(event, row.FinishedAt.Add(-time.Millisecond))
	}
}

// book adds a line, shortly after the latest tick: when all locks were held.
func (p *past) book(entry ids.ID, code, phase string, amount int64) {
	p.lines = append(p.lines, lineRow{EntryID: entry, Code: code, Phase: phase, Amount: amount, Debit: "a", Credit: "b", RecordedAt: p.now.Add(time.Millisecond)})
}

func texts(s Story) []string {
	var out []string
	for _, m := range s.Timeline {
		out = append(out, m.Text)
		for _, f := range m.Facts {
			out = append(out, "- "+f.Text)
		}
	}
	return out
}

const sentUnknown = `{"calls":[{"call":"send","result":"unknown","detail":"timeout","duration_ms":5}]}`

// A node dies after it may have sent; the next looks up, finds nothing, and sends again.
func TestATakeoverIsTold(t *testing.T) {
	t.Parallel()
	p := newPast("captured", "automatic")
	a := p.ask("authorise", "succeeded", "created", 1000)
	p.book(a.EntryID, "payment.authorise", "pending", 1000)
	p.try(a, "lease_lost", "", "", false, "")
	p.try(a, "snoozed", "unknown", `{"calls":[{"call":"look_up","result":"not_found","http_status":404,"duration_ms":1}]}`, false, "unknown")
	p.try(a, "snoozed", "not_found", `{"calls":[{"call":"look_up","result":"not_found","http_status":404,"duration_ms":1}]}`, false, "")
	p.try(a, "snoozed", "unknown", sentUnknown, false, "unknown")
	p.try(a, "failed", "outcome_not_booked", `{"error":"no database"}`, false, "")
	p.try(a, "succeeded", "", `{"calls":[{"call":"send","result":"succeeded","http_status":201,"charge_id":"ch_1","duration_ms":7}]}`, true, "captured")
	p.book(a.EntryID, "payment.authorise", "settled", 1000)
	p.payment.Captured = 1000
	s := p.story()
	want := []string{
		"a payment of 10.00 EUR is asked for, with ",
		"- to be carried out by the task " + ids.Format("tsk", a.TaskID),
		"- 10.00 EUR is held by " + ids.Format("ent", a.EntryID) + ", debit a, credit b",
		"- payment.created",
		"node-1 takes it up, try 1",
		"node-1 was not heard of again; nobody knows how far it came",
		"- to be looked at again after 200ms",
		"node-1 takes it up, try 2",
		"- the provider is asked what became of it: not found, HTTP 404 (1 ms)",
		"the answer was lost: it may have happened",
		"- to be looked at again after 200ms",
		"- payment.unknown",
		"node-1 takes it up, try 3",
		"- the provider is asked what became of it: not found, HTTP 404 (1 ms)",
		"- it is not final: not found; to be looked at again after 200ms",
		"node-1 takes it up, try 4",
		"- the provider is asked to do it: unknown, timeout (5 ms)",
		"the answer was lost: it may have happened",
		"- to be looked at again after 200ms",
		"- payment.unknown",
		"node-1 takes it up, try 5",
		"- no database",
		"- it is not final: outcome not booked; to be looked at again after 200ms",
		"node-1 takes it up, try 6",
		"- the provider is asked to do it: succeeded, HTTP 201, ch_1 (7 ms)",
		"the authorisation has succeeded",
		"- 10.00 EUR of what was held is posted by " + ids.Format("ent", a.EntryID) + ", debit a, credit b",
		"- payment.captured",
	}
	if got := texts(s); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	verdict := "The customer was charged once: 10.00 EUR. The authorisation was sent 2 times, always as " + ids.Format("att", a.ID) +
		". Its answer was lost 2 times; the provider was asked what became of it. The books agree."
	if s.Verdict != verdict || !s.BooksAgree {
		t.Errorf("got %s", s.Verdict)
	}
	var out strings.Builder
	if err := s.WriteText(&out); err != nil || !strings.Contains(out.String(), "\n2026-11-21 UTC\n") || !strings.Contains(out.String(), "\n2026-11-22 UTC\n00:00:") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	declined := "card_declined"
	hold := func(p *past, phases ...string) {
		for _, phase := range phases {
			p.book(p.payment.HoldEntryID, "payment.authorise", phase, 1000)
		}
	}
	for _, c := range []struct {
		status, method string
		make           func(p *past)
		want           string
	}{
		{"processing", "automatic", func(p *past) {
			p.ask("authorise", "processing", "created", 1000)
			hold(p, "pending")
		}, "It is not final: the provider has not answered yet, and 10.00 EUR stay held. The books agree."},
		{"unknown", "automatic", func(p *past) {
			p.try(p.ask("authorise", "unknown", "created", 1000), "snoozed", "unknown", sentUnknown, false, "unknown")
			hold(p, "pending")
		}, "Whether the customer was charged is not known: an answer was lost. The provider is asked what became of it before anything is sent again, and 10.00 EUR stay held. The books agree."},
		{"declined", "automatic", func(p *past) {
			p.payment.Failure = &declined
			hold(p, "pending", "released")
		}, "The customer was not charged: card_declined. The books agree."},
		{"authorised", "manual", func(p *past) {
			p.payment.Capturable, p.payment.ExpiresAt = 1000, &until
			hold(p, "pending")
		}, "The customer was not charged yet: 10.00 EUR are authorised until 2026-11-28 00:00:00. The books agree."},
		{"voided", "manual", func(p *past) { hold(p, "pending", "released") }, "The customer was not charged: the authorisation was voided. The books agree."},
		{"expired", "manual", func(p *past) { hold(p, "pending", "released") }, "The customer was not charged: the authorisation expired. The books agree."},
		{"captured", "manual", func(p *past) {
			p.payment.Captured, p.payment.Capturable = 500, 500
			p.ask("capture", "succeeded", "capture_requested", 200)
			p.ask("capture", "succeeded", "capture_requested", 300)
			hold(p, "pending")
			p.book(p.payment.HoldEntryID, "payment.authorise", "settled", 200)
			p.book(p.payment.HoldEntryID, "payment.authorise", "settled", 300)
		}, "The customer was charged in 2 captures, each once: 5.00 EUR together; 5.00 EUR more are authorised. The books agree."},
		{"refunded", "automatic", func(p *past) {
			p.payment.Captured, p.payment.Refunded = 1000, 1000
			hold(p, "pending", "settled")
			for range 2 {
				p.ask("refund", "succeeded", "refund_requested", 500)
				p.book(ids.ID{1}, "payment.refund", "pending", 500)
				p.book(ids.ID{1}, "payment.refund", "settled", 500)
			}
		}, "The customer was charged once: 10.00 EUR, and got all of it back in 2 refunds. The books agree."},
		{"captured", "automatic", func(p *past) {
			p.payment.Captured, p.payment.Fee = 1000, 39
			hold(p, "pending", "settled")
			p.book(ids.ID{1}, "payment.fee", "posted", 39)
			p.ask("refund", "unknown", "refund_requested", 100)
			p.book(ids.ID{2}, "payment.refund", "pending", 100)
		}, "The customer was charged once: 10.00 EUR. Whether a refund of 1.00 EUR has happened is not known yet. The books agree."},
		{"captured", "automatic", func(p *past) {
			p.payment.Captured = 1000
			hold(p, "pending")
		}, "The customer was charged once: 10.00 EUR. THE BOOKS DO NOT AGREE: they have captured 0.00 EUR, held 10.00 EUR, refunded 0.00 EUR, " +
			"held for refunds 0.00 EUR, fees 0.00 EUR; they ought to have captured 10.00 EUR, held 0.00 EUR, refunded 0.00 EUR, held for refunds 0.00 EUR, fees 0.00 EUR."},
	} {
		t.Run(c.status, func(t *testing.T) {
			t.Parallel()
			p := newPast(c.status, c.method)
			p.tick()
			c.make(p)
			s := p.story()
			if s.Verdict != c.want || s.BooksAgree != strings.HasSuffix(c.want, "agree.") {
				t.Errorf("got  %s\nwant %s", s.Verdict, c.want)
			}
		})
	}
}

// An authorisation that expires, webhooks, a reversal by hand, and a task that waits.
func TestWhatElseHappens(t *testing.T) {
	t.Parallel()
	p := newPast("captured", "manual")
	a := p.ask("authorise", "succeeded", "created", 1000)
	p.book(a.EntryID, "payment.authorise", "pending", 1000)
	p.try(a, "succeeded", "", "", true, "authorised")
	occurred := p.now
	p.messages = append(p.messages, messageRow{
		Source: "p", ID: "m1", Type: "charge.authorised", OccurredAt: occurred, ReceivedAt: p.tick(), Repeats: 2, Mismatches: 1,
	})
	c := p.ask("capture", "succeeded", "capture_requested", 600)
	p.try(c, "succeeded", "", "", true, "captured")
	p.book(a.EntryID, "payment.authorise", "settled", 600)
	p.tell("expired", p.tick())
	p.book(a.EntryID, "payment.authorise", "released", 400)
	p.tick()
	p.lines = append(p.lines, lineRow{EntryID: ids.ID{9}, Code: "payment.fee", Reversal: true, Phase: "posted", Amount: 39, RecordedAt: p.now})
	r := p.ask("refund", "processing", "refund_requested", 100)
	r.EntryID = p.source.New()
	p.lives = append(p.lives, liveRow{TaskID: r.TaskID, DueAt: p.now.Add(time.Minute), Attempt: 1})
	p.payment.Captured = 600
	got := texts(p.story())
	for _, want := range []string{
		"p says charge.authorised, of 23:59:58.000; it came 3 times, 1 of them with another content",
		"the authorisation's time is over: what was left of it is released",
		"an entry of the payment is reversed",
		"it waits until 00:01:05.000 to be looked at again",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, strings.Join(got, "\n"))
		}
	}
	released := slices.Index(got, "- 4.00 EUR of what was held is released by "+ids.Format("ent", a.EntryID)+", debit a, credit b")
	if released < 1 || !strings.Contains(got[released-1], "time is over") {
		t.Errorf("the release is not told with the expiry:\n%s", strings.Join(got, "\n"))
	}
}
