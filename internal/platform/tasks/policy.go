package tasks

import "time"

// Policy says how often and when a task is tried again. Zero fields take the defaults named beside them.
type Policy struct {
	MaxAttempts int           // the first included; 20; below zero: no bound
	MinBackoff  time.Duration // after the first failure; doubles with each further one; 1 s
	MaxBackoff  time.Duration // 1 h
	Jitter      float64       // share of the pause by which it varies either way; 0.2; below zero: none
	Timeout     time.Duration // bound on one attempt; 5 min
	LostMax     int           // leases lost one after the other, from which on the task is poison; 3; below zero: no bound
}

func (p Policy) withDefaults() Policy {
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 20
	}
	if p.MinBackoff == 0 {
		p.MinBackoff = time.Second
	}
	if p.MaxBackoff == 0 {
		p.MaxBackoff = time.Hour
	}
	if p.Jitter == 0 {
		p.Jitter = 0.2
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Minute
	}
	if p.LostMax == 0 {
		p.LostMax = 3
	}
	return p
}

// exhausted tells whether that many attempts are all the policy allows.
func (p Policy) exhausted(attempts int) bool { return p.MaxAttempts > 0 && attempts >= p.MaxAttempts }

// next is how long to wait after that many attempts, all failed, or why there is no other.
func (p Policy) next(attempts int, _ time.Duration, chance float64) (pause time.Duration, dead string) {
	if p.exhausted(attempts) {
		return 0, DeadMaxAttempts
	}
	return p.pause(attempts, chance), ""
}

// pause is how long to wait after that many attempts, all failed; chance is from [0, 1) and spreads tasks that failed
// together.
func (p Policy) pause(attempts int, chance float64) time.Duration {
	d := p.MinBackoff
	for range attempts - 1 {
		if d >= p.MaxBackoff/2 {
			d = p.MaxBackoff
			break
		}
		d *= 2
	}
	if p.Jitter > 0 {
		d += time.Duration(float64(d) * p.Jitter * (2*chance - 1))
	}
	return min(d, p.MaxBackoff)
}
