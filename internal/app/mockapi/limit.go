package mockapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of a limit.
const (
	countMax  = 10_000_000
	periodMax = 366 * 24 * time.Hour
	limitsMax = 20
)

// Limit is how many requests may come within a period; with Per, how many of each key.
type Limit struct {
	Count  int
	Period time.Duration
	Per    string // where a request's key is: "header:NAME", "query:NAME" or "path:N"; empty: one count for all requests
}

// ErrLimit is what ParseLimit wraps.
var ErrLimit = errors.New("malformed limit")

// ParseLimit reads "50/1s", "5000/24h" or "5000/d", and "header:X-Tenant=10/1s" for each value of a header.
func ParseLimit(text string) (Limit, error) {
	var l Limit
	rate := strings.TrimSpace(text)
	if per, rest, keyed := strings.Cut(rate, "="); keyed {
		l.Per, rate = strings.TrimSpace(per), strings.TrimSpace(rest)
	}
	count, period, found := strings.Cut(rate, "/")
	if !found {
		return Limit{}, fmt.Errorf("%w: %q: want count/period, as in 50/1s", ErrLimit, text)
	}
	var err error
	if l.Count, err = strconv.Atoi(strings.TrimSpace(count)); err != nil {
		return Limit{}, fmt.Errorf("%w: %q: the count must be a whole number", ErrLimit, text)
	}
	if l.Period, err = parsePeriod(strings.TrimSpace(period)); err != nil {
		return Limit{}, fmt.Errorf("%w: %q: the period must be a time such as 1s, 250ms, 24h or 1d", ErrLimit, text)
	}
	return l, l.check()
}

// ParseLimits reads several and reports everything that is wrong with any.
func ParseLimits(texts []string) ([]Limit, error) {
	var limits []Limit
	var problems []error
	for _, text := range texts {
		l, err := ParseLimit(text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		limits = append(limits, l)
	}
	return limits, errors.Join(problems...)
}

// parsePeriod is time.ParseDuration with days, and with a unit alone meaning one of it.
func parsePeriod(text string) (time.Duration, error) {
	if strings.Trim(text, "0123456789") == text {
		text = "1" + text
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.Atoi(days)
		if err != nil || n > 366 {
			return 0, fmt.Errorf("%q is no number of days", days)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(text)
}

func (l Limit) check() error {
	switch {
	case l.Count < 1 || l.Count > countMax:
		return fmt.Errorf("%w: %q: the count must be 1 to %d", ErrLimit, l, countMax)
	case l.Period < time.Millisecond || l.Period > periodMax:
		return fmt.Errorf("%w: %q: the period must be 1ms to %s", ErrLimit, l, periodMax)
	}
	if l.Per == "" {
		return nil
	}
	from, name, _ := strings.Cut(l.Per, ":")
	n, err := strconv.Atoi(name)
	if name == "" || !slices.Contains([]string{"header", "query", "path"}, from) || from == "path" && (err != nil || n < 1) {
		return fmt.Errorf("%w: %q: the key must be header:NAME, query:NAME or path:N", ErrLimit, l)
	}
	return nil
}

// key is what of a request a keyed limit counts by. A request without one counts by the empty key, like any other.
func (l Limit) key(r *http.Request) string {
	from, name, _ := strings.Cut(l.Per, ":")
	switch from {
	case "header":
		return r.Header.Get(name)
	case "query":
		return r.URL.Query().Get(name)
	case "path":
		n, _ := strconv.Atoi(name) // check has seen that it is a number
		if segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/"); n <= len(segments) {
			return segments[n-1]
		}
	}
	return ""
}

// String shows the limit so that ParseLimit reads it back.
func (l Limit) String() string {
	rate := strconv.Itoa(l.Count) + "/" + shortDuration(l.Period)
	if l.Per != "" {
		return l.Per + "=" + rate
	}
	return rate
}

// shortDuration is a duration without the zeros that Duration.String ends in.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText shows the limit as String does.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what ParseLimit reads.
func (l *Limit) UnmarshalText(text []byte) error {
	read, err := ParseLimit(string(text))
	*l = read
	return err
}

// Algorithm is how requests are counted against a limit.
type Algorithm string

// The algorithms. The first is the strictest: no span of time as long as the period ever has more than the count.
const (
	SlidingWindow Algorithm = "sliding_window" // an exact log of the last requests
	FixedWindow   Algorithm = "fixed_window"   // windows side by side: twice the count fits around an edge
	TokenBucket   Algorithm = "token_bucket"   // the count at once, then evenly: nearly twice the count fits into the first period
)

// Limits are all that a request has to pass. The zero value has none.
type Limits struct {
	Limits        []Limit   `json:"limits"`
	Algorithm     Algorithm `json:"algorithm"`      // empty means SlidingWindow
	CountRefused  bool      `json:"count_refused"`  // refused requests count as well, so that hammering never ends well
	MaxConcurrent int       `json:"max_concurrent"` // requests under way at once; 0: any number
	CrowdedStatus int       `json:"crowded_status"` // 429 or 503 for a request over MaxConcurrent; 0 means 429
}

func (l Limits) withDefaults() Limits {
	if l.Algorithm == "" {
		l.Algorithm = SlidingWindow
	}
	if l.CrowdedStatus == 0 {
		l.CrowdedStatus = http.StatusTooManyRequests
	}
	if l.Limits == nil {
		l.Limits = []Limit{}
	}
	return l
}

// check reports everything that is wrong.
func (l Limits) check() error {
	l = l.withDefaults()
	var problems []error
	for _, limit := range l.Limits {
		if err := limit.check(); err != nil {
			problems = append(problems, err)
		}
		if l.Algorithm == TokenBucket && limit.Period > 0 && int64(limit.Count) > math.MaxInt64/2/int64(limit.Period) {
			problems = append(problems, fmt.Errorf("%w: %q is too much for a token bucket", ErrLimit, limit))
		}
	}
	if len(l.Limits) > limitsMax {
		problems = append(problems, fmt.Errorf("%w: %d limits; %d are the most", ErrLimit, len(l.Limits), limitsMax))
	}
	if !slices.Contains([]Algorithm{SlidingWindow, FixedWindow, TokenBucket}, l.Algorithm) {
		problems = append(problems, fmt.Errorf("%w: no algorithm %q; want sliding_window, fixed_window or token_bucket", ErrLimit, l.Algorithm))
	}
	if l.MaxConcurrent < 0 {
		problems = append(problems, fmt.Errorf("%w: at most %d requests at once is too few", ErrLimit, l.MaxConcurrent))
	}
	if l.CrowdedStatus != http.StatusTooManyRequests && l.CrowdedStatus != http.StatusServiceUnavailable {
		problems = append(problems, fmt.Errorf("%w: too many requests at once are answered 429 or 503, not %d", ErrLimit, l.CrowdedStatus))
	}
	return errors.Join(problems...)
}
