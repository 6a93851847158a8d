// Package money is amounts as integers of minor units, with the arithmetic that says so when it overflows.
package money

import (
	"errors"
	"math"
)

// ErrOverflow is returned instead of a wrapped-around sum.
var ErrOverflow = errors.New("amount out of range")

// Add adds two amounts of minor units.
func Add(a, b int64) (int64, error) {
	if (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b) {
		return 0, ErrOverflow
	}
	return a + b, nil
}
