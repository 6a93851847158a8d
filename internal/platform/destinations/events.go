package destinations

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/platform/events"
)

// The events that are published. Every version of a destination has one of the first two; the last two tell what holds it.
const (
	eventCreated = "destination.created"
	eventUpdated = "destination.updated"
	eventDeleted = "destination.deleted"
	eventPaused  = "destination.paused"
	eventResumed = "destination.resumed"
)

const aggregate = "destination"

// tell queues the event of what people did: its payload is the destination's settings as they then were. Secrets are references there
// as everywhere.
func (d *Destinations) tell(b *pgx.Batch, name string, of *Destination) error {
	payload, err := json.Marshal(of)
	if err != nil {
		return fmt.Errorf("describe a destination: %w", err)
	}
	d.Events.Queue(b, []events.Event{{OrgID: of.OrgID, AggregateType: aggregate, AggregateID: of.ID, Type: name, Payload: payload}})
	return nil
}

// shortPause is not worth an event: an API that says "in two seconds" says so all day.
const shortPause = 10 * time.Second

// change is a destination before and after.
type change struct{ before, after Destination }

// holdPayload is what the events of holds say.
type holdPayload struct {
	Name   string     `json:"name"`
	Reason HoldReason `json:"reason"`
	Until  *time.Time `json:"paused_until,omitempty"`
	Detail string     `json:"detail,omitempty"`
}

// announce queues the events of what began and what ended. A pause that ends by its time alone is not announced: its
// beginning said when.
func (d *Destinations) announce(b *pgx.Batch, changes []change, now time.Time) error {
	var list []events.Event
	for _, c := range changes {
		for _, word := range c.words(now) {
			payload, err := json.Marshal(word.payload)
			if err != nil {
				return fmt.Errorf("describe a hold: %w", err)
			}
			list = append(list, events.Event{
				OrgID: c.after.OrgID, AggregateType: aggregate, AggregateID: c.after.ID, Type: word.event, Payload: payload,
			})
		}
	}
	d.Events.Queue(b, list)
	return nil
}

type word struct {
	event   string
	payload holdPayload
}

// words compares each kind of hold by itself: one may begin while another lasts.
func (c change) words(now time.Time) []word {
	before, after := c.before.State, c.after.State
	var out []word
	tell := func(reason HoldReason, was, is bool, until time.Time, detail string) {
		p := holdPayload{Name: c.after.Name, Reason: reason}
		switch {
		case is && !was:
			p.Until, p.Detail = optional(until), detail
			out = append(out, word{eventPaused, p})
		case was && !is:
			out = append(out, word{eventResumed, p})
		}
	}
	paused := func(p Pause) bool { return p.Active && (p.Until.IsZero() || p.Until.After(now)) }
	again := paused(after.Pause) && before.Pause != after.Pause // with another end or reason
	tell(HeldByOperator, paused(before.Pause) && !again, paused(after.Pause), after.Pause.Until, after.Pause.Reason)
	tell(HeldByAuth, !before.Auth.HeldAt.IsZero(), !after.Auth.HeldAt.IsZero(), time.Time{}, after.LastError)
	// A breaker is announced when it opens, each time, and when it closes.
	opened := after.Breaker.Position == BreakerOpen && after.Breaker.Spell != before.Breaker.Spell
	closed := after.Breaker.Position == BreakerClosed && before.Breaker.Position != BreakerClosed
	tell(HeldByBreaker, closed, opened, after.Breaker.OpenUntil, after.LastError)
	if was := before.LimitedUntil.After(now); !was && after.LimitedUntil.Sub(now) >= shortPause {
		tell(HeldByRetryAfter, false, true, after.LimitedUntil, after.LastError)
	} else if was && !after.LimitedUntil.After(now) {
		tell(HeldByRetryAfter, true, false, time.Time{}, "")
	}
	return out
}
