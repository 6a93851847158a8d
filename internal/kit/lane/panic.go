package lane

import "fmt"

// panicError keeps what a batch panicked with, for the log.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }
