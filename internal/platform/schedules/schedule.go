package schedules

import (
	"encoding/json"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// State is what a schedule does.
type State string

// The states of a schedule.
const (
	Active State = "active"
	Paused State = "paused"
)

// MisfirePolicy says what becomes of ticks that no node made in time.
type MisfirePolicy string

// The policies for missed ticks.
const (
	Skip MisfirePolicy = "skip" // they are gone
	Once MisfirePolicy = "once" // one task makes up for all of them
	All  MisfirePolicy = "all"  // each is made up for, the latest MisfireMax of them
)

// Misfire is what is done about ticks that are made later than Grace after their time: they are missed.
type Misfire struct {
	Policy MisfirePolicy
	Max    int
	Grace  time.Duration
}

// Schedule is a rule and what comes of it. Times are zero where there are none.
type Schedule struct {
	OrgID       ids.ID
	ID          ids.ID
	Name        string
	State       State
	PauseReason string
	Cron        string
	TimeZone    string
	Misfire     Misfire
	Task        Template
	LastTickAt  time.Time // the latest that made a task
	NextTickAt  time.Time
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time

	anchor     time.Time // what @every counts from
	ticksAfter time.Time // how far ticks have been accounted for
}

// MarshalJSON writes the schedule as the API and the events show it.
func (s Schedule) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID            string        `json:"id"`
		Name          string        `json:"name"`
		State         State         `json:"state"`
		PauseReason   string        `json:"pause_reason,omitempty"`
		Cron          string        `json:"cron"`
		TimeZone      string        `json:"time_zone"`
		MisfirePolicy MisfirePolicy `json:"misfire_policy"`
		MisfireMax    int           `json:"misfire_max"`
		GraceSeconds  int64         `json:"misfire_grace_seconds"`
		Task          Template      `json:"task"`
		LastTickAt    *time.Time    `json:"last_tick_at"`
		NextTickAt    *time.Time    `json:"next_tick_at"`
		Version       int64         `json:"version"`
		CreatedAt     time.Time     `json:"created_at"`
		UpdatedAt     time.Time     `json:"updated_at"`
	}{
		ids.Format(Prefix, s.ID), s.Name, s.State, s.PauseReason, s.Cron, s.TimeZone, s.Misfire.Policy, s.Misfire.Max,
		int64(s.Misfire.Grace / time.Second), s.Task, optional(s.LastTickAt), optional(s.NextTickAt), s.Version,
		s.CreatedAt.UTC(), s.UpdatedAt.UTC(),
	})
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// rule reads the schedule's rule, which was valid when it was written.
func (s *Schedule) rule() (*Rule, error) { return ParseRule(s.Cron, s.TimeZone, s.anchor) }
