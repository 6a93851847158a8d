package progress_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontorhq/kontor/internal/kit/progress"
)

type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

func TestPlainLinesAreFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		p := progress.New(progress.Config{Out: out})
		p.Begin("checking entries", 200)
		for range 120 {
			p.Add(1)
			time.Sleep(110 * time.Millisecond) // of the bubble's clock
		}
		p.Note("2 wrong")
		p.Print("seed 7")
		p.Begin("checking balances", 0)
		p.Set(3)
		p.Close()
		p.Close()
		want := "checking entries   23 %  46 of 200  9/s  5s\n" +
			"checking entries   46 %  91 of 200  9/s  10s\n" +
			"seed 7\n" +
			"checking entries   60 %  120 of 200  9/s  13.2s  2 wrong\n" +
			"checking balances  3  0s\n"
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out, want)
		}
	})
}

func TestTheLivingLineIsDrawnInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		p := progress.New(progress.Config{Out: out, Width: 60})
		p.Begin("work", 4)
		p.Add(2)
		time.Sleep(150 * time.Millisecond) // of the bubble's clock
		p.Note("%s", strings.Repeat("long ", 20))
		time.Sleep(100 * time.Millisecond)
		p.Print("a line that stays")
		p.Close()
		got := out.String()
		if !strings.Contains(got, "\r\x1b[Kwork  "+strings.Repeat("█", 12)+strings.Repeat("░", 12)+"   50 %  2 of 4  100ms") {
			t.Errorf("no bar in %q", got)
		}
		for line := range strings.SplitSeq(got, "\r\x1b[K") {
			if drawn, _, stays := strings.Cut(line, "\n"); !stays && len([]rune(drawn)) >= 60 {
				t.Errorf("a drawn line would wrap: %q", drawn)
			}
		}
		if !strings.Contains(got, "\r\x1b[Ka line that stays\n") {
			t.Errorf("the printed line is not on a line of its own: %q", got)
		}
	})
}

func TestSilence(t *testing.T) {
	t.Parallel()
	var none *progress.Progress
	for _, p := range []*progress.Progress{none, progress.New(progress.Config{})} {
		p.Begin("x", 1)
		p.Add(1)
		p.Note("y")
		p.Print("z")
		p.End()
		p.Close()
	}
}
