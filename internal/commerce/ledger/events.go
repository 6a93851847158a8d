package ledger

import (
	"encoding/json"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// The shown prefixes of the ledger's ids.
const (
	AccountPrefix = "acc"
	EntryPrefix   = "ent"
)

// The types of the ledger's events. Their payload is eventPayload.
const (
	EventPosted  = "ledger.entry.posted"
	EventPending = "ledger.entry.pending"
	EventSettled = "ledger.entry.settled"
	EventVoided  = "ledger.entry.voided"
	EventExpired = "ledger.entry.expired"
)

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

// events tells what happened to each entry of the batch: its new lines.
func (b *book) events() []events.Event {
	out := make([]events.Event, 0, len(b.entries)+len(b.settled))
	for i := 0; i < len(b.postings); {
		t, from := b.postings[i].entry, i
		lines := make([]eventPosting, 0, 4)
		for ; i < len(b.postings) && b.postings[i].entry == t; i++ {
			l := &b.postings[i].line
			lines = append(lines, eventPosting{Phase: l.phase, Debit: l.debit.Code, Credit: l.credit.Code, Amount: l.amount})
		}
		payload, err := json.Marshal(eventPayload{
			ID: ids.Format(EntryPrefix, t.ID), State: t.State, Code: t.Code, Reference: t.Reference,
			ReversalOf: ids.Format(EntryPrefix, t.ReversalOf), Postings: lines,
		})
		if err != nil {
			panic("ledger: an event of strings and integers could not be written: " + err.Error())
		}
		out = append(out, events.Event{
			OrgID: t.OrgID, AggregateType: "ledger_entry", AggregateID: t.ID, Type: eventType(t.State, b.postings[from].line.phase),
			Payload: payload, RecordedAt: b.now,
		})
	}
	return out
}

func eventType(state State, phase Phase) string {
	switch {
	case phase == PhaseSettled:
		return EventSettled
	case phase == PhasePending:
		return EventPending
	case state == StateExpired:
		return EventExpired
	case phase == PhaseReleased:
		return EventVoided
	default:
		return EventPosted
	}
}
