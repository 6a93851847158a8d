package why

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/money"
)

// clockForm shows a time within a day.
const clockForm = "15:04:05.000"

// WriteText tells the story to people. All times are UTC.
func (s Story) WriteText(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, %s through %s, organisation %s\n", s.ID, s.Status, money.Format(s.Amount, s.Currency), s.Provider, s.Organisation)
	day := ""
	for _, m := range s.Timeline {
		if today := m.At.Format(time.DateOnly); today != day {
			day = today
			fmt.Fprintf(&b, "\n%s UTC\n", day)
		}
		fmt.Fprintf(&b, "%s  %s", m.At.Format(clockForm), m.Text)
		if m.Kind == KindAsked {
			fmt.Fprintf(&b, "  %s", m.Attempt)
		}
		b.WriteString("\n")
		var events []string
		for _, f := range m.Facts {
			if f.Kind == FactEvent {
				events = append(events, f.Text)
				continue
			}
			fmt.Fprintf(&b, "              %s\n", f.Text)
		}
		if len(events) > 0 {
			fmt.Fprintf(&b, "              told as %s\n", strings.Join(events, ", "))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", s.Verdict)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the story: %w", err)
	}
	return nil
}
