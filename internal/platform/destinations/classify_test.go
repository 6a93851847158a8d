package destinations

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

func TestEveryStatusHasItsClass(t *testing.T) {
	t.Parallel()
	expected := func(status int) Class {
		switch {
		case status >= 200 && status < 300:
			return ClassSucceeded
		case status == 401, status == 403:
			return ClassHold
		case status == 429:
			return ClassRateLimited
		case status == 408, status == 425, status >= 500 && status != 501:
			return ClassRetry
		default:
			return ClassDeadLetter
		}
	}
	for status := 100; status < 1000; status++ {
		if got := classify(nil, egress.SentYes, status, "", Advice{}); got != expected(status) {
			t.Errorf("%d: %s", status, got)
		}
		limited := expected(status)
		if status == 503 || status == 403 {
			limited = ClassRateLimited
		}
		for _, advice := range []Advice{{RetryAfter: time.Second}, {Exhausted: true, Reset: time.Second}} {
			if got := classify(nil, egress.SentYes, status, "", advice); got != limited {
				t.Errorf("%d with %+v: %s", status, advice, got)
			}
		}
		for _, failure := range classifiedFailures() { // the body broke off
			want := expected(status)
			if want == ClassSucceeded {
				want = ClassUnknown
			}
			if got := classify(nil, egress.SentYes, status, failure, Advice{}); got != want {
				t.Errorf("%d, then %s: %s", status, failure, got)
			}
		}
	}
}

func TestAFailureIsUnknownOnceSomethingWasSent(t *testing.T) {
	t.Parallel()
	for _, failure := range []egress.Failure{
		egress.FailureForbidden, egress.FailureResolve, egress.FailureConnect, egress.FailureTLS, egress.FailureTimeout,
		egress.FailureInterrupted, egress.FailureBroken, egress.FailureMalformed,
	} {
		if got := classify(nil, egress.SentNo, 0, failure, Advice{}); got != ClassRetry {
			t.Errorf("%s, not sent: %s", failure, got)
		}
		if got := classify(nil, egress.SentMaybe, 0, failure, Advice{}); got != ClassUnknown {
			t.Errorf("%s, sent: %s", failure, got)
		}
	}
	if got := classify(nil, egress.SentNo, 0, egress.FailureRequest, Advice{}); got != ClassDeadLetter {
		t.Error(got)
	}
}

func TestWhatOnlyReadsIsNeverUnknown(t *testing.T) {
	t.Parallel()
	for _, method := range methods {
		for _, class := range classes() {
			want := class
			if class == ClassUnknown && (method == "GET" || method == "HEAD" || method == "OPTIONS") {
				want = ClassRetry
			}
			if got := class.ofMethod(method); got != want {
				t.Errorf("%s of a %s: %s", class, method, got)
			}
		}
	}
}

func TestATimeIsUnderstoodByTheClockItWasMadeBy(t *testing.T) {
	t.Parallel()
	ours := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		date string
		want time.Duration
	}{
		{"Tue, 24 Nov 2026 11:58:00 GMT", 2*time.Minute + 30*time.Second}, // theirs is two minutes behind
		{"Tue, 24 Nov 2026 12:00:20 GMT", 10 * time.Second},
		{"", 30 * time.Second},
		{"yesterday", 30 * time.Second},
		{"Tue, 24 Nov 2020 12:00:00 GMT", 30 * time.Second}, // no clock at all
	} {
		h := http.Header{"Retry-After": {"Tue, 24 Nov 2026 12:00:30 GMT"}, "Date": {c.date}}
		if got := readAdvice(h, clockOf(h, ours)).Wait(); got != c.want {
			t.Errorf("%s: %s", c.date, got)
		}
	}
}

