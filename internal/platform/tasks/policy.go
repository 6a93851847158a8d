package tasks

import "time"

// Policy says how often and when a kind of tasks is tried again, unless a queue or a task says otherwise. Zero fields take the defaults named beside them.
type Policy struct {
	MaxAttempts int           // the first included; 20; below zero: no bound
	MinBackoff  time.Duration // after the first failure; doubles with each further one; 1 s
	MaxBackoff  time.Duration // 1 h
	Jitter      float64       // share of the pause by which it varies either way; 0.2; below zero: none
	Timeout     time.Duration // bound on one attempt; 5 min
	LostMax     int           // leases lost one after the other, from which on the task is poison; 3; below zero: it is seen through, and nobody can cancel it
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

// retry is the policy as a retry configuration.
func (p Policy) retry() RetryConfig {
	return RetryConfig{
		MaxAttempts: max(p.MaxAttempts, -1), MinBackoff: p.MinBackoff, MaxBackoff: p.MaxBackoff, MaxDoublings: retryDoublingsMax, Jitter: max(p.Jitter, 0),
	}
}

// exhausted tells whether that many attempts are all that is allowed.
func (c *RetryConfig) exhausted(attempts int) bool {
	return c.MaxAttempts >= 0 && attempts >= c.MaxAttempts
}
