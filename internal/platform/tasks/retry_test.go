package tasks

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pauses are those between a task's attempts, all failed, and why there is no other; limit bounds how many are looked at.
func pauses(c RetryConfig, chance float64, limit int) (list []time.Duration, span time.Duration, end string) {
	for n := 1; n <= limit; n++ {
		pause, exhausted := c.Next(n, span, chance)
		if exhausted != "" {
			return list, span, exhausted
		}
		list, span = append(list, pause), span+pause
	}
	return list, span, ""
}

func seconds(list ...float64) []time.Duration {
	out := make([]time.Duration, len(list))
	for i, s := range list {
		out[i] = time.Duration(s * float64(time.Second))
	}
	return out
}

func mustRead(t testing.TB, raw string) RetryConfig {
	t.Helper()
	c, problems, err := ReadRetry([]byte(raw), DefaultRetry())
	if err != nil || len(problems) > 0 {
		t.Fatalf("%s: %v %v", raw, problems, err)
	}
	return c
}

func TestPausesAreExactlyThose(t *testing.T) {
	t.Parallel()
	repeat := func(n int, s float64) []time.Duration { return slices.Repeat(seconds(s), n) }
	for _, c := range []struct {
		name, config string
		want         []time.Duration
		end          string
	}{
		// The example in Cloud Tasks' own documentation of max_doublings.
		{
			"documented by Cloud Tasks", `{"min_backoff_seconds":10,"max_backoff_seconds":300,"max_doublings":3,"max_attempts":10,"max_retry_duration_seconds":0}`,
			seconds(10, 20, 40, 80, 160, 240, 300, 300, 300), DeadMaxAttempts,
		},
		{
			"the default", `{}`,
			append(seconds(5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480), repeat(6, 21600)...), DeadMaxAttempts,
		},
		{
			"cloud_tasks", `{"preset":"cloud_tasks"}`,
			append(seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 1638.4, 3276.8), repeat(83, 3600)...), DeadMaxAttempts,
		},
		{
			"river", `{"preset":"river"}`,
			seconds(1, 16, 81, 256, 625, 1296, 2401, 4096, 6561, 10000, 14641, 20736, 28561, 38416, 50625, 65536, 83521, 104976, 130321, 160000, 194481, 234256, 279841, 331776),
			DeadMaxAttempts,
		},
		{"standard_webhooks", `{"preset":"standard_webhooks"}`, seconds(5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400), DeadMaxAttempts},
		{"svix", `{"preset":"svix"}`, seconds(5, 300, 1800, 7200, 18000, 36000, 36000), DeadMaxAttempts},
		{"linear", `{"max_doublings":0,"min_backoff_seconds":2,"max_backoff_seconds":7,"max_attempts":6}`, seconds(2, 4, 6, 7, 7), DeadMaxAttempts},
		{"constant", `{"min_backoff_seconds":3,"max_backoff_seconds":3,"max_attempts":4}`, seconds(3, 3, 3), DeadMaxAttempts},
		{"without pauses", `{"min_backoff_seconds":0,"max_attempts":4}`, seconds(0, 0, 0), DeadMaxAttempts},
		{"once", `{"max_attempts":1}`, nil, DeadMaxAttempts},
		{"by time", `{"max_attempts":-1,"max_retry_duration_seconds":60}`, seconds(5, 10, 20), DeadMaxRetryDuration},
		{"to the last second", `{"max_attempts":-1,"max_retry_duration_seconds":75}`, seconds(5, 10, 20, 40), DeadMaxRetryDuration},
		{"the first limit ends it", `{"max_attempts":3,"max_retry_duration_seconds":60}`, seconds(5, 10), DeadMaxAttempts},
		{"a preset, changed", `{"preset":"svix","max_attempts":3}`, seconds(5, 300), DeadMaxAttempts},
		{"a schedule that goes on", `{"schedule_seconds":[1,2.5],"max_attempts":5}`, seconds(1, 2.5, 2.5, 2.5), DeadMaxAttempts},
		{"a schedule", `{"schedule_seconds":[1,2.5]}`, seconds(1, 2.5), DeadMaxAttempts},
	} {
		got, _, end := pauses(mustRead(t, c.config), 0.5, 200)
		if !slices.Equal(got, c.want) || end != c.end {
			t.Errorf("%s:\n got %v, %s\nwant %v, %s", c.name, got, end, c.want, c.end)
		}
	}
	if _, span, _ := pauses(DefaultRetry(), 0.5, 200); span != 170_555*time.Second {
		t.Errorf("the default spans %s", span)
	}
}

