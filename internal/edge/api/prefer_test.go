package api

import (
	"testing"
	"time"
)

func TestWaitOf(t *testing.T) {
	t.Parallel()
	const standard = 10 * time.Second
	for prefer, want := range map[string]time.Duration{
		"":                       standard,
		"respond-async":          0,
		"Respond-Async":          0,
		"respond-async; foo=bar": 0,
		"wait=3":                 3 * time.Second,
		`wait="3"`:               3 * time.Second,
		" wait = 3 ":             3 * time.Second,
		"respond-async, wait=5":  5 * time.Second,
		"wait=5, respond-async":  5 * time.Second,
		"wait=0":                 0,
		"wait=9999":              waitMax,
		"wait=-1":                standard,
		"wait=soon":              standard,
		"handling=lenient":       standard,
		",,;=":                   standard,
	} {
		if got := waitOf(&prefer, standard); got != want {
			t.Errorf("%q: %v, want %v", prefer, got, want)
		}
	}
	if got := waitOf(nil, standard); got != standard {
		t.Errorf("without a preference: %v", got)
	}
}
