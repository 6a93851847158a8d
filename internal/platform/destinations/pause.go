package destinations

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// pauseReasonMax bounds what a person may say about a pause.
const pauseReasonMax = 500

// Pause sends nothing more to a destination until it is resumed, or until a time. Requests under way end as they would
// have. Pausing again replaces the pause.
func (d *Destinations) Pause(ctx context.Context, tx postgres.Tx, orgID ids.ID, name string, until time.Time, reason string) (Destination, error) {
	found, now, err := d.lock(ctx, tx, orgID, name)
	if err != nil {
		return Destination{}, err
	}
	var p problems
	if !until.IsZero() && !until.After(now) {
		p.add("paused_until", "It must be in the future.")
	}
	if len(reason) > pauseReasonMax {
		p.add("reason", "It has at most %d characters.", pauseReasonMax)
	}
	if err := p.fault(); err != nil {
		return Destination{}, err
	}
	return d.order(ctx, tx, found, now, func(s *State) {
		s.Pause = Pause{Active: true, Until: until.UTC(), Reason: reason}
	})
}

// Resume lifts a pause, a hold for the credentials' sake, and an open breaker. What the other side has asked for by
// Retry-After is lifted only when that is said.
func (d *Destinations) Resume(ctx context.Context, tx postgres.Tx, orgID ids.ID, name string, despiteRetryAfter bool) (Destination, error) {
	found, now, err := d.lock(ctx, tx, orgID, name)
	if err != nil {
		return Destination{}, err
	}
	if despiteRetryAfter {
		if err := releaseKeys(ctx, tx, found.OrgID, found.ID); err != nil {
			return Destination{}, err
		}
	}
	return d.order(ctx, tx, found, now, func(s *State) {
		s.Pause, s.Auth, s.Breaker = Pause{}, AuthHold{}, s.Breaker.Reset(now)
		if despiteRetryAfter {
			s.LimitedUntil = time.Time{}
		}
	})
}

// order carries out what a person wants of a destination's state.
func (d *Destinations) order(ctx context.Context, tx postgres.Tx, found Destination, now time.Time, do func(*State)) (Destination, error) {
	before := found
	do(&found.State)
	if !found.State.changed(before.State) {
		return found, nil
	}
	found.State.Revision++
	var b pgx.Batch
	queueStates(&b, []Destination{found})
	if err := d.announce(&b, []change{{before, found}}, now); err != nil {
		return Destination{}, err
	}
	return found, write(ctx, tx, &b, "change what holds a destination")
}