func anyRetry() *rapid.Generator[RetryConfig] {
	span := func(r *rapid.T, name string, from, to time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(from/time.Millisecond), int64(to/time.Millisecond)).Draw(r, name)) * time.Millisecond
	}
	return rapid.Custom(func(r *rapid.T) RetryConfig {
		c := RetryConfig{
			MaxAttempts: rapid.OneOf(rapid.Just(-1), rapid.IntRange(1, 60)).Draw(r, "attempts"), MinBackoff: span(r, "least", 0, retryBackoffMax),
			MaxRetryDuration: span(r, "duration", 0, retryDurationMax), MaxDoublings: rapid.IntRange(0, retryDoublingsMax).Draw(r, "doublings"),
			Jitter: rapid.Float64Range(0, 1).Draw(r, "jitter"),
		}
		c.MaxBackoff = span(r, "most", max(c.MinBackoff, time.Millisecond), retryBackoffMax)
		for range rapid.IntRange(0, 3).Draw(r, "scheduled") {
			c.Schedule = append(c.Schedule, span(r, "pause", 0, retryBackoffMax))
		}
		return c
	})
}

func TestPausesKeepTheirBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		c, chance := anyRetry().Draw(r, "config"), rapid.Float64Range(0, 0.999999).Draw(r, "chance")
		list, span, end := pauses(c, chance, 100)
		if c.MaxAttempts > 0 && len(list) >= c.MaxAttempts || c.MaxRetryDuration > 0 && span > c.MaxRetryDuration {
			r.Fatalf("%d pauses within %s, %s", len(list), span, end)
		}
		if end == "" && c.MaxAttempts > 0 && c.MaxAttempts <= 100 {
			r.Fatal("it does not end")
		}
		last := time.Duration(0)
		for k, pause := range list {
			plain := c.backoff(k)
			if low, high := float64(plain)*(1-c.Jitter)-1, float64(plain)*(1+c.Jitter)+1; float64(pause) < low || float64(pause) > high {
				r.Fatalf("pause %d is %s, and %s without jitter", k, pause, plain)
			}
			if len(c.Schedule) == 0 && (plain < last || plain < c.MinBackoff || plain > c.MaxBackoff) {
				r.Fatalf("pause %d is %s after %s", k, plain, last)
			}
			last = plain
		}
	})
}

// Whatever is longest, the pauses are those that the rule's sentence gives when it is followed by adding and doubling.
func TestTheDoublingRuleAsItIsSaid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		c := anyRetry().Draw(r, "config")
		c.Schedule = nil
		exact, step := float64(c.MinBackoff), float64(c.MinBackoff)
		for k := range 60 {
			want := time.Duration(min(exact, float64(c.MaxBackoff)))
			if got := c.backoff(k); got != want {
				r.Fatalf("pause %d is %s, want %s", k, got, want)
			}
			if k < c.MaxDoublings {
				exact *= 2
				step = exact
			} else {
				exact += step
			}
		}
	})
}

func TestAConfigurationComesBackFromItsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		c := anyRetry().Draw(r, "config")
		raw, err := json.Marshal(c)
		if err != nil {
			r.Fatal(err)
		}
		back, problems, err := ReadRetry(raw, DefaultRetry())
		if err != nil || len(problems) > 0 || !reflect.DeepEqual(back, c) {
			r.Fatalf("%s came back as %+v, %v %v", raw, back, problems, err)
		}
	})
	for _, name := range RetryPresets() {
		preset, known := RetryPreset(name)
		raw, _ := json.Marshal(preset)
		if back := mustRead(t, string(raw)); !known || !reflect.DeepEqual(back, preset) || len(preset.Validate()) > 0 {
			t.Errorf("%s is %s and came back as %+v", name, raw, back)
		}
	}
	raw, _ := json.Marshal(DefaultRetry())
	if want := `{"max_attempts":20,"min_backoff_seconds":5,"max_backoff_seconds":21600,"max_doublings":13,"max_retry_duration_seconds":259200,"jitter":0.2}`; string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}

