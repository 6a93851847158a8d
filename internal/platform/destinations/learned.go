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
	ceilingLasts  = 10 * time.Minute
	ceilingAgain  = time.Minute // a ceiling that is told with every answer is written down once in a while
)

// Learned is the share of the configured limits that the other side has been seen to bear, or said it bears. Its zero
// value is all of it.
type Learned struct {
	Permille  int64     // right after At; 0 stands for 1000
	At        time.Time // when it was last lowered
	Ceiling   int64     // permille; 0: the other side has named no lower quota
	CeilingAt time.Time // when it did
}

// Share is the share at a moment, in permille. It grows by the passing of time alone, so nobody has to write it down.
func (l Learned) Share(now time.Time) int64 {
	if l.ceilingHolds(now) {
		return min(l.grown(now), l.Ceiling)
	}
	return l.grown(now)
}

// grown is the share without the ceiling.
func (l Learned) grown(now time.Time) int64 {
	if l.Permille == 0 {
		return wholeShare
	}
	return min(l.Permille+growth*l.steps(now), wholeShare)
}

// steps is how often the share has grown, until it was whole.
func (l Learned) steps(now time.Time) int64 {
	if l.Permille == 0 {
		return 0
	}
	needed := (wholeShare - l.Permille + growth - 1) / growth
	return min(max(0, int64(now.Sub(l.At)/quietStretch)), needed)
}

func (l Learned) ceilingHolds(now time.Time) bool {
	return l.Ceiling != 0 && now.Sub(l.CeilingAt) < ceilingLasts
}

// Told is what is learned from a quota that the other side names, as a share of what is configured.
func (l Learned) Told(permille int64, now time.Time) Learned {
	permille = min(max(permille, leastShare), wholeShare)
	switch {
	case permille == wholeShare:
		l.Ceiling, l.CeilingAt = 0, time.Time{}
	case permille != l.Ceiling || now.Sub(l.CeilingAt) >= ceilingAgain:
		l.Ceiling, l.CeilingAt = permille, now
	}
	return l
}

// Limited is what is learned from being turned away.
func (l Learned) Limited(now time.Time) Learned {
	if !l.At.IsZero() && now.Sub(l.At) < decreasePause {
		return l
	}
	l.Permille, l.At = max(leastShare, l.Share(now)*7/10), now
	return l
}

// share applies a share to a limit. It stays a limit: at least one.
func share(permille, limit int64) int64 {
	// In two steps, because the product of a large limit overflows.
	return max(1, limit/wholeShare*permille+limit%wholeShare*permille/wholeShare)
}
