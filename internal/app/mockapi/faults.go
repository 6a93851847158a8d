package mockapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// The faults that a profile gives a share of the requests to. Besides there is error_NNN, for any status from 400 to 599:
// that answer, without an effect.
const (
	faultRateLimited     = "rate_limited"     // 429 within the limits, without an effect
	faultErrorAfter      = "error_after"      // 500 with the effect made
	faultDropBefore      = "drop_before"      // the connection is reset without an effect
	faultDropAfter       = "drop_after"       // the connection is reset with the effect made
	faultHangBefore      = "hang_before"      // no answer, without an effect
	faultHangAfter       = "hang_after"       // no answer, with the effect made
	faultLateEffect      = "late_effect"      // the effect is made late, also when the client has gone away meanwhile
	faultDuplicateEffect = "duplicate_effect" // the effect is made although the idempotency key was seen before
	faultErrorPrefix     = "error_"
)

// The defaults of a profile's times.
const (
	lateForDefault    = 500 * time.Millisecond
	hangForDefault    = 30 * time.Second
	retryAfterDefault = time.Second
)

// Faults is a fault profile. A request suffers at most one fault, so the shares must not exceed 1 in sum. The zero value
// has none.
type Faults struct {
	Seed       int64
	Latency    Latency            // of every answer
	LateFor    time.Duration      // how late a late effect is; 0 means 500ms
	HangFor    time.Duration      // the longest a client is kept hanging; 0 means 30s
	RetryAfter time.Duration      // what a fault of 429 or 503 says; 0 means 1s
	Shares     map[string]float64 // of requests, 0 to 1, by fault
}

// ErrFaults is what ParseFaults wraps.
var ErrFaults = badserver.ErrProfile

// ParseFaults reads "none", "light" or "heavy", or details, or a profile and then details that add to it or change it, as
// in "light,seed=7,error_503=5%,latency=5ms..50ms". The empty string is "none". All mistakes are reported at once.
func ParseFaults(text string) (Faults, error) {
	return badserver.Read(text, profile, (*Faults).set, (*Faults).check)
}

// profile gives the named profiles.
func profile(name string) (Faults, bool) {
	switch name {
	case "", "none":
		return Faults{}, true
	case "light":
		return Faults{
			Latency: Latency{Low: time.Millisecond, High: 10 * time.Millisecond},
			Shares: map[string]float64{
				"error_500": 0.005, "error_503": 0.005, faultErrorAfter: 0.005,
				faultDropBefore: 0.005, faultDropAfter: 0.005, faultHangAfter: 0.001,
			},
		}, true
	case "heavy":
		return Faults{
			Latency: Latency{Low: 10 * time.Millisecond, High: 200 * time.Millisecond, Skewed: true},
			Shares: map[string]float64{
				"error_500": 0.02, "error_502": 0.01, "error_503": 0.02, faultRateLimited: 0.02, faultErrorAfter: 0.02,
				faultDropBefore: 0.02, faultDropAfter: 0.02, faultHangBefore: 0.003, faultHangAfter: 0.003, faultLateEffect: 0.01,
			},
		}, true
	}
	return Faults{}, false
}

// faultNames are the faults but for error_NNN, in the order in which they share the line from 0 to 1.
func faultNames() []string {
	return []string{
		faultRateLimited, faultErrorAfter, faultDropBefore, faultDropAfter, faultHangBefore, faultHangAfter, faultLateEffect,
		faultDuplicateEffect,
	}
}

// statusOf is the NNN of error_NNN.
func statusOf(fault string) (int, bool) {
	text, found := strings.CutPrefix(fault, faultErrorPrefix)
	status, err := strconv.Atoi(text)
	return status, found && err == nil && status >= 400 && status <= 599
}

