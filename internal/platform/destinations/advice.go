package destinations

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	retryAfterMax     = 24 * time.Hour // who asks for more gets this
	retryAfterDefault = time.Second    // after a 429 that does not say
)

// Advice is what an answer's header says about our rate.
type Advice struct {
	RetryAfter time.Duration // 0: nothing said
	Exhausted  bool          // nothing is left until Reset
	Reset      time.Duration // until there is more; 0: not said
	Quotas     []Quota       // that it says we have
}

// Quota is so many requests within any stretch of a time.
type Quota struct {
	Limit  int64
	Period time.Duration
}

const quotasMax = 8

// Wait is how long to stay away: the longest of what was said. It is never less than that, and at most a day.
func (a Advice) Wait() time.Duration {
	wait := a.RetryAfter
	if a.Exhausted || wait == 0 {
		wait = max(wait, a.Reset)
	}
	return min(wait, retryAfterMax)
}

// readAdvice reads Retry-After (RFC 9110), RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers, its
// present and its older forms) and what many APIs had before there was a draft: X-RateLimit-Remaining, X-RateLimit-Reset.
// Nothing malformed is an error: it says nothing.
func readAdvice(h http.Header, now time.Time) Advice {
	var a Advice
	for _, text := range h.Values("Retry-After") {
		a.RetryAfter = max(a.RetryAfter, retryAfter(text, now))
	}
	for _, text := range h.Values("RateLimit") {
		a.readRateLimit(text)
	}
	for _, text := range h.Values("RateLimit-Policy") {
		a.readPolicy(text)
	}
	for _, prefix := range []string{"RateLimit-", "X-RateLimit-", "X-Rate-Limit-"} {
		if left, ok := wholeNumber(h.Get(prefix + "Remaining")); ok && left == 0 {
			a.Exhausted = true
		}
		a.Reset = max(a.Reset, resetAfter(h.Get(prefix+"Reset"), now))
	}
	if a.Exhausted && a.Reset == 0 && a.RetryAfter == 0 {
		a.Exhausted = false // until when was not said
	}
	return a
}

// skewMax is how far another clock may be from ours and still be one.
const skewMax = 24 * time.Hour

// clockOf is what the clock of who answers says, by the answer's Date: times in its headers are of that clock. Without a
// Date, or with one that is far off, ours has to do.
func clockOf(h http.Header, ours time.Time) time.Time {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil || theirs.Sub(ours).Abs() > skewMax {
		return ours
	}
	return theirs
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return inSeconds(seconds)
	}
	if at, err := http.ParseTime(text); err == nil {
		return wholeSeconds(at.Sub(now))
	}
	return 0
}

// resetAfter reads what APIs put into their reset headers: seconds from now, or a moment in Unix seconds or
// milliseconds, or a date.
func resetAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	number, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(number):
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return wholeSeconds(at.Sub(now))
		}
		return retryAfter(text, now)
	case number >= 1e11:
		return wholeSeconds(time.UnixMilli(int64(min(number, 1e15))).Sub(now))
	case number >= 1e9:
		return wholeSeconds(time.UnixMilli(int64(number * 1000)).Sub(now))
	default:
		return inSeconds(number)
	}
}

// inSeconds rounds up to milliseconds, and cuts what is beyond any bound of ours.
func inSeconds(seconds float64) time.Duration {
	if math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(min(seconds, 1e9)*1000)) * time.Millisecond
}

// wholeSeconds is how far a moment lies ahead, rounded up: dates in headers are cut to seconds.
func wholeSeconds(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return min((d + time.Second - 1).Truncate(time.Second), 1e9*time.Second)
}

// readRateLimit reads `"default";r=50;t=30`, or the older `limit=100, remaining=50, reset=5`.
func (a *Advice) readRateLimit(text string) {
	for item := range strings.SplitSeq(text, ",") {
		left, reset := int64(-1), int64(0)
		for part := range strings.SplitSeq(item, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			number, ok := wholeNumber(value)
			switch {
			case !ok:
			case name == "r" || name == "remaining":
				left = number
			case name == "t" || name == "reset":
				reset = number
			}
		}
		a.Exhausted = a.Exhausted || left == 0
		if left <= 0 { // the reset of another policy, of which there is some left, is not waited for
			a.Reset = max(a.Reset, inSeconds(float64(reset)))
		}
	}
}

// readPolicy reads `"default";q=100;w=60, "day";q=5000;w=86400`.
func (a *Advice) readPolicy(text string) {
	for item := range strings.SplitSeq(text, ",") {
		var quota, window int64
		for part := range strings.SplitSeq(item, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			number, ok := wholeNumber(value)
			switch {
			case !ok:
			case name == "q":
				quota = number
			case name == "w":
				window = number
			}
		}
		if quota > 0 && window > 0 && len(a.Quotas) < quotasMax {
			a.Quotas = append(a.Quotas, Quota{quota, inSeconds(float64(window))})
		}
	}
}

func wholeNumber(text string) (int64, bool) {
	number, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return number, err == nil && number >= 0
}
