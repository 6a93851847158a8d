package sandbox

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// SettleWithinDefault is the bound of the package's guarantee unless a profile says otherwise.
const SettleWithinDefault = 2 * time.Second

// Faults is a fault profile. Shares are fractions of requests or webhooks, 0 to 1; a request suffers at most one of
// the seven kinds from RateLimited to HangAfter, so their sum must not exceed 1. The zero value has no faults.
type Faults struct {
	Seed                  int64
	LatencyMin            time.Duration // of every request, evenly spread up to LatencyMax
	LatencyMax            time.Duration
	Slow                  float64 // takes SlowFor longer, before the effect where SettleWithin allows
	SlowFor               time.Duration
	RateLimited           float64 // 429 with Retry-After: 1
	ErrorBefore           float64 // 500 without the effect
	ErrorAfter            float64 // 500 with the effect made
	ResetBefore           float64 // the connection is reset without the effect
	ResetAfter            float64 // the connection is reset with the effect made
	HangBefore            float64 // no answer until the client leaves or 30 s pass, without the effect
	HangAfter             float64 // no answer until the client leaves or 30 s pass, with the effect made
	WebhookTwice          float64
	WebhookLate           float64
	WebhookLateFor        time.Duration // the most a late webhook, or a second copy, is delayed
	WebhookShuffle        bool          // webhooks overtake each other
	IgnoreIdempotencyKeys bool          // a repeated request has its effect again
	SettleWithin          time.Duration // 0 means SettleWithinDefault
}

// ErrFaults is what ParseFaults wraps.
var ErrFaults = badserver.ErrProfile

// ParseFaults reads "none", "light" or "heavy", or key=value for any field in snake case, or a profile and then such details, as in
// "light,seed=7,hang_after=0.1,slow_for=1s". The empty string is "none". All mistakes are reported at once.
func ParseFaults(text string) (Faults, error) {
	return badserver.Read(text, profile, (*Faults).set, (*Faults).validate)
}

// profile gives the named profiles.
func profile(name string) (Faults, bool) {
	switch name {
	case "", "none":
		return Faults{}, true
	case "light":
		return Faults{
			LatencyMin: time.Millisecond, LatencyMax: 5 * time.Millisecond,
			Slow: 0.005, SlowFor: 200 * time.Millisecond,
			RateLimited: 0.005, ErrorBefore: 0.005, ErrorAfter: 0.005, ResetBefore: 0.005, ResetAfter: 0.005,
			HangAfter: 0.001, WebhookTwice: 0.05, WebhookLate: 0.05, WebhookLateFor: time.Second,
		}, true
	case "heavy":
		return Faults{
			LatencyMin: time.Millisecond, LatencyMax: 20 * time.Millisecond,
			Slow: 0.02, SlowFor: 300 * time.Millisecond,
			RateLimited: 0.02, ErrorBefore: 0.02, ErrorAfter: 0.02, ResetBefore: 0.02, ResetAfter: 0.02,
			HangBefore: 0.005, HangAfter: 0.005,
			WebhookTwice: 0.2, WebhookLate: 0.2, WebhookLateFor: 2 * time.Second, WebhookShuffle: true,
		}, true
	}
	return Faults{}, false
}

// field is one setting by its name in text and JSON; at points into a Faults.
type field struct {
	name string
	at   any
}

func (f *Faults) fields() []field {
	return []field{
		{"seed", &f.Seed},
		{"latency_min", &f.LatencyMin},
		{"latency_max", &f.LatencyMax},
		{"slow", &f.Slow},
		{"slow_for", &f.SlowFor},
		{"rate_limited", &f.RateLimited},
		{"error_before", &f.ErrorBefore},
		{"error_after", &f.ErrorAfter},
		{"reset_before", &f.ResetBefore},
		{"reset_after", &f.ResetAfter},
		{"hang_before", &f.HangBefore},
		{"hang_after", &f.HangAfter},
		{"webhook_twice", &f.WebhookTwice},
		{"webhook_late", &f.WebhookLate},
		{"webhook_late_for", &f.WebhookLateFor},
		{"webhook_shuffle", &f.WebhookShuffle},
		{"ignore_idempotency_keys", &f.IgnoreIdempotencyKeys},
		{"settle_within", &f.SettleWithin},
	}
}

func (f *Faults) set(name, value string) error {
	for _, field := range f.fields() {
		if field.name != name {
			continue
		}
		var err error
		switch at := field.at.(type) {
		case *int64:
			*at, err = strconv.ParseInt(value, 10, 64)
		case *float64:
			*at, err = strconv.ParseFloat(value, 64)
		case *time.Duration:
			*at, err = time.ParseDuration(value)
		case *bool:
			*at, err = strconv.ParseBool(value)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFaults, name, err)
		}
		return nil
	}
	return fmt.Errorf("%w: no setting %q", ErrFaults, name)
}

func (f *Faults) validate() error {
	for _, field := range f.fields() {
		switch at := field.at.(type) {
		case *float64:
			if !(*at >= 0 && *at <= 1) {
				return fmt.Errorf("%w: %s must be 0 to 1", ErrFaults, field.name)
			}
		case *time.Duration:
			if *at < 0 {
				return fmt.Errorf("%w: %s must not be negative", ErrFaults, field.name)
			}
		}
	}
	if f.LatencyMax < f.LatencyMin {
		return fmt.Errorf("%w: latency_max is below latency_min", ErrFaults)
	}
	if f.exclusive() > 1.000001 {
		return fmt.Errorf("%w: the shares from rate_limited to hang_after exceed 1", ErrFaults)
	}
	return nil
}

func (f *Faults) exclusive() float64 {
	return f.RateLimited + f.ErrorBefore + f.ErrorAfter + f.ResetBefore + f.ResetAfter + f.HangBefore + f.HangAfter
}

func (f Faults) withDefaults() Faults {
	if f.SettleWithin == 0 {
		f.SettleWithin = SettleWithinDefault
	}
	if f.SlowFor == 0 {
		f.SlowFor = 300 * time.Millisecond
	}
	if f.WebhookLateFor == 0 {
		f.WebhookLateFor = 2 * time.Second
	}
	return f
}

// String shows the profile so that ParseFaults reads it back.
func (f Faults) String() string {
	out := "none"
	for _, field := range f.fields() {
		switch at := field.at.(type) {
		case *int64:
			if *at != 0 {
				out += fmt.Sprintf(",%s=%d", field.name, *at)
			}
		case *float64:
			if *at != 0 {
				out += fmt.Sprintf(",%s=%g", field.name, *at)
			}
		case *time.Duration:
			if *at != 0 {
				out += fmt.Sprintf(",%s=%s", field.name, *at)
			}
		case *bool:
			if *at {
				out += fmt.Sprintf(",%s=true", field.name)
			}
		}
	}
	return out
}

// MarshalJSON shows every setting by its name in snake case, durations as "1.5s".
func (f Faults) MarshalJSON() ([]byte, error) {
	shown := map[string]any{}
	for _, field := range f.fields() {
		shown[field.name] = field.at
		if at, ok := field.at.(*time.Duration); ok {
			shown[field.name] = at.String()
		}
	}
	return json.Marshal(shown)
}

// UnmarshalJSON reads what ParseFaults reads, as a string, or an object of settings; its "profile" is where they start.
func (f *Faults) UnmarshalJSON(data []byte) error {
	text, err := badserver.Text(data)
	if err != nil {
		return err
	}
	*f, err = ParseFaults(text)
	return err
}
