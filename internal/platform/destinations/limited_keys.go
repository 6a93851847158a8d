package destinations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// A destination with limits by key counts each key's requests by itself, and so does the other side: what it turns away for
// its rate is the key's, not everybody's. So the key is held, and the other keys go on. A 5xx is about the other side
// itself and holds all of them, and so does what a Classifier says is everybody's.

const (
	// limitedKeysMax bounds the keys of one destination that are held at a time. Where so many are, the next one holds the
	// destination, for a while.
	limitedKeysMax  = 10_000
	limitedKeysFull = 10 * time.Second
	// limitedKeysKept is how long a hold that is over is remembered for nodes that have not read it.
	limitedKeysKept = time.Hour
)

// keyed tells whether requests of a limit key are counted by themselves.
func (t *Target) keyed() bool {
	for i := range t.RateLimits {
		if t.RateLimits[i].Per == PerLimitKey {
			return true
		}
	}
	return false
}

// ofKey tells whether what an answer says of our rate is about the request's limit key alone.
func (r *Response) ofKey() bool {
	return r.Status < 500 && r.Class != ClassRetry && !r.everybody
}

// holdKey holds a limit key for a time. The caller holds mu.
func (e *Entry) holdKey(key string, now time.Time, wait time.Duration) (urgent bool) {
	until := now.Add(wait)
	before, known := e.limitedKeys[key]
	switch {
	case !until.After(before):
		return false
	case !known && len(e.limitedKeys) >= limitedKeysMax:
		return e.holdAll(now, min(wait, limitedKeysFull))
	case e.limitedKeys == nil:
		e.limitedKeys = map[string]time.Time{}
	}
	e.limitedKeys[key] = until
	if e.pending.Keys == nil {
		e.pending.Keys = map[string]time.Duration{}
	}
	e.pending.Keys[key] = max(e.pending.Keys[key], wait)
	return true
}

// holdAll holds the destination for a time. The caller holds mu.
func (e *Entry) holdAll(now time.Time, wait time.Duration) (urgent bool) {
	until := now.Add(wait)
	if wait <= 0 || !until.After(e.limitedUntil) {
		return false
	}
	e.limitedUntil, e.pending.PauseFor = until, max(e.pending.PauseFor, wait)
	return true
}

// The state's row is locked: revisions rise. They begin with the time, because keys that were forgotten no longer tell theirs.

// hot
const holdKeysSQL = `
	insert into destination_limited_key as k (org_id, destination_id, limit_key, limited_until, last_error, revision)
	select w.org_id, w.destination_id, w.limit_key, statement_timestamp() + w.pause_us * interval '1 microsecond', w.last_error,
		greatest((extract(epoch from statement_timestamp()) * 1000000)::bigint,
			(select coalesce(max(m.revision), 0) + 1 from destination_limited_key m where m.destination_id = w.destination_id))
	from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[]) as w (org_id, destination_id, limit_key, pause_us, last_error)
	on conflict on constraint destination_limited_key_pkey do update
	set limited_until = excluded.limited_until, last_error = excluded.last_error, revision = excluded.revision
	where excluded.limited_until > k.limited_until`

const forgetKeysSQL = `
	delete from destination_limited_key
	where (org_id, destination_id, limit_key) in (
		select k.org_id, k.destination_id, k.limit_key
		from unnest($1::uuid[], $2::uuid[]) as w (org_id, destination_id)
		join destination_limited_key k on k.org_id = w.org_id and k.destination_id = w.destination_id
		where k.limited_until < statement_timestamp() - $3::bigint * interval '1 microsecond'
		limit 1000
	)`

// queueKeys writes the keys that are held by what was learned of destinations that there are. Their states are locked.
func queueKeys(b *pgx.Batch, lessons []Lesson) {
	var orgs, destinations, touchedOrgs, touched []ids.ID
	var keys, details []string
	var pauses []int64
	for _, l := range lessons {
		for key, pause := range l.Keys {
			orgs, destinations, keys = append(orgs, l.OrgID), append(destinations, l.DestinationID), append(keys, key)
			pauses, details = append(pauses, pause.Microseconds()), append(details, l.LastError)
		}
		if len(l.Keys) > 0 {
			touchedOrgs, touched = append(touchedOrgs, l.OrgID), append(touched, l.DestinationID)
		}
	}
	if len(keys) == 0 {
		return
	}
	b.Queue(forgetKeysSQL, touchedOrgs, touched, limitedKeysKept.Microseconds())
	b.Queue(holdKeysSQL, orgs, destinations, keys, pauses, details)
}

// hot
const readKeysSQL = `
	select w.n, k.limit_key, k.limited_until, k.revision
	from unnest($1::uuid[], $2::uuid[], $3::bigint[]) with ordinality as w (org_id, destination_id, revision, n)
	join destination_limited_key k on k.destination_id = w.destination_id and k.revision > w.revision and k.org_id = w.org_id`

