package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/money"
)

// teller puts records in their order. Each record has its time, but not one clock: the events of a transaction have the time
// of its beginning, a try's end that of a statement, postings the moment in which all locks were held. So a record is told with
// the transaction it belongs to, not at its own time.
type teller struct {
	*records
	moments  []*Moment
	asked    map[ids.ID]*Moment // by attempt
	taken    []*Moment          // by try
	recorded []*Moment          // by try
	expired  []*Moment
	byLine   map[lineKey]*Moment // where the change of an entry was told
}

type lineKey struct {
	entry ids.ID
	at    time.Time
}

// story tells everything.
func (r *records) story() Story {
	t := &teller{records: r, asked: map[ids.ID]*Moment{}, byLine: map[lineKey]*Moment{}}
	for i := range r.attempts {
		t.ask(&r.attempts[i])
	}
	for i := range r.tries {
		t.try(&r.tries[i])
	}
	for i := range r.events {
		t.expire(&r.events[i])
	}
	for i := range r.lines {
		t.line(&r.lines[i])
	}
	for i := range r.events {
		t.event(&r.events[i])
	}
	for i := range r.messages {
		t.message(&r.messages[i])
	}
	t.joinQuietTries()
	for i := range r.lives {
		t.live(&r.lives[i])
	}
	slices.SortStableFunc(t.moments, func(a, b *Moment) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return cmp.Compare(rank(a.Kind), rank(b.Kind))
	})
	p := &r.payment
	s := Story{
		ID: ids.Format("pay", p.ID), Organisation: p.Organisation, Status: p.Status, Provider: p.Provider, Currency: p.Currency,
		Amount: p.Amount, AmountCaptured: p.Captured, AmountRefunded: p.Refunded, AmountFee: p.Fee, At: p.Now.UTC(),
		Timeline: make([]Moment, len(t.moments)),
	}
	for i, m := range t.moments {
		s.Timeline[i] = *m
	}
	s.BooksAgree, s.Verdict = r.verdict()
	return s
}

// rank orders moments of one time by cause.
func rank(k Kind) int {
	return slices.Index([]Kind{KindAsked, KindTaken, KindRecorded, KindExpired, KindWebhook, KindOther, KindNow}, k)
}

func (t *teller) moment(at time.Time, kind Kind, attempt *attemptRow, format string, args ...any) *Moment {
	m := &Moment{At: at.UTC(), Kind: kind, Text: fmt.Sprintf(format, args...), Facts: []Fact{}}
	if attempt != nil {
		m.Attempt = ids.Format("att", attempt.ID)
	}
	t.moments = append(t.moments, m)
	return m
}

func (m *Moment) add(kind Kind, id, format string, args ...any) {
	m.Facts = append(m.Facts, Fact{Kind: kind, ID: id, Text: fmt.Sprintf(format, args...)})
}

func (t *teller) money(amount int64) string { return money.Format(amount, t.payment.Currency) }

// ask tells of an attempt's beginning.
func (t *teller) ask(a *attemptRow) {
	m := t.moment(a.CreatedAt, KindAsked, a, "%s", t.wish(a))
	t.asked[a.ID] = m
	if a.RequestID != nil {
		m.add(FactRequest, *a.RequestID, "by the request %s", *a.RequestID)
	}
	if a.Key != nil {
		recorded := slices.ContainsFunc(t.keys, func(k keyRow) bool { return k.Key == *a.Key && k.SubjectID != nil && *k.SubjectID == a.ID })
		if recorded {
			m.add(FactKey, *a.Key, "under the idempotency key %s, recorded with it", *a.Key)
		} else {
			m.add(FactKey, *a.Key, "under the idempotency key %s, whose record is not there (any more)", *a.Key)
		}
	}
	m.add(FactTask, ids.Format("tsk", a.TaskID), "to be carried out by the task %s", ids.Format("tsk", a.TaskID))
}

// wish is what an attempt asks for.
func (t *teller) wish(a *attemptRow) string {
	amount := t.money(a.Amount)
	switch {
	case a.Kind == "authorise" && t.payment.CaptureMethod == "automatic":
		return "a payment of " + amount + " is asked for, with " + t.payment.Token
	case a.Kind == "authorise":
		return "an authorisation of " + amount + " is asked for, with " + t.payment.Token
	case a.Kind == "capture" && a.Final:
		return "a last capture, of " + amount + ", is asked for"
	case a.Kind == "void":
		return "a void of the remaining " + amount + " is asked for"
	default:
		return "a " + a.Kind + " of " + amount + " is asked for"
	}
}

