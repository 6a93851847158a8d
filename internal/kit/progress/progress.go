// Package progress shows how far long work has come: one living line on a terminal, an occasional plain line
// elsewhere, nothing where only a machine reads.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 5 * time.Second // between plain lines
	barWidth    = 24
	widthMin    = 40
)

// Config says where progress is shown. The zero value shows nothing.
type Config struct {
	Out   io.Writer   // usually standard error; nil: silent, as with --json
	Clock clock.Clock // nil means clock.System
	// Width forces the living line of a terminal this wide; 0 finds out what Out is.
	Width int
}

// Progress shows one step of work at a time. Safe for concurrent use; a nil Progress is silent.
type Progress struct {
	cfg   Config
	every time.Duration // between looks at the state

	mu      sync.Mutex
	title   string // of the step under way; empty: none
	note    string
	done    int64
	total   int64 // 0: unknown
	since   time.Time
	drawn   bool // the living line is on the screen
	stopped chan struct{}
	ended   chan struct{}
}

// New starts a display. Close it.
func New(cfg Config) *Progress {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	p := &Progress{cfg: cfg, every: lineEvery, stopped: make(chan struct{}), ended: make(chan struct{})}
	if p.width() > 0 {
		p.every = redrawEvery
	}
	if cfg.Out == nil {
		close(p.ended)
		return p
	}
	go p.run()
	return p
}

// Begin ends the step under way and starts another; total 0 means that nobody knows how much there is.
func (p *Progress) Begin(title string, total int64) {
	p.change(func() {
		p.finish()
		p.title, p.note, p.done, p.total, p.since = title, "", 0, total, p.cfg.Clock()
		if p.living() {
			p.draw()
		}
	})
}

// Add counts work done in the step under way.
func (p *Progress) Add(n int64) { p.change(func() { p.done += n }) }

// Set says how much of the step under way is done.
func (p *Progress) Set(done int64) { p.change(func() { p.done = done }) }

// Note puts a few words behind the step's figures, such as "3 kills".
func (p *Progress) Note(format string, args ...any) {
	p.change(func() { p.note = fmt.Sprintf(format, args...) })
}

// Print writes a line that stays, above the living one.
func (p *Progress) Print(format string, args ...any) {
	p.change(func() {
		p.clear()
		p.writeLine(fmt.Sprintf(format, args...))
	})
}

// End ends the step under way and leaves its last state as a line.
func (p *Progress) End() { p.change(p.finish) }

// Close ends the step under way and the display. A second Close does nothing.
func (p *Progress) Close() {
	p.change(func() {
		p.finish()
		select {
		case <-p.stopped:
		default:
			close(p.stopped)
		}
	})
	if p != nil {
		<-p.ended
	}
}

func (p *Progress) change(do func()) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

func (p *Progress) run() {
	defer close(p.ended)
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	for {
		select {
		case <-p.stopped:
			return
		case <-ticker.C:
			p.change(p.draw)
		}
	}
}

// draw shows the state of the step under way.
func (p *Progress) draw() {
	if p.title == "" || p.cfg.Out == nil {
		return
	}
	if !p.living() {
		p.writeLine(p.line(0))
		return
	}
	_, _ = io.WriteString(p.cfg.Out, "\r\x1b[K"+p.line(p.width()))
	p.drawn = true
}

// finish leaves the step's last state as a line.
func (p *Progress) finish() {
	if p.title == "" {
		return
	}
	p.clear()
	p.writeLine(p.line(0))
	p.title = ""
}

func (p *Progress) clear() {
	if p.drawn {
		_, _ = io.WriteString(p.cfg.Out, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *Progress) writeLine(text string) {
	if p.cfg.Out != nil {
		_, _ = io.WriteString(p.cfg.Out, text+"\n")
	}
}

// line describes the step. With a width, it has a bar and is cut to fit.
func (p *Progress) line(width int) string {
	elapsed := p.cfg.Clock().Sub(p.since)
	var b strings.Builder
	b.WriteString(p.title)
	if p.total > 0 {
		share := float64(min(max(p.done, 0), p.total)) / float64(p.total)
		if width > 0 {
			full := int(share * barWidth)
			fmt.Fprintf(&b, "  %s%s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full))
		}
		fmt.Fprintf(&b, "  %3.0f %%  %d of %d", share*100, p.done, p.total)
	} else if p.done > 0 {
		fmt.Fprintf(&b, "  %d", p.done)
	}
	if seconds := elapsed.Seconds(); seconds >= 1 && p.done > 0 {
		fmt.Fprintf(&b, "  %.0f/s", float64(p.done)/seconds)
	}
	fmt.Fprintf(&b, "  %s", elapsed.Truncate(100*time.Millisecond))
	if p.note != "" {
		b.WriteString("  " + p.note)
	}
	if shown := []rune(b.String()); width > 0 && len(shown) >= width {
		return string(shown[:max(width, widthMin)-1])
	}
	return b.String()
}

// IsTerminal tells whether a person is likely to read what is written to the file.
func IsTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

func (p *Progress) living() bool { return p.every == redrawEvery }

// width is the terminal's, asked for each time because windows are resized; 0 where there is no terminal.
func (p *Progress) width() int {
	if p.cfg.Width > 0 {
		return p.cfg.Width
	}
	file, ok := p.cfg.Out.(*os.File)
	if !ok || !IsTerminal(file) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}
