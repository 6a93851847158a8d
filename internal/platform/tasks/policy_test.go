package tasks

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestEveryVerdictHasItsConclusion(t *testing.T) {
	t.Parallel()
	retry := Policy{MaxAttempts: 3, MinBackoff: time.Second, Jitter: -1}.withDefaults().retry()
	why := errors.New("why")
	panicked := Retry("panic", why)
	panicked.unclear = true
	for _, c := range []struct {
		name    string
		verdict Verdict
		attempt int
		excused int
		cause   error
		want    string
	}{
		{"success", Succeeded(), 1, 0, nil, "succeeded done"},
		{"not wanted any more", Cancelled("gone"), 1, 0, nil, "cancelled gone done"},
		{"success, though the node stops", Succeeded(), 1, 0, errStopping, "succeeded done"},
		{"failure for good", Failed("f", why), 1, 0, nil, "failed f done"},
		{"snooze", Snooze(time.Minute, "s"), 9, 0, nil, "snoozed s 1m0s"},
		{"snooze, though the node stops", Snooze(time.Minute, "s"), 1, 0, errStopping, "snoozed s 1m0s"},
		{"first retry", Retry("r", why), 1, 0, nil, "failed r 1s"},
		{"second retry", Retry("r", why), 2, 0, nil, "failed r 2s"},
		{"last retry", Retry("r", why), 3, 0, nil, "failed r done"},
		{"snoozes do not count", Retry("r", why), 9, 8, nil, "failed r 1s"},
		{"retry as the node stops", Retry("r", why), 3, 0, errStopping, "interrupted r 0s unclear"},
		{"retry after the time was up", Retry("r", context.DeadlineExceeded), 1, 0, errTimedOut, "timed_out r 1s unclear"},
		{"last retry after the time was up", Retry("r", why), 3, 0, errTimedOut, "timed_out r done unclear"},
		{"panic", panicked, 1, 0, nil, "failed panic 1s unclear"},
	} {
		got := conclude(Task{Attempt: c.attempt, excused: c.excused}, &retry, c.verdict, c.cause, 0.5)
		shown := got.Outcome
		if got.ErrorCode != "" {
			shown += " " + got.ErrorCode
		}
		if got.Done {
			shown += " done"
		} else {
			shown += " " + got.Next.String()
		}
		if got.unclear {
			shown += " unclear"
		}
		if shown != c.want {
			t.Errorf("%s: %s, want %s", c.name, shown, c.want)
		}
		if c.verdict.err != nil && string(got.Detail) != fmt.Sprintf(`{"error":%q}`, c.verdict.err) {
			t.Errorf("%s: detail %s", c.name, got.Detail)
		}
	}
}

// An attempt in which nothing was sent says nothing of an earlier one that ended without a word: the next one asks, as its task wants it.
func TestWhatIsNotKnownOutlastsAHold(t *testing.T) {
	retry := DefaultRetry()
	for _, interrupted := range []bool{false, true} {
		c := conclude(Task{Attempt: 2, Interrupted: interrupted}, &retry, withheld(time.Second, "breaker_open", errors.New("later")), nil, 0.5)
		if c.unclear != interrupted || c.Outcome != OutcomeHeld || c.Done {
			t.Errorf("interrupted %t: %+v", interrupted, c)
		}
	}
}