func (t *teller) attemptOf(task ids.ID) *attemptRow {
	for i := range t.attempts {
		if t.attempts[i].TaskID == task {
			return &t.attempts[i]
		}
	}
	return nil
}

// try tells of a node that took an attempt up, and of what came of it.
func (t *teller) try(row *tryRow) {
	a := t.attemptOf(row.TaskID)
	taken := t.moment(row.StartedAt, KindTaken, a, "%s takes it up, try %d", row.Node, row.Number)
	recorded := t.moment(row.FinishedAt, KindRecorded, a, "%s", t.outcome(a, row))
	t.taken, t.recorded = append(t.taken, taken), append(t.recorded, recorded)
	var detail struct {
		Calls []call `json:"calls"`
		Error string `json:"error"`
	}
	if len(row.Detail) > 0 && json.Unmarshal(row.Detail, &detail) != nil {
		taken.add(FactCall, "", "%s", row.Detail) // not of a form that this version knows
	}
	for _, c := range detail.Calls {
		taken.add(FactCall, c.ChargeID, "%s", c)
	}
	if detail.Error != "" {
		taken.add(FactCall, "", "%s", detail.Error)
	}
	if row.NextDueAt != nil {
		pause := row.NextDueAt.Sub(row.FinishedAt).Round(time.Millisecond)
		if pause > 0 {
			recorded.add(FactNext, "", "to be looked at again after %s", pause)
		} else {
			recorded.add(FactNext, "", "to be looked at again at once")
		}
	}
}

// call is one call to the provider, as payments keeps it in the task's history.
type call struct {
	Call        string `json:"call"`
	Result      string `json:"result"`
	HTTPStatus  int    `json:"http_status"`
	ChargeID    string `json:"charge_id"`
	FailureCode string `json:"failure_code"`
	Detail      string `json:"detail"`
	DurationMS  int64  `json:"duration_ms"`
}

func (c call) String() string {
	what := "the provider is asked to do it"
	if c.Call == "look_up" {
		what = "the provider is asked what became of it"
	}
	parts := []string{strings.ReplaceAll(c.Result, "_", " ")}
	if c.HTTPStatus != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", c.HTTPStatus))
	}
	for _, part := range []string{c.FailureCode, c.ChargeID, c.Detail} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return fmt.Sprintf("%s: %s (%d ms)", what, strings.Join(parts, ", "), c.DurationMS)
}

// outcome is how a try ended.
func (t *teller) outcome(a *attemptRow, row *tryRow) string {
	code := ""
	if row.Code != nil {
		code = strings.ReplaceAll(*row.Code, "_", " ")
	}
	switch {
	case row.Outcome == "lease_lost":
		return row.Node + " was not heard of again; nobody knows how far it came"
	case row.Outcome == "interrupted":
		return row.Node + " had to stop; nobody knows how far it came"
	case row.NextDueAt == nil && a != nil && a.State == "declined":
		return "the " + named(a.Kind) + " is declined: " + cmp.Or(code, "without a reason")
	case row.NextDueAt == nil && a != nil:
		return "the " + named(a.Kind) + " has " + a.State
	case row.NextDueAt == nil:
		return "it has ended: " + row.Outcome
	case code == "unknown":
		return "the answer was lost: it may have happened"
	default:
		return "it is not final: " + cmp.Or(code, row.Outcome)
	}
}

// named is an attempt's kind as a noun.
func named(kind string) string {
	if kind == "authorise" {
		return "authorisation"
	}
	return kind
}

// expire gives each expiry a moment, to which its entry's lines then belong.
func (t *teller) expire(e *eventRow) {
	if e.Type == "payment.expired" {
		t.expired = append(t.expired, t.moment(e.RecordedAt, KindExpired, nil, "the authorisation's time is over: what was left of it is released"))
	}
}

