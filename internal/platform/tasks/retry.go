package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// RetryConfig says how often and when a task is tried again: the retry_config of a queue or of a task. Pure: it knows no
// clock and throws no dice. The first limit that is reached ends a task; Cloud Tasks, whose names these are, waits for both.
type RetryConfig struct {
	Preset           string          // the name of what it was made from; for people
	MaxAttempts      int             // the first included; -1: no bound
	MinBackoff       time.Duration   // the first pause
	MaxBackoff       time.Duration   // the longest pause, before jitter
	MaxRetryDuration time.Duration   // from the first attempt to the last; 0: no bound
	MaxDoublings     int             // how often the pause doubles, before it grows by always the same
	Jitter           float64         // the share of a pause by which it varies either way
	Schedule         []time.Duration // pauses in their order, in place of all backoffs; the last one goes on
}

// DefaultRetry has 20 attempts within some 47 hours.
func DefaultRetry() RetryConfig {
	return RetryConfig{
		MaxAttempts: 20, MinBackoff: 5 * time.Second, MaxBackoff: 6 * time.Hour, MaxRetryDuration: 72 * time.Hour, MaxDoublings: 13, Jitter: 0.2,
	}
}

// RetryPresets are the names that RetryPreset knows.
func RetryPresets() []string { return []string{"cloud_tasks", "river", "standard_webhooks", "svix"} }

// RetryPreset is the way in which another system tries again.
func RetryPreset(name string) (RetryConfig, bool) {
	const second, minute, hour = time.Second, time.Minute, time.Hour
	switch name {
	case "cloud_tasks": // the defaults of its queues
		return RetryConfig{
			Preset: name, MaxAttempts: 100, MinBackoff: 100 * time.Millisecond, MaxBackoff: hour, MaxDoublings: 16,
		}, true
	case "river": // the fourth power of the number of failures, in seconds
		pauses := make([]time.Duration, 24)
		for i := range pauses {
			n := time.Duration(i + 1)
			pauses[i] = n * n * n * n * second
		}
		return scheduled(name, 0.1, pauses...), true
	case "standard_webhooks":
		return scheduled(name, 0.2, 5*second, 5*minute, 30*minute, 2*hour, 5*hour, 10*hour, 14*hour, 20*hour, 24*hour), true
	case "svix":
		return scheduled(name, 0.2, 5*second, 5*minute, 30*minute, 2*hour, 5*hour, 10*hour, 10*hour), true
	}
	return RetryConfig{}, false
}

// scheduled tries once after each of the pauses.
func scheduled(preset string, jitter float64, pauses ...time.Duration) RetryConfig {
	c := DefaultRetry()
	c.Preset, c.Jitter, c.Schedule, c.MaxAttempts, c.MaxRetryDuration = preset, jitter, pauses, len(pauses)+1, 0
	return c
}

// Next is how long to wait after that many attempts, all failed, or which limit has been reached: one of DeadMaxAttempts and
// DeadMaxRetryDuration. What would begin after the longest duration is not waited for. chance is from [0, 1) and spreads
// tasks that failed together.
func (c *RetryConfig) Next(attempts int, sinceFirst time.Duration, chance float64) (pause time.Duration, exhausted string) {
	if c.MaxAttempts >= 0 && attempts >= c.MaxAttempts {
		return 0, DeadMaxAttempts
	}
	pause = c.backoff(max(attempts, 1) - 1)
	pause += time.Duration(float64(pause) * c.Jitter * (2*chance - 1))
	if c.MaxRetryDuration > 0 && pause > c.MaxRetryDuration-sinceFirst {
		return 0, DeadMaxRetryDuration
	}
	return pause, ""
}

// backoff is the pause before retry k, from 0, without jitter.
func (c *RetryConfig) backoff(k int) time.Duration {
	if n := len(c.Schedule); n > 0 {
		return c.Schedule[min(k, n-1)]
	}
	step := c.MinBackoff
	for range min(k, c.MaxDoublings) {
		if step > c.MaxBackoff/2 {
			return c.MaxBackoff
		}
		step *= 2
	}
	if linear := time.Duration(k - c.MaxDoublings); linear > 0 {
		if step > c.MaxBackoff/(linear+1) {
			return c.MaxBackoff
		}
		step *= linear + 1
	}
	return min(step, c.MaxBackoff)
}

// The bounds of a retry configuration.
const (
	retryAttemptsMax  = 10_000
	retryBackoffMax   = 31 * 24 * time.Hour
	retryDurationMax  = 366 * 24 * time.Hour
	retryDoublingsMax = 64
	retryScheduleMax  = 100
)

