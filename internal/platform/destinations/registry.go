package destinations

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

const (
	refreshEvery = time.Second
	hurriedEvery = 100 * time.Millisecond // at the soonest, when something must be told
	refreshWait  = 5 * time.Second        // for one refresh
	forgetAfter  = time.Minute            // a destination that nobody asks about is not refreshed any more
	refsMax      = 10_000                 // in one question
)

// registry is the destinations that this node uses.
type registry struct {
	mu      sync.Mutex
	entries map[Ref]*Entry
	hurry   chan struct{} // asks Run to record and read at once
	clock   *remoteClock
}

func newRegistry() *registry {
	return &registry{entries: map[Ref]*Entry{}, hurry: make(chan struct{}, 1), clock: newRemoteClock()}
}

func (d *Destinations) wake() {
	select {
	case d.registry.hurry <- struct{}{}:
	default:
	}
}

// Use gives the entries of destinations, nil for one that there is not. Those in use are in memory; the others are read by
// one statement.
func (d *Destinations) Use(ctx context.Context, refs []Ref) ([]*Entry, error) {
	if len(refs) > refsMax {
		return nil, fmt.Errorf("asked for %d destinations at once; %d are the most", len(refs), refsMax)
	}
	out := make([]*Entry, len(refs))
	missing := map[Ref]bool{}
	now := d.Now()
	d.registry.mu.Lock()
	for i, ref := range refs {
		if out[i] = d.registry.entries[ref]; out[i] == nil {
			missing[ref] = true
		} else {
			out[i].touch(now)
		}
	}
	d.registry.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	if err := d.load(ctx, missing); err != nil {
		return nil, err
	}
	d.registry.mu.Lock()
	defer d.registry.mu.Unlock()
	for i, ref := range refs {
		if out[i] == nil {
			out[i] = d.registry.entries[ref]
		}
	}
	return out, nil
}

func (e *Entry) touch(now time.Time) {
	e.mu.Lock()
	e.usedAt = now
	e.mu.Unlock()
}

// hot
const loadSQL = `
	select clock_timestamp(), ` + settingsColumns + `, ` + stateColumnList + `
	from unnest($1::uuid[], $2::text[]) as w (org_id, name)
	join destination d on d.org_id = w.org_id and d.name = w.name
	join destination_state s on s.org_id = d.org_id and s.destination_id = d.id`

func (d *Destinations) load(ctx context.Context, refs map[Ref]bool) error {
	var orgs []ids.ID
	var names []string
	for ref := range refs {
		orgs, names = append(orgs, ref.OrgID), append(names, ref.Name)
	}
	rows, err := d.DB.Pool().Query(ctx, loadSQL, orgs, names)
	if err != nil {
		return fmt.Errorf("read destinations: %w", err)
	}
	var now time.Time
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Destination, error) {
		var s stored
		if err := row.Scan(append([]any{&now}, s.fields()...)...); err != nil {
			return Destination{}, err
		}
		return s.destination()
	})
	if err != nil {
		return fmt.Errorf("read destinations: %w", err)
	}
	if len(list) > 0 {
		d.registry.clock.set(now)
	}
	entries := make([]*Entry, len(list))
	for i, one := range list {
		target, err := d.newTarget(one, nil)
		if err != nil {
			return err
		}
		d.metrics.known(one.Name)
		entries[i] = &Entry{d: d, target: target, usedAt: d.Now()}
	}
	if err := d.readKeys(ctx, entries); err != nil {
		return err
	}
	d.registry.mu.Lock()
	defer d.registry.mu.Unlock()
	for i, one := range list {
		if ref := (Ref{one.OrgID, one.Name}); d.registry.entries[ref] == nil { // else somebody was faster
			d.registry.entries[ref] = entries[i]
		}
	}
	return nil
}

