package limits

import (
	"context"
	"fmt"
	"time"
)

const (
	sweepEvery = time.Minute
	sweepSize  = 1000 // keys a statement
	sweepsMax  = 20   // statements a sweep
)

// Run keeps and gets slots until ctx ends, and then gives back what the node holds: from then on it grants nothing, and what it
// granted and was not sent may not be sent any more. Call it once.
func (l *Limits) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	sweepAt := l.now().mono.plus(sweepEvery)
	failing, lastAt := false, moment(0)
	for {
		select {
		case <-ctx.Done():
			return l.stop(context.WithoutCancel(ctx))
		case <-l.hurry:
		case <-timer.C:
		}
		now := l.now().mono
		list, next := l.due(now)
		if soon := lastAt.plus(l.cfg.RefreshMin); len(list) > 0 && now < soon {
			next = soon
		} else if len(list) > 0 {
			err := l.refreshWithin(ctx, list)
			if err != nil && ctx.Err() == nil && !failing {
				l.log.Warn("limits could not be refreshed; what is held lasts until its lease ends", "error", err)
			}
			failing = err != nil
			lastAt, now = now, l.now().mono
			_, next = l.due(now)
		}
		if now >= sweepAt {
			l.sweep(ctx, now)
			sweepAt = now.plus(sweepEvery)
		}
		timer.Reset(now.until(min(next, sweepAt)))
	}
}

// refreshWithin refreshes, and gives up in time for another try before leases end.
func (l *Limits) refreshWithin(ctx context.Context, list []*key) error {
	// What was begun is brought to its end, so that a stop does not leave open what was committed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Lease/3)
	defer cancel()
	return l.refresh(ctx, list)
}

// stop gives back all slots.
func (l *Limits) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Lease)
	defer cancel()
	l.mu.Lock()
	l.stopped = true
	for k := range l.alive {
		k.tickAt = 0
	}
	l.mu.Unlock()
	for {
		list, _ := l.due(1)
		if len(list) == 0 {
			return nil
		}
		if err := l.refresh(ctx, list); err != nil {
			return fmt.Errorf("limits: slots could not be given back; they come back when their leases and periods are over: %w", err)
		}
	}
}

const sweepKeysSQL = `
	with quiet as (
		select org_id, name
		from limit_key
		where quiet_at < statement_timestamp()
		order by quiet_at
		limit 1000 -- sweepSize
		for update skip locked
	)
	delete from limit_key k
	using (select unnest(array_agg(org_id order by org_id, name)) as org_id, unnest(array_agg(name order by org_id, name)) as name from quiet) q
	where k.org_id = q.org_id and k.name = q.name`

// sweep removes from memory and from the database what nobody has used for minutes.
func (l *Limits) sweep(ctx context.Context, now moment) {
	l.mu.Lock()
	l.forget(now)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Lease/3)
	defer cancel()
	for range sweepsMax {
		gone, err := l.db.Pool().Exec(ctx, sweepKeysSQL)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("limits that are not used could not be removed", "error", err)
		}
		if err != nil || gone.RowsAffected() < sweepSize {
			return
		}
	}
}
