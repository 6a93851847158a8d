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