// Validate lists everything that is wrong.
func (c *RetryConfig) Validate() []fault.Problem {
	var p []fault.Problem
	require := func(holds bool, param, detail string) {
		if !holds {
			p = append(p, fault.Problem{Param: param, Detail: detail})
		}
	}
	within := func(d, most time.Duration) bool { return d >= 0 && d <= most }
	require(c.MaxAttempts == -1 || c.MaxAttempts >= 1 && c.MaxAttempts <= retryAttemptsMax, "max_attempts",
		"max_attempts is from 1 to 10000, or -1 for no bound.")
	require(within(c.MinBackoff, retryBackoffMax), "min_backoff_seconds", "min_backoff_seconds is from 0 to 31 days.")
	require(within(c.MaxBackoff, retryBackoffMax) && c.MaxBackoff > 0, "max_backoff_seconds", "max_backoff_seconds is above 0, and 31 days at most.")
	require(c.MinBackoff <= c.MaxBackoff, "max_backoff_seconds", "max_backoff_seconds is not below min_backoff_seconds.")
	require(within(c.MaxRetryDuration, retryDurationMax), "max_retry_duration_seconds",
		"max_retry_duration_seconds is from 0, for no bound, to 366 days.")
	require(c.MaxDoublings >= 0 && c.MaxDoublings <= retryDoublingsMax, "max_doublings", "max_doublings is from 0 to 64.")
	require(c.Jitter >= 0 && c.Jitter <= 1, "jitter", "jitter is from 0 to 1.")
	require(len(c.Schedule) <= retryScheduleMax, "schedule_seconds", "schedule_seconds has 100 pauses at most.")
	for i, d := range c.Schedule {
		require(within(d, retryBackoffMax), fmt.Sprintf("schedule_seconds/%d", i), "A pause is from 0 to 31 days.")
	}
	return p
}

// retryDocument is the JSON form; what is not there is as the preset, or the default, has it.
type retryDocument struct {
	Preset                  string    `json:"preset,omitempty"`
	MaxAttempts             *int      `json:"max_attempts,omitempty"`
	MinBackoffSeconds       *float64  `json:"min_backoff_seconds,omitempty"`
	MaxBackoffSeconds       *float64  `json:"max_backoff_seconds,omitempty"`
	MaxDoublings            *int      `json:"max_doublings,omitempty"`
	MaxRetryDurationSeconds *float64  `json:"max_retry_duration_seconds,omitempty"`
	Jitter                  *float64  `json:"jitter,omitempty"`
	ScheduleSeconds         []float64 `json:"schedule_seconds,omitempty"`
}

// MarshalJSON writes the whole configuration, so that it stays what it is when a default or a preset changes.
func (c RetryConfig) MarshalJSON() ([]byte, error) {
	minBackoff, maxBackoff, duration := c.MinBackoff.Seconds(), c.MaxBackoff.Seconds(), c.MaxRetryDuration.Seconds()
	d := retryDocument{
		Preset: c.Preset, MaxAttempts: &c.MaxAttempts, MinBackoffSeconds: &minBackoff, MaxBackoffSeconds: &maxBackoff,
		MaxDoublings: &c.MaxDoublings, MaxRetryDurationSeconds: &duration, Jitter: &c.Jitter,
	}
	for _, pause := range c.Schedule {
		d.ScheduleSeconds = append(d.ScheduleSeconds, pause.Seconds())
	}
	return json.Marshal(d)
}

// ReadRetry reads a retry configuration on top of another: the queue's for a task, DefaultRetry for a queue. A preset that it
// names takes the other's place; what it says beside that counts more. A schedule of its own has as many attempts as pauses and one,
// unless it says otherwise. The configuration is valid only if there are no problems; an error is about JSON.
func ReadRetry(raw []byte, base RetryConfig) (RetryConfig, []fault.Problem, error) {
	var d retryDocument
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return RetryConfig{}, nil, fmt.Errorf("read a retry configuration: %w", err)
	}
	if decoder.More() {
		return RetryConfig{}, nil, errors.New("read a retry configuration: there is something after it")
	}
	c := base
	var p []fault.Problem
	if d.Preset != "" {
		preset, known := RetryPreset(d.Preset)
		if !known {
			p = append(p, fault.Problem{Param: "preset", Detail: "preset is cloud_tasks, river, standard_webhooks or svix."})
		} else {
			c = preset
		}
	}
	if len(d.ScheduleSeconds) > 0 {
		c.Schedule = make([]time.Duration, len(d.ScheduleSeconds))
		for i := range d.ScheduleSeconds {
			setSeconds(&c.Schedule[i], &d.ScheduleSeconds[i])
		}
		c.MaxAttempts, c.MaxRetryDuration = len(c.Schedule)+1, 0
	}
	setSeconds(&c.MinBackoff, d.MinBackoffSeconds)
	setSeconds(&c.MaxBackoff, d.MaxBackoffSeconds)
	setSeconds(&c.MaxRetryDuration, d.MaxRetryDurationSeconds)
	set(&c.MaxAttempts, d.MaxAttempts)
	set(&c.MaxDoublings, d.MaxDoublings)
	set(&c.Jitter, d.Jitter)
	return c, append(p, c.Validate()...), nil
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// setSeconds takes seconds to the millisecond. What no duration can hold becomes one that no bound allows.
func setSeconds(field *time.Duration, value *float64) {
	switch {
	case value == nil:
	case math.Abs(*value) > 1e9:
		*field = -1
	default:
		*field = time.Duration(math.Round(*value*1000)) * time.Millisecond
	}
}