func TestEveryMistakeOfARetryConfigurationIsTold(t *testing.T) {
	t.Parallel()
	raw := `{"preset":"celery","max_attempts":0,"min_backoff_seconds":-1,"max_backoff_seconds":1e300,"max_doublings":65,"max_retry_duration_seconds":-0.5,
		"jitter":1.5,"schedule_seconds":[1,-1,1e9]}`
	_, problems, err := ReadRetry([]byte(raw), DefaultRetry())
	var params []string
	for _, p := range problems {
		params = append(params, p.Param)
		if !strings.HasSuffix(p.Detail, ".") {
			t.Errorf("%s: %q is no sentence", p.Param, p.Detail)
		}
	}
	want := []string{
		"preset", "max_attempts", "min_backoff_seconds", "max_backoff_seconds", "max_retry_duration_seconds", "max_doublings",
		"jitter", "schedule_seconds/1", "schedule_seconds/2",
	}
	if err != nil || !slices.Equal(params, want) {
		t.Errorf("told %v, %v", params, err)
	}
	if _, problems, _ := ReadRetry([]byte(`{"min_backoff_seconds":7,"max_backoff_seconds":6}`), DefaultRetry()); fmt.Sprint(problems) !=
		"[{max_backoff_seconds max_backoff_seconds is not below min_backoff_seconds.}]" {
		t.Errorf("told %v", problems)
	}
	for _, raw := range []string{``, `[]`, `{`, `{"max_tries":3}`, `{"max_attempts":"3"}`, `{"max_attempts":1.5}`, `{} {}`} {
		if _, _, err := ReadRetry([]byte(raw), DefaultRetry()); err == nil {
			t.Errorf("%s is taken", raw)
		}
	}
}

// A task's configuration stands on its queue's.
func TestATaskChangesWhatItsQueueSays(t *testing.T) {
	t.Parallel()
	queue := mustRead(t, `{"preset":"river"}`)
	task, problems, err := ReadRetry([]byte(`{"max_attempts":2,"jitter":0}`), queue)
	if err != nil || len(problems) > 0 || task.MaxAttempts != 2 || task.Jitter != 0 || len(task.Schedule) != 24 || queue.MaxAttempts != 25 {
		t.Errorf("%+v, %v %v", task, problems, err)
	}
}

// table shows when each attempt begins, from the first one's failure, without jitter.
func table() string {
	configs := []RetryConfig{DefaultRetry()}
	for _, name := range RetryPresets() {
		preset, _ := RetryPreset(name)
		configs = append(configs, preset)
	}
	var lines []string
	for n := 2; n <= 100; n++ {
		line, some := fmt.Sprintf("| %d |", n), false
		for _, c := range configs {
			cell := ""
			if list, _, _ := pauses(c, 0.5, n-1); len(list) == n-1 {
				span := time.Duration(0)
				for _, pause := range list {
					span += pause
				}
				cell, some = " "+short(span), true
			}
			line += cell + " |"
		}
		if some && (n <= 25 || n%25 == 0) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// short writes a duration for people: 2 d 3 h.
func short(d time.Duration) string {
	var parts []string
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}} {
		if n := d / unit.size; n > 0 {
			parts, d = append(parts, fmt.Sprint(int(n), " ", unit.name)), d%unit.size
		}
	}
	if d > 0 || len(parts) == 0 {
		parts = append(parts, fmt.Sprint(d.Seconds(), " s"))
	}
	return strings.Join(parts[:min(2, len(parts))], " ")
}

func TestTheReferenceShowsWhenAttemptsBegin(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/reference/retry-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := table(); !strings.Contains(string(text), want) {
		t.Errorf("docs/reference/retry-policies.md lacks\n%s", want)
	}
}