func TestADestinationSaysWhatItsAnswersMean(t *testing.T) {
	t.Parallel()
	c := Classifier{"409": ClassSucceeded, "4xx": ClassRetry, "5xx": ClassDeadLetter, "503": ClassUnknown, "timed_out": ClassRetry, "429": ClassHold}
	for _, one := range []struct {
		sent    egress.Sent
		status  int
		failure egress.Failure
		want    Class
	}{
		{egress.SentYes, 409, "", ClassSucceeded},
		{egress.SentYes, 404, "", ClassRetry},
		{egress.SentYes, 401, "", ClassRetry},
		{egress.SentYes, 429, "", ClassHold},
		{egress.SentYes, 500, "", ClassDeadLetter},
		{egress.SentYes, 503, "", ClassUnknown},
		{egress.SentYes, 200, "", ClassSucceeded},
		{egress.SentYes, 302, "", ClassDeadLetter},
		{egress.SentMaybe, 0, egress.FailureTimeout, ClassRetry},
		{egress.SentYes, 200, egress.FailureTimeout, ClassRetry},
		{egress.SentMaybe, 0, egress.FailureBroken, ClassUnknown},
		{egress.SentNo, 0, egress.FailureTimeout, ClassRetry},
	} {
		if got := classify(c, one.sent, one.status, one.failure, Advice{RetryAfter: time.Second}); got != one.want {
			t.Errorf("%+v: %s", one, got)
		}
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		header string
		value  string
		want   Advice
		wait   time.Duration
	}{
		{"Retry-After", "120", Advice{RetryAfter: 2 * time.Minute}, 2 * time.Minute},
		{"Retry-After", " 1 ", Advice{RetryAfter: time.Second}, time.Second},
		{"Retry-After", "0.2", Advice{RetryAfter: 200 * time.Millisecond}, 200 * time.Millisecond},
		{"Retry-After", "0.0001", Advice{RetryAfter: time.Millisecond}, time.Millisecond},
		{"Retry-After", "0", Advice{}, 0},
		{"Retry-After", "-5", Advice{}, 0},
		{"Retry-After", "soon", Advice{}, 0},
		{"Retry-After", "NaN", Advice{}, 0},
		{"Retry-After", "1e99", Advice{RetryAfter: 1e9 * time.Second}, 24 * time.Hour},
		{"Retry-After", "90000", Advice{RetryAfter: 25 * time.Hour}, 24 * time.Hour},
		{"Retry-After", "Tue, 24 Nov 2026 12:00:30 GMT", Advice{RetryAfter: 30 * time.Second}, 30 * time.Second},
		{"Retry-After", "Tuesday, 24-Nov-26 12:00:30 GMT", Advice{RetryAfter: 30 * time.Second}, 30 * time.Second},
		{"Retry-After", "Tue, 24 Nov 2026 11:59:00 GMT", Advice{}, 0},
		{"RateLimit", `"default";r=0;t=30`, Advice{Exhausted: true, Reset: 30 * time.Second}, 30 * time.Second},
		{"RateLimit", `"default";r=50;t=30`, Advice{}, 0},
		{"RateLimit", `"second";r=5;t=1, "day";r=0;t=3600`, Advice{Exhausted: true, Reset: time.Hour}, time.Hour},
		{"RateLimit", `"second";r=0;t=1, "day";r=9;t=3600`, Advice{Exhausted: true, Reset: time.Second}, time.Second},
		{"RateLimit-Policy", `"default";q=100;w=60, "day";q=5000;w=86400`, Advice{Quotas: []Quota{{100, time.Minute}, {5000, 24 * time.Hour}}}, 0},
		{"RateLimit-Reset", "7", Advice{Reset: 7 * time.Second}, 7 * time.Second},
		{"X-RateLimit-Reset", "1795521610", Advice{Reset: 10 * time.Second}, 10 * time.Second},
		{"X-Ratelimit-Reset", "1795521610000", Advice{Reset: 10 * time.Second}, 10 * time.Second},
		{"X-Ratelimit-Reset", "2026-11-24T12:00:10Z", Advice{Reset: 10 * time.Second}, 10 * time.Second},
		{"X-Rate-Limit-Reset", "1795521600.5", Advice{Reset: time.Second}, time.Second},
		{"X-Ratelimit-Reset", "NaN", Advice{}, 0},
		{"X-Ratelimit-Remaining", "0", Advice{}, 0},
	} {
		h := http.Header{}
		h.Set(c.header, c.value)
		if got := readAdvice(h, now); !reflect.DeepEqual(got, c.want) || got.Wait() != c.wait {
			t.Errorf("%s: %s: %+v, wait %s", c.header, c.value, got, got.Wait())
		}
	}
	if now.Unix()+10 != 1795521610 {
		t.Fatal(now.Unix())
	}
	both := http.Header{"Retry-After": {"5"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"60"}}
	if got := readAdvice(both, now); !got.Exhausted || got.Wait() != time.Minute {
		t.Errorf("nothing may be shortened: %+v", got)
	}
	some := http.Header{"Retry-After": {"5"}, "X-Ratelimit-Remaining": {"3"}, "X-Ratelimit-Reset": {"60"}}
	if got := readAdvice(some, now); got.Exhausted || got.Wait() != 5*time.Second {
		t.Errorf("%+v", got)
	}
	split := http.Header{"Ratelimit": {"limit=100, remaining=0, reset=5"}}
	if got := readAdvice(split, now); !got.Exhausted || got.Wait() != 5*time.Second {
		t.Errorf("%+v", got)
	}
}

func FuzzAdvice(f *testing.F) {
	for _, seed := range []string{"120", "Tue, 24 Nov 2026 12:00:30 GMT", `"default";r=0;t=30`, "limit=1, remaining=0, reset=5", "1795521610000", "1e308", "-1", "NaN", `"a";q=1;w=9223372036854775807`} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		h := http.Header{}
		for _, name := range []string{
			"Retry-After", "RateLimit", "RateLimit-Policy", "RateLimit-Reset", "RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Remaining",
		} {
			h.Set(name, text)
		}
		a := readAdvice(h, now)
		if a.RetryAfter < 0 || a.Reset < 0 || len(a.Quotas) > quotasMax || a.Wait() < 0 || a.Wait() > retryAfterMax ||
			a.Wait() < min(a.RetryAfter, retryAfterMax) {
			t.Fatalf("%q: %+v", text, a)
		}
	})
}
