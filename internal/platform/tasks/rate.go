package tasks

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Rate is how many in a second, in thousandths: 500 is one in two seconds. It is a whole number, so that what is stored, shown
// and kept is the same to the last digit.
type Rate int64

// onePerSecond is the unit in which people write rates.
const onePerSecond Rate = 1000

// RateOf reads a number of at most three decimals.
func RateOf(perSecond float64) Rate { return Rate(math.Round(perSecond * float64(onePerSecond))) }

// String writes the rate as the decimal that it is.
func (r Rate) String() string {
	whole, rest := strconv.FormatInt(int64(r/onePerSecond), 10), int64(r%onePerSecond)
	if rest == 0 {
		return whole
	}
	return whole + "." + strings.TrimRight(strconv.FormatInt(int64(onePerSecond)+rest, 10)[1:], "0")
}

// MarshalJSON implements json.Marshaler: a number.
func (r Rate) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

// part is one of n parts of what comes in a second, rounded up to a whole one.
func (r Rate) part(n Rate) int { return int((r + n*onePerSecond - 1) / (n * onePerSecond)) }

// within is the time in which the pace of the rate allows n, and no shorter: limits count in microseconds.
func (r Rate) within(n int) time.Duration {
	const scale = Rate(time.Second/time.Microsecond) * onePerSecond
	return time.Duration((Rate(n)*scale+r-1)/r) * time.Microsecond
}

// windows allow the rate: so many in any stretch of the fewest seconds that make them whole (2.5 is five in any two), and
// no more than burst at once, nor than come in a second.
func (r Rate) windows(burst int) []limits.Window {
	n, seconds := r, onePerSecond
	for n%2 == 0 && seconds%2 == 0 {
		n, seconds = n/2, seconds/2
	}
	for n%5 == 0 && seconds%5 == 0 {
		n, seconds = n/5, seconds/5
	}
	windows := []limits.Window{{Limit: int64(n), Period: time.Duration(seconds) * time.Second}}
	if burst = min(burst, r.part(1)); int64(burst) < int64(n) {
		windows = append(windows, limits.Window{Limit: int64(burst), Period: r.within(burst)})
	}
	return windows
}
