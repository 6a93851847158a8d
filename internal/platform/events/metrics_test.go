package events

import (
	"testing"
	"time"
)

func TestTheLagIsThatOfTheOldestOpenTransaction(t *testing.T) {
	t.Parallel()
	began := time.Now()
	m := newMetrics()
	for i, look := range []struct{ oldest, next, lag int64 }{
		{100, 100, 0},  // nothing is open
		{100, 150, 0},  // 100 was begun since
		{100, 300, 15}, // and is still open
		{100, 400, 30},
		{170, 500, 30}, // 100 has ended; 170 was begun between the second look and the third
		{170, 500, 45},
		{600, 700, 0},
		{800, 800, 0},
	} {
		m.look(began.Add(time.Duration(i)*15*time.Second), look.oldest, look.next)
		if m.seconds != float64(look.lag) {
			t.Errorf("look %d: a lag of %v s, not %d", i, m.seconds, look.lag)
		}
	}
	for i := range 2 * samplesMax {
		m.look(began.Add(time.Duration(i)*time.Hour), 800, int64(900+i))
	}
	if want := (2*samplesMax - 1) * 3600; len(m.samples) > samplesMax || m.seconds != float64(want) {
		t.Errorf("after days: %d samples, a lag of %v s", len(m.samples), m.seconds)
	}
}
