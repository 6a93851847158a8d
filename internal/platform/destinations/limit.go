package destinations

import (
	"time"

	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Limit is one key of platform/limits that a request to a destination needs, with its windows as they are now.
type Limit struct {
	Key     limits.Key
	Version int64
	Windows []limits.Window
}

// Limits are all keys that a request of the given limit key needs: the destination's own, and the limit key's.
func (e *Entry) Limits(limitKey string) []Limit { return e.Target().limits(limitKey, e.d.Now()) }

func (t *Target) limits(limitKey string, now time.Time) []Limit {
	var out []Limit
	version := t.limitsVersion(now)
	name := "destination/" + t.Name
	if own := t.windows(now); len(own) > 0 {
		out = append(out, Limit{Key: limits.Key{OrgID: t.OrgID, Name: name}, Version: version, Windows: own})
	}
	if each := windowsOf(t.RateLimits, PerLimitKey, t.State.Learned.Share(now)); len(each) > 0 {
		out = append(out, Limit{Key: limits.Key{OrgID: t.OrgID, Name: name + "/" + limitKey}, Version: version, Windows: each})
	}
	return out
}

// windows are those that all requests count against together.
func (d *Destination) windows(now time.Time) []limits.Window {
	own := windowsOf(d.RateLimits, PerDestination, d.State.Learned.Share(now))
	if d.MaxConcurrentDispatches > 0 {
		own = append(own, limits.Window{Limit: d.MaxConcurrentDispatches})
	}
	// An open breaker has them too, so that all nodes know them before it is half open.
	if d.State.Breaker.Position != BreakerClosed {
		probes := d.State.Breaker.At(now).Probes(d.CircuitBreaker)
		own = append(own, limits.Window{Limit: probes}, limits.Window{Limit: probes, Period: time.Second})
	}
	return own
}

// DispatchRates are how many requests in a second the rate limits allow, as they are configured and as things are: with what was learned,
// with the breaker, and none while the destination is held.
func (d *Destination) DispatchRates(now time.Time) (configured, effective Pace) {
	configured, effective = paceOf(windowsOf(d.RateLimits, PerDestination, wholeShare)), paceOf(d.windows(now))
	if _, held := d.State.Hold(now); held {
		effective = Pace{Limited: true}
	}
	return configured, effective
}

// Pace is a rate that limits something, or not.
type Pace struct {
	PerSecond float64
	Limited   bool
}

// paceOf is the tightest rate of windows.
func paceOf(windows []limits.Window) Pace {
	var out Pace
	for _, w := range windows {
		if rate := float64(w.Limit) / w.Period.Seconds(); w.Period > 0 && (!out.Limited || rate < out.PerSecond) {
			out = Pace{rate, true}
		}
	}
	return out
}

// limitsVersion rises whenever the windows change: with the state's revision, with each step in which the learned share
// grows, and when a ceiling is over.
func (t *Target) limitsVersion(now time.Time) int64 {
	learned := t.State.Learned
	version := t.State.Revision*64 + 2*learned.steps(now) // of which there are at most 20
	if learned.Ceiling != 0 && !learned.ceilingHolds(now) {
		version++
	}
	return version
}

// told is the least share of what is configured that quotas named by the other side come to; 0 when they say nothing about
// any limit of the same period.
func (t *Target) told(quotas []Quota) int64 {
	least := int64(0)
	for _, q := range quotas {
		for _, l := range t.RateLimits {
			if l.Per != PerDestination || time.Duration(l.PeriodSeconds)*time.Second != q.Period {
				continue
			}
			if permille := max(1, min(q.Limit, l.Limit)*wholeShare/l.Limit); least == 0 || permille < least {
				least = permille
			}
		}
	}
	return least
}

// windowsOf translates rate limits. A burst is a window as well: so many within the time in which the pace of the limit
// allows as many. The learned share lowers limits and leaves periods alone: slots cool for as long as they did.
func windowsOf(list []RateLimit, per Scope, permille int64) []limits.Window {
	var out []limits.Window
	for _, l := range list {
		if l.Per != per {
			continue
		}
		period := time.Duration(l.PeriodSeconds) * time.Second
		most := max(1, l.Limit/l.Units)
		out = append(out, limits.Window{Limit: share(permille, most), Period: period})
		if burst := max(1, l.Burst/l.Units); l.Burst > 0 && burst < most {
			pace := time.Duration(float64(period) * float64(burst) / float64(most))
			out = append(out, limits.Window{Limit: share(permille, burst), Period: pace})
		}
	}
	return out
}

// paced is how long our own limits keep us waiting for what is used up. That nothing is left for so long is what using all of a
// limit looks like, and the answer says it in whole seconds: to stop for it would waste most of a limit by the second.
func (t *Target) paced() time.Duration {
	var longest int64
	for _, l := range t.RateLimits {
		longest = max(longest, l.PeriodSeconds+1)
	}
	return time.Duration(longest) * time.Second
}
