package schedules

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// scan reads a schedule's columns, in the order in which all statements here have them.
func scan(row pgx.CollectableRow) (Schedule, error) {
	var s Schedule
	var reason, destination, kind *string
	var args, request, terms []byte
	var grace int64
	var last, next *time.Time
	err := row.Scan(&s.OrgID, &s.ID, &s.Name, &s.State, &reason, &s.Cron, &s.TimeZone, &s.Misfire.Policy, &s.Misfire.Max, &grace,
		&s.Task.Queue, &destination, &kind, &args, &request, &terms, &s.anchor, &s.ticksAfter, &last, &next, &s.Version, &s.CreatedAt, &s.UpdatedAt)
	s.Misfire.Grace = time.Duration(grace) * time.Second
	s.PauseReason, s.Task.Destination, s.Task.Kind = orEmpty(reason), orEmpty(destination), orEmpty(kind)
	s.Task.Args, s.Task.HTTPRequest = args, request
	s.LastTickAt, s.NextTickAt = orZero(last), orZero(next)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(terms, &s.Task.Terms)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func orNull[T ~string](s T) *T {
	if s == "" {
		return nil
	}
	return &s
}

func orNullJSON(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return nil
	}
	return raw
}

const lockSQL = `
	select s.org_id, s.id, s.name, s.state, s.pause_reason, s.cron, s.time_zone, s.misfire_policy, s.misfire_max, s.misfire_grace_seconds,
		s.queue, s.destination, s.kind, s.args, s.http_request, s.terms, s.anchor_at, s.ticks_after, s.last_tick_at, s.next_tick_at, s.version,
		s.created_at, s.updated_at
	from schedule s
	where s.org_id = $1 and s.id = $2
	for update`

// lock takes a schedule to change it, and the database's clock once it is held: what another transaction made of it before is
// then in the past. A version of 0 takes any.
func lock(ctx context.Context, tx postgres.Tx, orgID, id ids.ID, version int64) (Schedule, time.Time, error) {
	list, now, err := readLocked(ctx, tx, lockSQL, orgID, id)
	switch {
	case err != nil:
		return Schedule{}, now, err
	case len(list) == 0:
		return Schedule{}, now, ErrNotFound
	case version != 0 && list[0].Version != version:
		return Schedule{}, now, ErrVersionConflict
	}
	return list[0], now, nil
}

const storeSQL = `
	update schedule set
		name = $3, state = $4, pause_reason = $5, cron = $6, time_zone = $7, misfire_policy = $8, misfire_max = $9,
		misfire_grace_seconds = $10, queue = $11, destination = $12, kind = $13, args = $14, http_request = $15, terms = $16,
		anchor_at = $17, ticks_after = $18, last_tick_at = $19, next_tick_at = $20, version = $21, updated_at = $22
	where org_id = $1 and id = $2`

// change stores a schedule that the transaction holds, as its next version, with the version's event.
func (s *Schedules) change(ctx context.Context, tx postgres.Tx, c *Schedule, now time.Time, event string) error {
	c.Version, c.UpdatedAt = c.Version+1, now
	terms, err := json.Marshal(c.Task.Terms)
	if err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue(storeSQL, c.OrgID, c.ID, c.Name, c.State, orNull(c.PauseReason), c.Cron, c.TimeZone, c.Misfire.Policy, c.Misfire.Max,
		int64(c.Misfire.Grace/time.Second), c.Task.Queue, orNull(c.Task.Destination), orNull(c.Task.Kind), orNullJSON(c.Task.Args),
		orNullJSON(c.Task.HTTPRequest), terms, c.anchor, c.ticksAfter, optional(c.LastTickAt), optional(c.NextTickAt), c.Version, c.UpdatedAt)
	told, err := changed(event, c)
	if err != nil {
		return err
	}
	s.events.Queue(&batch, []events.Event{told})
	return named(tx.SendBatch(ctx, &batch).Close())
}

// named translates what the database refuses because of a name.
func named(err error) error {
	if postgres.Constraint(err) == "schedule_name_key" {
		return ErrNameTaken.Because(err)
	}
	return err
}
