package ledger

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// The shown prefixes of the ledger's ids.
const (
	AccountPrefix = "acc"
	EntryPrefix   = "ent"
)

// EventAccountCreated tells of a new account; its payload is accountPayload.
const EventAccountCreated = "ledger.account.created"

// The types of the events about entries. eventPayload writes what they say.
const (
	EventPosted  = "ledger.entry.posted"
	EventPending = "ledger.entry.pending"
	EventSettled = "ledger.entry.settled"
	EventVoided  = "ledger.entry.voided"
	EventExpired = "ledger.entry.expired"
)

type accountPayload struct {
	ID           string          `json:"id"`
	Code         string          `json:"code"`
	Type         AccountType     `json:"type"`
	Asset        string          `json:"asset"`
	Scale        int16           `json:"scale"`
	AvailableMin *int64          `json:"available_min"`
	AvailableMax *int64          `json:"available_max"`
	Metadata     json.RawMessage `json:"metadata"`
}

// created is the event of a new account.
func created(a *Account) (events.Event, error) {
	payload, err := json.Marshal(accountPayload{
		ids.Format(AccountPrefix, a.ID), a.Code, a.Type, a.Asset, a.Scale, a.AvailableMin, a.AvailableMax, a.Metadata,
	})
	return events.Event{
		OrgID: a.OrgID, AggregateType: "ledger_account", AggregateID: a.ID, Type: EventAccountCreated, Payload: payload, RecordedAt: a.CreatedAt,
	}, err
}

// events tells what each order of the batch did: the entry's new lines, and its state after them.
func (b *book) events() []events.Event {
	out := make([]events.Event, 0, len(b.steps))
	from := 0
	for _, done := range b.steps {
		lines := b.postings[from:done.end]
		from = done.end
		out = append(out, events.Event{
			OrgID: done.entry.OrgID, AggregateType: "ledger_entry", AggregateID: done.entry.ID, Type: eventType(done.state, lines),
			Payload: eventPayload(done.entry, done.state, lines), RecordedAt: b.now,
		})
	}
	return out
}

// eventPayload is written by hand: there is one for each entry, and reflection took longer over it than all the rest of the entry.
// What is not there is left out.
func eventPayload(t *targetState, state State, lines []postingRow) []byte {
	out := make([]byte, 0, 128+len(t.Code)+len(t.Reference)+160*len(lines))
	out = append(append(out, `{"id":"`...), ids.Format(EntryPrefix, t.ID)...)
	out = append(append(out, `","state":"`...), state...)
	out = appendText(append(out, `","code":`...), t.Code)
	if t.Reference != "" {
		out = appendText(append(out, `,"reference":`...), t.Reference)
	}
	if !t.ReversalOf.IsZero() {
		out = append(append(append(out, `,"reversal_of":"`...), ids.Format(EntryPrefix, t.ReversalOf)...), '"')
	}
	out = append(out, `,"postings":[`...)
	for i := range lines {
		l := &lines[i].line
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, `{"phase":"`...), l.phase...)
		out = appendText(append(out, `","debit_account":`...), l.debit.Code)
		out = appendText(append(out, `,"credit_account":`...), l.credit.Code)
		out = append(strconv.AppendInt(append(out, `,"amount":`...), l.amount, 10), '}')
	}
	return append(out, "]}"...)
}

// appendText writes a JSON string as encoding/json does, which also escapes what HTML would take for markup.
func appendText(out []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic("ledger: a string could not be written as JSON: " + err.Error())
			}
			return append(out, quoted...)
		}
	}
	return append(append(append(out, '"'), text...), '"')
}

func eventType(state State, lines []postingRow) string {
	settles := func(p postingRow) bool { return p.line.phase == PhaseSettled }
	switch {
	case slices.ContainsFunc(lines, settles): // what it did not settle it may have released
		return EventSettled
	case lines[0].line.phase == PhasePending:
		return EventPending
	case state == StateExpired:
		return EventExpired
	case lines[0].line.phase == PhaseReleased:
		return EventVoided
	default:
		return EventPosted
	}
}
