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

// Scale is how many decimal places an ISO 4217 currency's minor unit has. False for a code Kontor does not know.
func Scale(currency string) (int16, bool) {
	if len(currency) != 3 {
		return 0, false
	}
	for _, c := range currency {
		if c < 'A' || c > 'Z' {
			return 0, false
		}
	}
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0, true
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3, true
	case "CLF", "UYW":
		return 4, true
	default:
		return 2, true
	}
}
