// stands in internal/commerce/fixture

// Package fixture reckons with fractions.
package fixture

import "time"

type price struct {
	amount int64
	rate   float64 // want: a fraction
}

func fraction(p price, d time.Duration) int64 {
	share := 0.5    // want: a fraction
	_ = share       // want: a fraction
	_ = d.Seconds() // want: a fraction
	return p.amount / 2
}
