package destinations

// State is what was learned at run time.
type State struct{}
