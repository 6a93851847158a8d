// stands in internal/commerce/fixture

// Package fixture throws dice.
package fixture

import (
	"crypto/rand"
	dice "math/rand/v2" // want: math/rand
)

func throw() (int, string) { return dice.IntN(6), rand.Text() }
