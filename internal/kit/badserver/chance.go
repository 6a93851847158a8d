package badserver

import (
	"math"
	"time"
)

// Chance is a small stream of numbers that depends only on what it was drawn from, so that a seed reproduces a run.
type Chance uint64

// Draw makes the chance of one request: the seed, who it is from, and a number that tells apart the requests of that one, such
// as how often it has come.
func Draw(seed int64, identity string, nth uint64) Chance {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(identity) {
		h = (h ^ uint64(identity[i])) * 1099511628211
	}
	c := Chance(h)
	c = Chance(c.Next()) ^ Chance(seed)
	c = Chance(c.Next()) ^ Chance(nth)
	return Chance(c.Next())
}

// Next is splitmix64.
func (c *Chance) Next() uint64 {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Share is evenly spread over [0, 1).
func (c *Chance) Share() float64 { return float64(c.Next()>>11) / (1 << 53) }

// UpTo is evenly spread over [0, most].
func (c *Chance) UpTo(most time.Duration) time.Duration {
	if most <= 0 || most == math.MaxInt64 {
		return 0
	}
	return time.Duration(c.Next() % uint64(most+1))
}
