package limits

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// A new key's row is made by a statement of its own, so that no transaction waits for another one's new row with locks held.
const insertKeysSQL = `
	insert into limit_key (org_id, name, version, periods, limits, quiet_at)
	select k.org_id, k.name, k.version, k.periods::bigint[], k.limits::bigint[], statement_timestamp() + interval '1 minute'
	from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[]) as k (org_id, name, version, periods, limits)
	order by k.org_id, k.name
	on conflict (org_id, name) do nothing`

// The row of a key is the lock for everything about it. Its clock is read by this statement, which was sent after the node
// read its own.

// hot
const lockKeysSQL = `
	select a.n, k.version, k.periods, k.limits, k.quiet_at, statement_timestamp()
	from unnest($1::uuid[], $2::text[]) with ordinality as a (org_id, name, n)
	join limit_key k on k.org_id = a.org_id and k.name = a.name
	order by k.org_id, k.name
	for no key update of k`

// hot
const leasesSQL = `
	select a.n, l.period, l.holder, l.node, l.held, l.usable, l.busy, l.want, l.unit, l.spent, l.ends_at, l.turn
	from unnest($1::uuid[], $2::text[]) with ordinality as a (org_id, name, n)
	join limit_lease l on l.org_id = a.org_id and l.name = a.name`

// hot
const coolingSQL = `
	select a.n, c.period, coalesce(sum(c.units) filter (where c.free_at > statement_timestamp()), 0)::bigint,
		min(c.free_at) filter (where c.free_at > statement_timestamp()), max(c.free_at),
		count(*) filter (where c.free_at <= statement_timestamp())
	from unnest($1::uuid[], $2::text[]) with ordinality as a (org_id, name, n)
	join limit_cooling c on c.org_id = a.org_id and c.name = a.name
	group by a.n, c.period`

// hot
const writeLeasesSQL = `
	insert into limit_lease (org_id, name, period, holder, node, held, usable, busy, want, unit, spent, ends_at, turn)
	select w.org_id, w.name, w.period, $4::uuid, $5::text, w.held, w.usable, w.busy, w.want, w.unit, w.spent, w.ends_at, w.turn
	from unnest($1::uuid[], $2::text[], $3::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
		$11::bigint[], $12::timestamptz[], $13::bigint[])
		as w (org_id, name, period, held, usable, busy, want, unit, spent, ends_at, turn)
	on conflict (org_id, name, period, holder)
	do update set held = excluded.held, usable = excluded.usable, busy = excluded.busy, want = excluded.want, unit = excluded.unit,
		spent = excluded.spent, ends_at = excluded.ends_at, turn = excluded.turn`

// hot
const deleteLeasesSQL = `
	delete from limit_lease l
	using unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[]) as w (org_id, name, period, holder)
	where l.org_id = w.org_id and l.name = w.name and l.period = w.period and l.holder = w.holder`

// hot
const insertCoolingSQL = `
	insert into limit_cooling (org_id, name, period, free_at, units)
	select w.org_id, w.name, w.period, w.free_at, w.units
	from unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bigint[]) as w (org_id, name, period, free_at, units)
	on conflict (org_id, name, period, free_at)
	do update set units = limit_cooling.units + excluded.units`

// hot
const deleteCooledSQL = `
	delete from limit_cooling c
	using unnest($1::uuid[], $2::text[], $3::bigint[]) as w (org_id, name, period)
	where c.org_id = w.org_id and c.name = w.name and c.period = w.period and c.free_at <= statement_timestamp()`

// hot
const updateKeysSQL = `
	update limit_key k
	set version = w.version, periods = w.periods::bigint[], limits = w.limits::bigint[], quiet_at = w.quiet_at
	from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
		as w (org_id, name, version, periods, limits, quiet_at)
	where k.org_id = w.org_id and k.name = w.name`

// record is a key in the database, as it was when its row was locked.
type record struct {
	found   bool
	version int64
	windows []Window
	quietAt time.Time // not before the last that is held or cools is over
	at      time.Time
	leases  []leaseOf
	cooling []coolingOf
}

type leaseOf struct {
	lease
	period time.Duration
}

// coolingOf sums up what cools of a window.
type coolingOf struct {
	period time.Duration
	units  int64
	next   time.Time // when the first of it is free
	last   time.Time // when all of it is
	cooled int64     // rows that are over
}

// standing is the state of one window.
func (r *record) standing(w Window) standing {
	s := standing{limit: w.Limit, at: r.at}
	for _, l := range r.leases {
		if l.period == w.Period {
			s.leases = append(s.leases, l.lease)
		}
	}
	for _, c := range r.cooling {
		if c.period == w.Period {
			s.cooling, s.freeAt = c.units, c.next
		}
	}
	return s
}

// lock locks keys, which come in order, and reads all there is about them. It is one round trip. Statements after the first see
// what was committed before the locks were had.
func lock(ctx context.Context, tx postgres.Tx, orgs []ids.ID, names []string) ([]record, error) {
	out := make([]record, len(orgs))
	var batch pgx.Batch
	batch.Queue(lockKeysSQL, orgs, names).Query(func(rows pgx.Rows) error {
		var n int
		var r record
		var periods, limits []int64
		_, err := pgx.ForEachRow(rows, []any{&n, &r.version, &periods, &limits, &r.quietAt, &r.at}, func() error {
			r.found, r.windows = true, windowsOf(periods, limits)
			out[n-1] = r
			return nil
		})
		return err
	})
	queueReads(&batch, out, orgs, names)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("lock limits: %w", err)
	}
	return out, nil
}

func windowsOf(periods, limits []int64) []Window {
	out := make([]Window, len(periods))
	for i := range periods {
		out[i] = Window{Limit: limits[i], Period: time.Duration(periods[i]) * time.Microsecond}
	}
	return out
}

// queueReads has leases and what cools read into the records of their keys.
func queueReads(batch *pgx.Batch, out []record, orgs []ids.ID, names []string) {
	batch.Queue(leasesSQL, orgs, names).Query(func(rows pgx.Rows) error {
		var n int
		var period int64
		var l leaseOf
		_, err := pgx.ForEachRow(rows, []any{&n, &period, &l.holder, &l.node, &l.held, &l.usable, &l.busy, &l.want, &l.unit, &l.spent, &l.endsAt, &l.turn}, func() error {
			l.period = time.Duration(period) * time.Microsecond
			out[n-1].leases = append(out[n-1].leases, l)
			return nil
		})
		return err
	})
	batch.Queue(coolingSQL, orgs, names).Query(func(rows pgx.Rows) error {
		var n int
		var period int64
		var c coolingOf
		var next *time.Time
		_, err := pgx.ForEachRow(rows, []any{&n, &period, &c.units, &next, &c.last, &c.cooled}, func() error {
			c.period, c.next = time.Duration(period)*time.Microsecond, time.Time{}
			if next != nil {
				c.next = *next
			}
			out[n-1].cooling = append(out[n-1].cooling, c)
			return nil
		})
		return err
	})
}
