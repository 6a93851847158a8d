// Package series bounds how many series of metrics there are where people choose the names.
package series

import "sync"

// Other stands for all names that came too late to have series of their own.
const Other = "other"

// Names bounds the values of a label that people choose: names of queues, of destinations. The first that come keep theirs for as
// long as the process runs, all later ones share Other. Safe for concurrent use.
type Names struct {
	max   int
	mu    sync.RWMutex
	known map[string]struct{}
}

// NewNames makes a label of at most that many names.
func NewNames(most int) *Names { return &Names{max: most, known: map[string]struct{}{}} }

// Of is the label's value for a name.
func (n *Names) Of(name string) string {
	n.mu.RLock()
	_, is := n.known[name]
	full := len(n.known) >= n.max
	n.mu.RUnlock()
	switch {
	case is:
		return name
	case full:
		return Other
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, is := n.known[name]; !is {
		if len(n.known) >= n.max {
			return Other
		}
		n.known[name] = struct{}{}
	}
	return name
}
