package schedules

import (
	"encoding/json"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// The events about a schedule. Every version has one of the first four.
const (
	eventCreated = "schedule.created"
	eventUpdated = "schedule.updated"
	eventPaused  = "schedule.paused"
	eventResumed = "schedule.resumed"
	eventDeleted = "schedule.deleted"
	eventMissed  = "schedule.misfired" // ticks were not made in time
	eventAsked   = "schedule.run_requested"
)

const aggregate = "schedule"

// changed is the event of a change: its payload is the schedule as it then was.
func changed(name string, s *Schedule) (events.Event, error) {
	payload, err := json.Marshal(s)
	return events.Event{OrgID: s.OrgID, AggregateType: aggregate, AggregateID: s.ID, Type: name, Payload: payload}, err
}

// missed tells of ticks that were not made in time, and what came of them.
func missed(s *Schedule, r settlement) (events.Event, error) {
	madeUp := 0
	for _, t := range r.ticks {
		if t.missed {
			madeUp++
		}
	}
	payload, err := json.Marshal(struct {
		ID       string        `json:"id"`
		Policy   MisfirePolicy `json:"misfire_policy"`
		From     time.Time     `json:"missed_from"`
		Until    time.Time     `json:"missed_until"`
		MadeUp   int           `json:"made_up"`
		NextTick *time.Time    `json:"next_tick_at"`
	}{ids.Format(Prefix, s.ID), s.Misfire.Policy, r.missedFrom, r.missedUntil.Truncate(time.Second), madeUp, optional(r.next)})
	return events.Event{OrgID: s.OrgID, AggregateType: aggregate, AggregateID: s.ID, Type: eventMissed, Payload: payload}, err
}

// asked tells that somebody had the schedule's task run now.
func asked(s *Schedule, taskID ids.ID) (events.Event, error) {
	payload, err := json.Marshal(struct {
		ID     string `json:"id"`
		TaskID string `json:"task_id"`
	}{ids.Format(Prefix, s.ID), ids.Format(tasks.Prefix, taskID)})
	return events.Event{OrgID: s.OrgID, AggregateType: aggregate, AggregateID: s.ID, Type: eventAsked, Payload: payload}, err
}
