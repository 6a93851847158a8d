package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

func TestAFaultIsFoundInAnyChain(t *testing.T) {
	t.Parallel()
	declared := fault.New(fault.Conflict, "no_luck", "Not today.")
	other := fault.New(fault.Conflict, "no_time", "Not today.")
	for name, err := range map[string]error{
		"itself":      declared,
		"wrapped":     fmt.Errorf("try: %w", fmt.Errorf("again: %w", declared)),
		"joined":      errors.Join(errors.New("first"), declared),
		"elsewhere":   declared.At("/amount"),
		"later":       declared.After(time.Second),
		"caused":      declared.Because(errors.New("a reason")),
		"made anew":   fault.New(fault.Conflict, "no_luck", "Not on %s.", "Friday"),
		"by a fault":  declared.Because(other),
		"all of this": fmt.Errorf("try: %w", declared.At("/amount").After(time.Minute).Because(other)),
	} {
		if !errors.Is(err, declared) || fault.From(err).Code != "no_luck" || fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v is not found", name, err)
		}
	}
	if errors.Is(declared, other) || declared.Is(errors.New("no_luck: Not today.")) || errors.Is(errors.New("x"), declared) {
		t.Error("what is not equal is")
	}
}

// What is declared once is shared by all: what is added is added to a copy.
func TestADeclaredFaultNeverChanges(t *testing.T) {
	t.Parallel()
	declared := fault.New(fault.Conflict, "no_luck", "100 % no.")
	before := *declared
	cause := errors.New("a reason")
	changed := declared.At("/amount").After(time.Minute).Because(cause)
	if fmt.Sprintf("%#v", *declared) != fmt.Sprintf("%#v", before) {
		t.Errorf("%#v, was %#v", *declared, before)
	}
	if changed.Param != "/amount" || changed.RetryAfter != time.Minute || !errors.Is(changed, cause) || changed.Detail != "100 % no." {
		t.Errorf("%#v", changed)
	}
}

// An error that is no fault is shown without its text, which the log has.
func TestAnythingElseIsInternal(t *testing.T) {
	t.Parallel()
	secret := errors.New("the secret")
	f := fault.From(fmt.Errorf("try: %w", secret))
	if f.Kind != fault.Internal || f.Code != "internal" || strings.Contains(f.Detail, "secret") || !errors.Is(f, secret) || !strings.Contains(f.Error(), "the secret") {
		t.Errorf("%+v", f)
	}
	if got := fault.New(fault.Invalid, "bad", "Bad.").Because(secret).Error(); got != "bad: Bad.: the secret" {
		t.Error(got)
	}
}
