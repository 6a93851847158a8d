package destinations

import (
	"testing"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

func TestOnlyAnswersShowThatSomebodyAnswers(t *testing.T) {
	h := newHouse(t)
	h.create("api")
	h.exec(`update destination_state set breaker = 'half_open', breaker_spell = 4`)
	e := h.entry(h.Destinations, "api")
	for _, r := range []Response{
		{Class: ClassDeadLetter, Sent: egress.SentNo, ErrorCode: "request_invalid"},
		{Class: ClassHold, Sent: egress.SentNo, ErrorCode: "secret_unavailable"},
		{Class: ClassUnknown, Sent: egress.SentMaybe, ErrorCode: "interrupted"},
		{Class: ClassRateLimited, Sent: egress.SentYes, ErrorCode: codeTokenRenewed},
		{Class: ClassSucceeded, Sent: egress.SentYes, foreign: true},
	} {
		e.Learn(e.Begin(""), r)
	}
	h.refresh(h.Destinations)
	if b := h.read("api").State.Breaker; b.Position != BreakerHalfOpen || b.Successes != 0 {
		t.Fatalf("%+v", b)
	}
	for range 5 {
		e.Learn(e.Begin(""), answer(ClassDeadLetter, 404))
	}
	h.refresh(h.Destinations)
	if b := h.read("api").State.Breaker; b.Position != BreakerClosed {
		t.Fatalf("%+v", b)
	}
}

func TestWhatNobodyAsksAboutIsForgotten(t *testing.T) {
	h := newHouse(t)
	h.create("api")
	e := h.entry(h.Destinations, "api")
	e.mu.Lock()
	e.usedAt = e.usedAt.Add(-forgetAfter)
	e.mu.Unlock()
	h.refresh(h.Destinations)
	if !e.Gone() || h.entry(h.Destinations, "api") == e {
		t.Fatal("it is still refreshed")
	}
}
