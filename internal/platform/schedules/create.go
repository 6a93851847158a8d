package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// A name that is taken leaves the transaction whole: other commands may be in it.
const createSQL = `
	insert into schedule (org_id, id, name, state, cron, time_zone, misfire_policy, misfire_max, misfire_grace_seconds, queue,
		destination, kind, args, http_request, terms, anchor_at, ticks_after, next_tick_at, version, created_at, updated_at)
	values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
	on conflict (name, org_id) do nothing
	returning id`

// Create makes a schedule. Its first tick is the first that its rule names after now, by the database's clock.
func (s *Schedules) Create(ctx context.Context, tx postgres.Tx, orgID ids.ID, in Input) (Schedule, error) {
	in = in.withDefaults()
	if err := in.validate(); err != nil {
		return Schedule{}, err
	}
	now, err := postgres.Now(ctx, tx)
	if err != nil {
		return Schedule{}, err
	}
	c := Schedule{OrgID: orgID, ID: s.source.New(), State: Active, Version: 1, CreatedAt: now, UpdatedAt: now, ticksAfter: now}
	c.take(in)
	if err := c.begin(now); err != nil {
		return Schedule{}, err
	}
	if err := s.acceptable(ctx, tx, &c, now); err != nil {
		return Schedule{}, err
	}
	terms, err := json.Marshal(c.Task.Terms)
	if err != nil {
		return Schedule{}, err
	}
	var made ids.ID
	err = tx.QueryRow(ctx, createSQL, c.OrgID, c.ID, c.Name, c.State, c.Cron, c.TimeZone, c.Misfire.Policy, c.Misfire.Max,
		int64(c.Misfire.Grace/time.Second), c.Task.Queue, orNull(c.Task.Destination), orNull(c.Task.Kind), orNullJSON(c.Task.Args),
		orNullJSON(c.Task.HTTPRequest), terms, c.anchor, c.ticksAfter, c.NextTickAt, c.Version, c.CreatedAt, c.UpdatedAt).Scan(&made)
	if errors.Is(err, pgx.ErrNoRows) {
		return Schedule{}, ErrNameTaken
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("store a schedule: %w", err)
	}
	return c, s.tell(ctx, tx, eventCreated, &c)
}

// tell publishes a change.
func (s *Schedules) tell(ctx context.Context, tx postgres.Tx, name string, c *Schedule) error {
	event, err := changed(name, c)
	if err != nil {
		return err
	}
	var batch pgx.Batch
	s.events.Queue(&batch, []events.Event{event})
	return tx.SendBatch(ctx, &batch).Close()
}

// take fills in what callers say about a schedule.
func (s *Schedule) take(in Input) {
	s.Name, s.Cron, s.TimeZone, s.Task = in.Name, in.Cron, in.TimeZone, in.Task
	s.Misfire = Misfire{in.MisfirePolicy, in.MisfireMax, time.Duration(in.MisfireGraceSeconds) * time.Second}
}

// said is what callers say about the schedule.
func (s *Schedule) said() Input {
	return Input{
		Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, MisfirePolicy: s.Misfire.Policy, MisfireMax: s.Misfire.Max,
		MisfireGraceSeconds: int(s.Misfire.Grace / time.Second), Task: s.Task,
	}
}

// begin has the schedule follow its rule from now on, whatever it followed before. Ticks are never accounted for twice, so it
// does not go back behind those that were.
func (s *Schedule) begin(now time.Time) error {
	s.anchor = now.Truncate(time.Second)
	s.ticksAfter = later(s.ticksAfter, now)
	return s.aim()
}

// aim finds the next tick after those that are accounted for.
func (s *Schedule) aim() error {
	rule, err := s.rule()
	if err != nil {
		return ErrInvalid.At("cron").Because(err)
	}
	s.NextTickAt = rule.Next(s.ticksAfter)
	if s.NextTickAt.IsZero() {
		return ErrInvalid.At("cron")
	}
	return nil
}
