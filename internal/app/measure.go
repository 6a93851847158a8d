package app

import (
	"context"
	"errors"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

const (
	// measureEvery is between two looks at what only the database knows. A look is a statement or two over a bounded number of rows.
	measureEvery = 15 * time.Second
	// measureRest is for how many times its own length a look is followed by none: under a long transaction, the rows that it passes
	// over are many.
	measureRest = 20
)

// measuring looks at everything, one after the other. What cannot be measured does not keep the rest from it.
func measuring(now clock.Clock, looks ...func(ctx context.Context) error) func(ctx context.Context) error {
	rested := make([]time.Time, len(looks))
	return func(ctx context.Context) error {
		var failed []error
		for i, look := range looks {
			began := now()
			if began.Before(rested[i]) {
				continue
			}
			failed = append(failed, look(ctx))
			ended := now()
			rested[i] = ended.Add(measureRest * ended.Sub(began))
		}
		return errors.Join(failed...)
	}
}
