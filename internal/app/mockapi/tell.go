package mockapi

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// WriteText tells a person what arrived.
func (s Summary) WriteText(out io.Writer) {
	fmt.Fprintf(out, "%d arrivals in %.1f s: %d accepted, %d refused over a limit, %d over the number at once\n",
		s.Arrivals, s.Seconds, s.Accepted, s.Refused, s.Crowded)
	for _, other := range []struct {
		n    int64
		what string
	}{{s.Unauthorised, "unauthorised"}, {s.Invalid, "invalid"}, {s.Down, "while it was down"}} {
		if other.n > 0 {
			fmt.Fprintf(out, "%d %s\n", other.n, other.what)
		}
	}
	fmt.Fprintf(out, "%d effects, %d of them duplicates; %d idempotency keys; %d requests answered with the effect that was there\n",
		s.Effects, s.DuplicateEffects, s.Keys, s.Replayed)
	for _, l := range s.Limits {
		fmt.Fprintf(out, "limit %s: at most %d arrivals in a window, %d accepted", l.Limit, l.ArrivalsInWindow, l.AcceptedInWindow)
		if l.RateUsed > 0 {
			fmt.Fprintf(out, "; %.1f %% of the rate used", 100*l.RateUsed)
		}
		if l.LowerBound {
			fmt.Fprint(out, "; there may have been more")
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "at most %d requests at once\n", s.ConcurrentMax)
	if len(s.Faults) > 0 {
		var faults []string
		for _, name := range slices.Sorted(maps.Keys(s.Faults)) {
			faults = append(faults, fmt.Sprintf("%s %d", name, s.Faults[name]))
		}
		fmt.Fprintf(out, "faults: %s\n", strings.Join(faults, ", "))
	}
	if s.Remembered.ArrivalsDropped > 0 || s.Remembered.KeysDropped > 0 {
		fmt.Fprintf(out, "the record was full: %d arrivals and %d keys were dropped from it\n",
			s.Remembered.ArrivalsDropped, s.Remembered.KeysDropped)
	}
}
