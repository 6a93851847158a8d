package mockapi

import "time"

// stopwatch tells the time since it was started, in nanoseconds and by the monotonic clock, so that nobody who sets the
// machine's clock changes the record. kit/clock cuts to microseconds, in which two requests can come.
type stopwatch struct{ started time.Time }

func startStopwatch() stopwatch { return stopwatch{time.Now()} } //nolint:forbidigo // for the reason above

func (s stopwatch) now() time.Duration { return time.Since(s.started) }

// wall is a moment as a time of day: that of the start, and what has passed since.
func (s stopwatch) wall(at time.Duration) time.Time { return s.started.Add(at).UTC() }
