package app

import (
	"context"
	"errors"
	"time"
)

// measureEvery is between two looks at what only the database knows. A look is a handful of statements, each of a bounded cost.
const measureEvery = 15 * time.Second

// measuring looks at everything, one after the other. What cannot be measured does not keep the rest from it.
func measuring(looks ...func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var failed []error
		for _, look := range looks {
			failed = append(failed, look(ctx))
		}
		return errors.Join(failed...)
	}
}
