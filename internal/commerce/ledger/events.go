package ledger

import (
	"encoding/json"
	"slices"

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

// The types of the events about entries. Their payload is eventPayload.
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

type eventPayload struct {
	ID         string         `json:"id"`
	State      State          `json:"state"`
	Code       string         `json:"code"`
	Reference  string         `json:"reference,omitempty"`
	ReversalOf string         `json:"reversal_of,omitempty"`
	Postings   []eventPosting `json:"postings"`
}

type eventPosting struct {
	Phase  Phase  `json:"phase"`
	Debit  string `json:"debit_account"`
	Credit string `json:"credit_account"`
	Amount int64  `json:"amount"`
}

// events tells what each order of the batch did: the entry's new lines, and its state after them.
func (b *book) events() []events.Event {
	out := make([]events.Event, 0, len(b.steps))
	from := 0
	for _, done := range b.steps {
		t, lines := done.entry, make([]eventPosting, 0, done.end-from)
		for i := from; i < done.end; i++ {
			l := &b.postings[i].line
			lines = append(lines, eventPosting{Phase: l.phase, Debit: l.debit.Code, Credit: l.credit.Code, Amount: l.amount})
		}
		from = done.end
		payload, err := json.Marshal(eventPayload{
			ID: ids.Format(EntryPrefix, t.ID), State: done.state, Code: t.Code, Reference: t.Reference,
			ReversalOf: ids.Format(EntryPrefix, t.ReversalOf), Postings: lines,
		})
		if err != nil {
			panic("ledger: an event of strings and integers could not be written: " + err.Error())
		}
		out = append(out, events.Event{
			OrgID: t.OrgID, AggregateType: "ledger_entry", AggregateID: t.ID, Type: eventType(done.state, lines),
			Payload: payload, RecordedAt: b.now,
		})
	}
	return out
}

func eventType(state State, lines []eventPosting) string {
	settles := func(p eventPosting) bool { return p.Phase == PhaseSettled }
	switch {
	case slices.ContainsFunc(lines, settles): // what it did not settle it may have released
		return EventSettled
	case lines[0].Phase == PhasePending:
		return EventPending
	case state == StateExpired:
		return EventExpired
	case lines[0].Phase == PhaseReleased:
		return EventVoided
	default:
		return EventPosted
	}
}