func (f *Faults) set(name, value string) error {
	var err error
	switch name {
	case "seed":
		f.Seed, err = strconv.ParseInt(value, 10, 64)
	case "latency":
		f.Latency, err = parseLatency(value)
	case "late_for":
		f.LateFor, err = time.ParseDuration(value)
	case "hang_for":
		f.HangFor, err = time.ParseDuration(value)
	case "retry_after":
		f.RetryAfter, err = time.ParseDuration(value)
	default:
		if _, ok := statusOf(name); !ok && !slices.Contains(faultNames(), name) {
			return fmt.Errorf("%w: no fault %q; want error_NNN (400 to 599), %s, or the settings seed, latency, late_for, hang_for, retry_after",
				ErrFaults, name, strings.Join(faultNames(), ", "))
		}
		var share float64
		if share, err = parseShare(value); err == nil {
			f.Shares = maps.Clone(f.Shares)
			if f.Shares == nil {
				f.Shares = map[string]float64{}
			}
			f.Shares[name] = share
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %s=%s: %w", ErrFaults, name, value, err)
	}
	return nil
}

// parseShare reads "1%" or "0.01".
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, errors.New("a share is 0 to 1, or 0% to 100%")
	}
	return share, nil
}

func (f *Faults) check() error {
	var problems []error
	sum := 0.0
	for _, name := range f.names() {
		share := f.Shares[name]
		if _, ok := statusOf(name); !ok && !slices.Contains(faultNames(), name) {
			problems = append(problems, fmt.Errorf("%w: no fault %q", ErrFaults, name))
		}
		if !(share >= 0 && share <= 1) {
			problems = append(problems, fmt.Errorf("%w: the share of %s must be 0 to 1", ErrFaults, name))
		}
		sum += share
	}
	if sum > 1.000001 {
		problems = append(problems, fmt.Errorf("%w: the shares exceed 100 %% in sum: a request suffers one fault at most", ErrFaults))
	}
	if f.Latency.Low < 0 || f.Latency.High < f.Latency.Low {
		problems = append(problems, fmt.Errorf("%w: the latency must rise from 0 or more", ErrFaults))
	}
	if f.LateFor < 0 || f.HangFor < 0 || f.RetryAfter < 0 {
		problems = append(problems, fmt.Errorf("%w: no time may be negative", ErrFaults))
	}
	return errors.Join(problems...)
}

// names are the faults of the profile in an order that does not change.
func (f *Faults) names() []string { return slices.Sorted(maps.Keys(f.Shares)) }

func (f Faults) withDefaults() Faults {
	if f.LateFor == 0 {
		f.LateFor = lateForDefault
	}
	if f.HangFor == 0 {
		f.HangFor = hangForDefault
	}
	if f.RetryAfter == 0 {
		f.RetryAfter = retryAfterDefault
	}
	return f
}

// String shows the profile so that ParseFaults reads it back.
func (f Faults) String() string {
	out := []string{"none"}
	for _, set := range f.settings() {
		out = append(out, set.name+"="+set.value)
	}
	return strings.Join(out, ",")
}

type faultSetting struct{ name, value string }

// settings are what differs from no faults.
func (f Faults) settings() []faultSetting {
	var out []faultSetting
	if f.Seed != 0 {
		out = append(out, faultSetting{"seed", strconv.FormatInt(f.Seed, 10)})
	}
	if f.Latency != (Latency{}) {
		out = append(out, faultSetting{"latency", f.Latency.String()})
	}
	for _, t := range []struct {
		name string
		time time.Duration
	}{{"late_for", f.LateFor}, {"hang_for", f.HangFor}, {"retry_after", f.RetryAfter}} {
		if t.time != 0 {
			out = append(out, faultSetting{t.name, shortDuration(t.time)})
		}
	}
	for _, name := range f.names() {
		out = append(out, faultSetting{name, strconv.FormatFloat(f.Shares[name], 'g', -1, 64)})
	}
	return out
}

// MarshalJSON shows the profile as an object of strings.
func (f Faults) MarshalJSON() ([]byte, error) {
	shown := map[string]string{}
	for _, set := range f.settings() {
		shown[set.name] = set.value
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