// Run records what this node learns and reads what others have changed, once a second, until ctx ends; what is learned last
// is recorded before it returns. While no destination is in use it asks the database nothing.
func (d *Destinations) Run(ctx context.Context) error {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshWait)
			defer cancel()
			if err := d.refresh(last); err != nil {
				d.Log.Warn("what was learned last about destinations is not recorded", "error", err)
			}
			return nil
		case <-ticker.C:
		case <-d.registry.hurry:
		}
		bounded, cancel := context.WithTimeout(ctx, refreshWait)
		err := d.refresh(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("destinations could not be refreshed", "error", err)
		}
		pause.Reset(hurriedEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// refresh records, then reads.
func (d *Destinations) refresh(ctx context.Context) error {
	entries := d.inUse()
	if len(entries) == 0 {
		return nil
	}
	var lessons []Lesson
	var taught []*Entry
	for _, e := range entries {
		e.noticeRenewal()
		if l, ok := e.take(); ok {
			lessons, taught = append(lessons, l), append(taught, e)
		}
	}
	if err := d.Record(ctx, lessons); err != nil {
		for i, e := range taught {
			e.putBack(lessons[i])
		}
		return err
	}
	if err := d.reread(ctx, entries); err != nil {
		return err
	}
	if err := d.readKeys(ctx, entries); err != nil {
		return err
	}
	for _, e := range taught {
		e.caughtUp()
	}
	return nil
}

// inUse lists the entries, without those that nobody has asked about for long.
func (d *Destinations) inUse() []*Entry {
	now := d.Now()
	d.registry.mu.Lock()
	defer d.registry.mu.Unlock()
	var list []*Entry
	for ref, e := range d.registry.entries {
		e.mu.Lock()
		idle := now.Sub(e.usedAt) >= forgetAfter && e.pending.empty()
		if idle || e.gone {
			e.gone = true
			delete(d.registry.entries, ref)
			e.target.links.close()
		} else {
			list = append(list, e)
		}
		e.mu.Unlock()
	}
	return list
}

// noticeRenewal ends a hold for the credentials' sake when the secret is another one now.
func (e *Entry) noticeRenewal() {
	t := e.Target()
	if t.State.Auth.HeldAt.IsZero() {
		return
	}
	if e.d.markNow(t) == t.State.Auth.Mark {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.pending.Refused {
		e.pending.Renewed, e.pending.Mark = true, t.State.Auth.Mark
	}
}

// Always one row, for the clock. Of the destinations only those that changed come with it.

// hot
const rereadSQL = `
	select c.at, w.n, s.revision is null, ` + settingsColumns + `, ` + stateColumnList + `
	from (select clock_timestamp() as at) c
	left join (
		unnest($1::uuid[], $2::uuid[], $3::bigint[]) with ordinality as w (org_id, id, revision, n)
		left join destination_state s on s.org_id = w.org_id and s.destination_id = w.id
		left join destination d on d.org_id = w.org_id and d.id = w.id
	) on s.revision is distinct from w.revision`

func (d *Destinations) reread(ctx context.Context, entries []*Entry) error {
	orgs, destinations, revisions := make([]ids.ID, len(entries)), make([]ids.ID, len(entries)), make([]int64, len(entries))
	for i, e := range entries {
		t := e.Target()
		orgs[i], destinations[i], revisions[i] = t.OrgID, t.ID, t.State.Revision
	}
	rows, err := d.DB.Pool().Query(ctx, rereadSQL, orgs, destinations, revisions)
	if err != nil {
		return fmt.Errorf("refresh destinations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var now time.Time
		var n *int64
		var gone *bool
		var s stored
		// What is not there comes as nulls, which only pointers take.
		raw := rows.RawValues()
		if raw[1] == nil || raw[3] == nil {
			if err := rows.Scan(append([]any{&now, &n, &gone}, make([]any, len(s.fields()))...)...); err != nil {
				return fmt.Errorf("refresh destinations: %w", err)
			}
			d.registry.clock.set(now)
			if n != nil {
				entries[*n-1].vanish()
			}
			continue
		}
		if err := rows.Scan(append([]any{&now, &n, &gone}, s.fields()...)...); err != nil {
			return fmt.Errorf("refresh destinations: %w", err)
		}
		d.registry.clock.set(now)
		one, err := s.destination()
		if err != nil {
			return err
		}
		e := entries[*n-1]
		target, err := d.newTarget(one, e.Target())
		if err != nil {
			return err
		}
		e.replace(target)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("refresh destinations: %w", err)
	}
	return nil
}

func (e *Entry) vanish() {
	e.mu.Lock()
	e.gone = true
	e.mu.Unlock()
}
