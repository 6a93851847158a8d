package destinations

import "time"

// How the learned limit moves: down by three tenths when the other side turns us away though we kept to what was
// configured, up again by a twentieth of that for each quiet stretch (additive increase, multiplicative decrease).
const (
	wholeShare    = 1000 // permille: what was configured
	leastShare    = 10
	growth        = 50
	quietStretch  = 10 * time.Second
	decreasePause = 2 * time.Second // requests under way are turned away together: that is one lesson
)

// Learned is the share of the configured limits that the other side has been seen to bear. Its zero value is all of it.
type Learned struct {
	Permille int64     // right after At; 0 stands for 1000
	At       time.Time // when it was last lowered
}

// Share is the share at a moment, in permille. It grows by the passing of time alone, so nobody has to write it down.
func (l Learned) Share(now time.Time) int64 {
	if l.Permille == 0 {
		return wholeShare
	}
	quiet := max(0, int64(now.Sub(l.At)/quietStretch))
	return min(l.Permille+growth*quiet, wholeShare)
}

// Limited is what is learned from being turned away.
func (l Learned) Limited(now time.Time) Learned {
	if !l.At.IsZero() && now.Sub(l.At) < decreasePause {
		return l
	}
	return Learned{Permille: max(leastShare, l.Share(now)*7/10), At: now}
}

// share applies a share to a limit. It stays a limit: at least one.
func share(permille, limit int64) int64 {
	// In two steps, because the product of a large limit overflows.
	return max(1, limit/wholeShare*permille+limit%wholeShare*permille/wholeShare)
}
