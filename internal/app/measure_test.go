package app

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWhatIsDearToMeasureIsMeasuredRarely(t *testing.T) {
	t.Parallel()
	now, cheap, dear := time.Now(), 0, 0
	measure := measuring(func() time.Time { return now },
		func(context.Context) error {
			dear++
			now = now.Add(5 * time.Second)
			return errors.New("too many rows")
		},
		func(context.Context) error { cheap++; return nil })
	for i := range 8 {
		if err := measure(t.Context()); (err != nil) != (i == 0 || i == 7) {
			t.Errorf("look %d: %v", i, err)
		}
		now = now.Add(measureEvery)
	}
	if dear != 2 || cheap != 8 {
		t.Errorf("the dear one was measured %d times, the other %d times", dear, cheap)
	}
}
