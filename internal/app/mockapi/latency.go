package mockapi

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// Latency is how long answers take: evenly spread from Low to High; or, Skewed, with a long tail as real APIs have: half of
// the answers within Low, 99 of 100 within High, a few far above.
type Latency struct {
	Low, High time.Duration
	Skewed    bool
}

// tailMax is how far above High the longest answer of a skewed latency may be.
const tailMax = 10

// parseLatency reads "20ms", "5ms..50ms" (evenly spread) or "20ms~200ms" (half within the first, 99 of 100 within the
// second).
func parseLatency(text string) (Latency, error) {
	var l Latency
	low, high, spread := strings.Cut(text, "..")
	if !spread {
		low, high, l.Skewed = strings.Cut(text, "~")
	}
	if !spread && !l.Skewed {
		high = low
	}
	var err, errHigh error
	l.Low, err = time.ParseDuration(strings.TrimSpace(low))
	l.High, errHigh = time.ParseDuration(strings.TrimSpace(high))
	if err != nil || errHigh != nil || l.Low < 0 || l.High < l.Low || l.Skewed && l.Low == 0 {
		return Latency{}, errors.New("want 20ms, 5ms..50ms (evenly spread), or 20ms~200ms (half within 20ms, 99 of 100 within 200ms)")
	}
	return l, nil
}

// String shows the latency so that parseLatency reads it back.
func (l Latency) String() string {
	switch {
	case l.Skewed:
		return shortDuration(l.Low) + "~" + shortDuration(l.High)
	case l.Low == l.High:
		return shortDuration(l.Low)
	default:
		return shortDuration(l.Low) + ".." + shortDuration(l.High)
	}
}

// of draws one latency.
func (l Latency) of(c *badserver.Chance) time.Duration {
	if l.High == 0 {
		return 0
	}
	if !l.Skewed {
		return l.Low + time.Duration(c.Share()*float64(l.High-l.Low))
	}
	// Log-normal: 2.326 standard deviations above the median is where 1 of 100 lies beyond.
	deviation := math.Log(float64(l.High)/float64(l.Low)) / 2.326
	normal := math.Sqrt(-2*math.Log(1-c.Share())) * math.Cos(2*math.Pi*c.Share())
	return min(tailMax*l.High, time.Duration(float64(l.Low)*math.Exp(deviation*normal)))
}
