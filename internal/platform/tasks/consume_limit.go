package tasks

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// ConsumeLimit takes units of a limit for a call that is made elsewhere: of a queue's (queue/emails), of a destination's
// (destination/stripe), or of one of its limit keys (destination/stripe/tenant-7). When it is not granted, retry is when to ask again.
// Commit in either case.
func (t *Tasks) ConsumeLimit(ctx context.Context, tx postgres.Tx, org ids.ID, name string, units int64) (granted bool, retry time.Duration, err error) {
	if err := t.defineLimit(ctx, tx, org, name); err != nil {
		return false, 0, err
	}
	granted, retry, err = t.limits.Consume(ctx, tx, limits.Key{OrgID: org, Name: name}, units)
	if errors.Is(err, limits.ErrUndefined) {
		return false, 0, ErrLimitNotFound
	}
	return granted, retry, err
}

// defineLimit makes sure that this node knows a limit as it is now.
func (t *Tasks) defineLimit(ctx context.Context, tx postgres.Tx, org ids.ID, name string) error {
	if queue, is := strings.CutPrefix(name, "queue/"); is {
		q, err := t.Queue(ctx, tx, org, queue)
		switch {
		case errors.Is(err, ErrQueueNotFound):
			return ErrLimitNotFound
		case err != nil:
			return err
		}
		t.limits.Define(limitKey(queueKey{org, queue}), q.Version, q.windows())
		return nil
	}
	rest, is := strings.CutPrefix(name, "destination/")
	if !is {
		return ErrLimitNotFound
	}
	destination, key, _ := strings.Cut(rest, "/")
	entries, err := t.destinations.Use(ctx, []destinations.Ref{{OrgID: org, Name: destination}})
	if err != nil {
		return err
	}
	if entries[0] == nil || entries[0].Gone() {
		return ErrLimitNotFound
	}
	for _, l := range entries[0].Limits(key) {
		if l.Key.Name == name {
			t.limits.Define(l.Key, l.Version, l.Windows)
			return nil
		}
	}
	return ErrLimitNotFound
}
