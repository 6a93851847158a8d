package mockapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/badserver"
)

// plan is what becomes of a request that was let in.
type plan struct {
	fault      string        // its name in the record; empty: none
	effect     effect        // what is done
	late       time.Duration // before the effect
	delay      time.Duration // before the answer
	ending     ending
	hangFor    time.Duration
	status     int           // of the answer; 0: as the request deserves
	retryAfter time.Duration // said by the answer; 0: nothing is said
}

// effect is what a request does.
type effect uint8

const (
	effectDue   effect = iota // once for its idempotency key, if its method has effects
	effectNone                // nothing
	effectOnce                // once for its idempotency key, whatever its method
	effectAgain               // also when its idempotency key was seen before
)

// ending is how a request ends.
type ending uint8

const (
	endAnswer ending = iota
	endDrop          // the connection is reset
	endHang          // nothing comes
)

// plan decides what a request suffers.
func (f *Faults) plan(identity string, nth int) plan {
	c := badserver.Draw(f.Seed, identity, uint64(nth))
	at := c.Share()
	p := plan{delay: f.Latency.of(&c)}
	for _, name := range f.names() {
		if share := f.Shares[name]; at >= share {
			at -= share
			continue
		}
		f.inflict(&p, name)
		break
	}
	return p
}

// inflict turns a plan into one with the named fault.
func (f *Faults) inflict(p *plan, fault string) {
	p.fault = fault
	switch fault {
	case faultRateLimited:
		p.status, p.effect, p.retryAfter = http.StatusTooManyRequests, effectNone, f.RetryAfter
	case faultErrorAfter:
		p.status = http.StatusInternalServerError
	case faultDropBefore:
		p.ending, p.effect = endDrop, effectNone
	case faultDropAfter:
		p.ending = endDrop
	case faultHangBefore:
		p.ending, p.effect, p.hangFor = endHang, effectNone, f.HangFor
	case faultHangAfter:
		p.ending, p.hangFor = endHang, f.HangFor
	case faultLateEffect:
		p.late = f.LateFor
	case faultDuplicateEffect:
		p.effect = effectAgain
	default:
		p.status, _ = statusOf(fault)
		p.effect = effectNone
		if p.status == http.StatusTooManyRequests || p.status == http.StatusServiceUnavailable {
			p.retryAfter = f.RetryAfter
		}
	}
}

// overridePrefix begins the headers by which a request says itself what becomes of it.
const overridePrefix = "X-Mock-"

// overrideMax bounds the times of an override.
const overrideMax = 10 * time.Minute

// override is what a request says about itself, by header or at the beginning of its path.
type override struct {
	given bool
	times int // how many arrivals of the key it is for; 0: all
	plan  plan
}

// overrideNames are the words of an override, as headers (X-Mock-Status: 503) and in paths (/status/503).
func overrideNames() []string {
	return []string{"status", "delay", "drop", "hang", "effect", "late", "retry-after", "times"}
}

// readOverride takes the override off a request: what is left of its path, and what was asked for. All mistakes are
// reported at once.
func readOverride(r *http.Request, hangFor time.Duration) (rest string, o override, err error) {
	o.plan.hangFor = hangFor
	var problems []error
	for _, name := range overrideNames() {
		if value := r.Header.Get(overridePrefix + name); value != "" {
			problems = append(problems, o.set(name, value))
		}
	}
	rest = r.URL.EscapedPath()
	for {
		name, more, found := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if !found || !isOverride(name) {
			break
		}
		value, after, _ := strings.Cut(more, "/")
		problems = append(problems, o.set(name, value))
		rest = "/" + after
	}
	if rest, err = url.PathUnescape(rest); err != nil {
		problems = append(problems, err)
	}
	if o.given {
		o.plan.fault = "asked_for"
	}
	return rest, o, errors.Join(problems...)
}

func isOverride(name string) bool {
	for _, known := range overrideNames() {
		if name == known {
			return true
		}
	}
	return false
}

func (o *override) set(name, value string) error {
	o.given = true
	ok := true
	switch name {
	case "status":
		status, err := strconv.Atoi(value)
		ok = err == nil && status >= 200 && status <= 599
		o.plan.status = status
		if status >= 300 && o.plan.effect == effectDue {
			o.plan.effect = effectNone
		}
	case "delay":
		o.plan.delay, ok = overrideTime(value)
	case "late":
		o.plan.late, ok = overrideTime(value)
	case "retry-after":
		o.plan.retryAfter, ok = overrideTime(value)
	case "drop":
		o.plan.ending = endDrop
		ok = o.plan.around(value)
	case "hang":
		o.plan.ending = endHang
		ok = o.plan.around(value)
	case "effect":
		ok = o.plan.say(value)
	case "times":
		times, err := strconv.Atoi(value)
		o.times, ok = times, err == nil && times >= 1
	}
	if ok {
		return nil
	}
	return fmt.Errorf("%s %q: want %s", name, value, overrideForm(name))
}

// around is whether a drop or a hang comes before or after the effect.
func (p *plan) around(value string) bool {
	if value == "before" {
		p.effect = effectNone
	}
	return value == "before" || value == "after"
}

func (p *plan) say(value string) bool {
	effects := map[string]effect{"none": effectNone, "once": effectOnce, "again": effectAgain}
	said, ok := effects[value]
	p.effect = said
	return ok
}

func overrideForm(name string) string {
	switch name {
	case "status":
		return "200 to 599"
	case "drop", "hang":
		return "before or after (the effect)"
	case "effect":
		return "none, once or again"
	case "times":
		return "how many of the key's requests it is for, 1 or more"
	default:
		return "a time up to " + shortDuration(overrideMax) + ", such as 250ms; a number alone means seconds"
	}
}

// overrideTime reads a time; a number alone means seconds, as in Retry-After.
func overrideTime(text string) (time.Duration, bool) {
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0 && d <= overrideMax
}