// readKeys reads which keys are held, as far as the entries do not know it. Only those with limits by key are asked about.
func (d *Destinations) readKeys(ctx context.Context, entries []*Entry) error {
	var asked []*Entry
	var orgs, destinations []ids.ID
	var revisions []int64
	for _, e := range entries {
		e.mu.Lock()
		if t := e.target; t.keyed() {
			asked, orgs, destinations, revisions = append(asked, e), append(orgs, t.OrgID), append(destinations, t.ID), append(revisions, e.keysRevision)
		}
		e.mu.Unlock()
	}
	if len(asked) == 0 {
		return nil
	}
	rows, err := d.DB.Pool().Query(ctx, readKeysSQL, orgs, destinations, revisions)
	if err != nil {
		return fmt.Errorf("read which limit keys are held: %w", err)
	}
	now := d.Now()
	var n, revision int64
	var key string
	var until time.Time
	_, err = pgx.ForEachRow(rows, []any{&n, &key, &until, &revision}, func() error {
		asked[n-1].keyHeld(key, until.UTC(), revision)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read which limit keys are held: %w", err)
	}
	for _, e := range asked {
		e.forgetKeys(now)
	}
	return nil
}

// keyHeld takes what the database says of a key.
func (e *Entry) keyHeld(key string, until time.Time, revision int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keysRevision = max(e.keysRevision, revision)
	if _, unrecorded := e.pending.Keys[key]; unrecorded && until.Before(e.limitedKeys[key]) {
		return
	}
	if e.limitedKeys == nil {
		e.limitedKeys = map[string]time.Time{}
	}
	e.limitedKeys[key] = until
}

// keysHeld is how many limit keys are held, with those whose time was over a moment ago.
func (e *Entry) keysHeld() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.limitedKeys)
}

// forgetKeys drops the holds that are over.
func (e *Entry) forgetKeys(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, until := range e.limitedKeys {
		if !until.After(now) {
			delete(e.limitedKeys, key)
		}
	}
}

const releaseKeysSQL = `
	update destination_limited_key k
	set limited_until = statement_timestamp(), revision = r.revision
	from (
		select greatest((extract(epoch from statement_timestamp()) * 1000000)::bigint, coalesce(max(m.revision), 0) + 1) as revision
		from destination_limited_key m
		where m.destination_id = $2
	) r
	where k.org_id = $1 and k.destination_id = $2 and k.limited_until > statement_timestamp()`

// releaseKeys ends the holds of all keys of a destination whose state is locked.
func releaseKeys(ctx context.Context, tx postgres.Tx, orgID, destinationID ids.ID) error {
	if _, err := tx.Exec(ctx, releaseKeysSQL, orgID, destinationID); err != nil {
		return fmt.Errorf("end the holds of limit keys: %w", err)
	}
	return nil
}

const keyHoldSQL = `
	select k.limited_until, k.last_error
	from destination_limited_key k
	where k.org_id = $1 and k.destination_id = $2 and k.limit_key = $3 and k.limited_until > statement_timestamp()`

// KeyHold tells whether a limit key of a destination is held. Like every read here it takes a transaction, or the pool.
func (d *Destinations) KeyHold(ctx context.Context, tx postgres.Tx, orgID, destinationID ids.ID, limitKey string) (Hold, bool, error) {
	h := Hold{Reason: HeldByRetryAfter, LimitKey: limitKey}
	err := tx.QueryRow(ctx, keyHoldSQL, orgID, destinationID, limitKey).Scan(&h.Until, &h.Detail)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Hold{}, false, nil
	case err != nil:
		return Hold{}, false, fmt.Errorf("read whether a limit key is held: %w", err)
	}
	h.Until = h.Until.UTC()
	return h, true, nil
}

const keyHoldsSQL = `
	select k.limit_key, k.limited_until, k.last_error
	from destination_limited_key k
	where k.org_id = $1 and k.destination_id = $2 and k.limited_until > statement_timestamp()
	order by k.limit_key
	limit $3`

// KeyHolds lists the limit keys of a destination that are held, by name.
func (d *Destinations) KeyHolds(ctx context.Context, tx postgres.Tx, orgID, destinationID ids.ID, limit int) ([]Hold, error) {
	rows, err := tx.Query(ctx, keyHoldsSQL, orgID, destinationID, limit)
	if err != nil {
		return nil, fmt.Errorf("list the limit keys that are held: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Hold, error) {
		h := Hold{Reason: HeldByRetryAfter}
		err := row.Scan(&h.LimitKey, &h.Until, &h.Detail)
		h.Until = h.Until.UTC()
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the limit keys that are held: %w", err)
	}
	return list, nil
}