// line tells of a posting with the transaction that made it: a hold with what asked for it, all else with the latest outcome.
func (t *teller) line(l *lineRow) {
	text := map[string]string{
		"pending": "is held", "settled": "of what was held is posted", "released": "of what was held is released", "posted": "is posted",
	}[l.Phase]
	var m *Moment
	switch {
	case l.Reversal:
		m = t.moment(l.RecordedAt, KindOther, nil, "an entry of the payment is reversed")
	case l.Phase == "pending":
		for i := range t.attempts {
			if a := &t.attempts[i]; a.EntryID == l.EntryID && (a.Kind == "authorise" || a.Kind == "refund") {
				m = t.asked[a.ID]
			}
		}
	default:
		m = latest(l.RecordedAt, t.recorded, t.expired)
	}
	if m == nil {
		m = t.moment(l.RecordedAt, KindOther, nil, "something is booked about the payment")
	}
	m.add(FactEntry, ids.Format("ent", l.EntryID), "%s %s by %s, debit %s, credit %s", t.money(l.Amount), text, ids.Format("ent", l.EntryID), l.Debit, l.Credit)
	t.byLine[lineKey{l.EntryID, l.RecordedAt}] = m
}

// latest is the latest of the moments that is not after the given time.
func latest(at time.Time, lists ...[]*Moment) *Moment {
	var found *Moment
	for _, m := range slices.Concat(lists...) {
		if !m.At.After(at) && (found == nil || m.At.After(found.At)) {
			found = m
		}
	}
	return found
}

// event tells of an event with its transaction. That of a payment's event began when the event says: the very moment in which an
// attempt was made, or while a node worked on one.
func (t *teller) event(e *eventRow) {
	m := t.byLine[lineKey{e.AggregateID, e.RecordedAt}]
	if m == nil && e.AggregateID == t.payment.ID {
		m = t.within(e.RecordedAt)
	}
	if m == nil {
		m = t.moment(e.RecordedAt, KindOther, nil, "something is told")
	}
	m.add(FactEvent, ids.Format("evt", e.ID), "%s", e.Type)
}

func (t *teller) within(at time.Time) *Moment {
	for _, a := range t.attempts {
		if a.CreatedAt.Equal(at) {
			return t.asked[a.ID]
		}
	}
	for _, m := range t.expired {
		if m.At.Equal(at) {
			return m
		}
	}
	for i := range t.tries {
		if !t.tries[i].StartedAt.After(at) && !t.tries[i].FinishedAt.Before(at) {
			return t.recorded[i]
		}
	}
	return nil
}

func (t *teller) message(row *messageRow) {
	m := t.moment(row.ReceivedAt, KindWebhook, nil, "%s says %s, of %s", row.Source, row.Type, row.OccurredAt.UTC().Format(clockForm))
	if row.Repeats > 0 {
		m.Text += fmt.Sprintf("; it came %d times", row.Repeats+1)
	}
	if row.Mismatches > 0 {
		m.Text += fmt.Sprintf(", %d of them with another content", row.Mismatches)
	}
	m.add(FactRequest, row.ID, "as the message %s", row.ID)
}

// joinQuietTries tells of a try in one moment when nothing but the try itself was recorded at its end.
func (t *teller) joinQuietTries() {
	for i, end := range t.recorded {
		quiet := t.tries[i].Outcome != "lease_lost" && !slices.ContainsFunc(end.Facts, func(f Fact) bool { return f.Kind != FactNext })
		if !quiet || t.tries[i].NextDueAt == nil {
			continue
		}
		text := end.Text
		for _, f := range end.Facts {
			text += "; " + f.Text
		}
		t.taken[i].add(FactNext, "", "%s", text)
		t.moments = slices.DeleteFunc(t.moments, func(m *Moment) bool { return m == end })
	}
}

// live tells what is still to come.
func (t *teller) live(l *liveRow) {
	a := t.attemptOf(l.TaskID)
	if l.LeasedBy != nil && l.LeasedAt != nil {
		t.moment(t.payment.Now, KindNow, a, "%s works on it since %s, try %d; if it is not heard of, others take over at %s",
			*l.LeasedBy, l.LeasedAt.UTC().Format(clockForm), l.Attempt, l.DueAt.UTC().Format(clockForm))
		return
	}
	t.moment(t.payment.Now, KindNow, a, "it waits until %s to be looked at again", l.DueAt.UTC().Format(clockForm))
}
