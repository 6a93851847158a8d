package schedules

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Rule is a cron expression in a time zone. Pure: it knows no clock.
//
// An expression names readings of the zone's clocks, and the clocks are set forward and back. A reading that is named
// happens once, at the first moment at which the clocks show it or have passed it: what falls into an hour that is left out happens at
// that hour's end, and an hour that is repeated counts the first time. Rules that name every hour are the exception:
// they mean a pace rather than a time of day, and happen whenever the clocks show what they name.
type Rule struct {
	fields    *cron.SpecSchedule // in UTC: applied to readings, not to moments
	zone      *time.Location
	everyHour bool
	every     time.Duration // of @every; then nothing else is set but anchor
	anchor    time.Time
}

// The bounds of @every.
const (
	everyLeast = time.Second
	everyMost  = 366 * 24 * time.Hour
)

// cronLengthMax is enough for six fields that list every value.
const cronLengthMax = 1000

// mistakes are those of a rule: of the expression and of the zone.
type mistakes struct{ cron, zone error }

// ParseRule reads an expression: five fields (minute, hour, day of month, month, day of week) or six, seconds first; or
// @yearly, @monthly, @weekly, @daily, @hourly; or @every with a duration, which is counted from the anchor.
func ParseRule(expression, zone string, anchor time.Time) (*Rule, error) {
	rule, m := parseRule(expression, zone, anchor)
	return rule, errors.Join(m.cron, m.zone)
}

func parseRule(expression, zone string, anchor time.Time) (*Rule, mistakes) {
	var m mistakes
	rule := &Rule{anchor: anchor.UTC().Truncate(time.Second)}
	rule.zone, m.zone = loadZone(zone)
	m.cron = rule.parse(expression)
	if m.cron == nil && m.zone == nil && rule.Next(rule.anchor).IsZero() {
		m.cron = errors.New("names a time that never comes")
	}
	return rule, m
}

// loadZone reads a zone of the IANA database. The machine's own zone has no name: it would be another on each node.
func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" || len(name) > 64 {
		return nil, errors.New("is not a name of the IANA time zone database, such as Europe/Berlin")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not in the IANA time zone database", name)
	}
	return zone, nil
}

func (r *Rule) parse(expression string) error {
	switch {
	case strings.TrimSpace(expression) == "":
		return errors.New("is empty")
	case len(expression) > cronLengthMax:
		return fmt.Errorf("has more than %d characters", cronLengthMax)
	case strings.Contains(expression, "="):
		return errors.New("has a time zone, which belongs in time_zone")
	case strings.Contains(expression, "*-") || strings.Contains(expression, "?-"):
		return errors.New("has a range that begins with * or ?")
	}
	expression = strings.TrimSpace(expression)
	parsed, err := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).
		Parse(expression)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if fields, ok := parsed.(*cron.SpecSchedule); ok {
		const hours = 1<<24 - 1
		fields.Location = time.UTC
		r.fields, r.everyHour = fields, fields.Hour&hours == hours
		return nil
	}
	// The parser rounds what it cannot do; that is told instead.
	r.every, err = time.ParseDuration(strings.TrimSpace(strings.TrimPrefix(expression, "@every ")))
	if err != nil || r.every < everyLeast || r.every > everyMost || r.every%time.Second != 0 {
		return errors.New("@every takes whole seconds, from 1s to 8784h")
	}
	return nil
}

// searchYears is how far Next looks: 29 February comes after eight years at the latest.
const searchYears = 12

// Next is the first tick after a moment; zero if there is none.
func (r *Rule) Next(after time.Time) time.Time {
	if r.every > 0 {
		if after.Before(r.anchor) {
			return r.anchor.Add(r.every)
		}
		return r.anchor.Add((after.Sub(r.anchor)/r.every + 1) * r.every)
	}
	t := after.UTC().Truncate(time.Second).Add(time.Second)
	for end := t.AddDate(searchYears, 0, 0); t.Before(end); {
		s := stretchAt(r.zone, t)
		reading := r.reading(s.from(t, r.everyHour))
		if reading.IsZero() {
			return time.Time{}
		}
		at := later(reading.Add(-s.offset), s.start)
		if s.end.IsZero() || at.Before(s.end) {
			return at
		}
		t = s.end
	}
	return time.Time{}
}

// reading is the first reading at or after one that the fields name. Readings are written as if they were UTC, where no clock is ever
// set.
func (r *Rule) reading(from time.Time) time.Time {
	for year := from.Year(); from.Year() <= year+searchYears; from = time.Date(from.Year()+6, 1, 1, 0, 0, 0, 0, time.UTC) {
		if found := r.fields.Next(from.Add(-time.Second)); !found.IsZero() { // it gives up after five years
			return found
		}
	}
	return time.Time{}
}

// stretch is a time between two changes of a zone's clocks.
type stretch struct {
	start, end time.Time // zero: since and for ever
	offset     time.Duration
	zone       *time.Location
}

func stretchAt(zone *time.Location, t time.Time) stretch {
	local := t.In(zone)
	start, end := local.ZoneBounds()
	_, seconds := local.Zone()
	if !end.IsZero() && !end.After(t) {
		// Beyond the changes that are listed, Go takes every year's end for that of 365 days.
		end = t.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	}
	return stretch{start: start.UTC(), end: end.UTC(), offset: time.Duration(seconds) * time.Second, zone: zone}
}

// from is the first reading that can happen at or after a moment of the stretch.
func (s stretch) from(t time.Time, everyHour bool) time.Time {
	shown := t.Add(s.offset)
	if everyHour || s.start.IsZero() {
		return shown
	}
	if t.Equal(s.start) {
		return s.passed()
	}
	return later(shown, s.passed())
}

// passedWithin is how far back clocks are followed for readings that they have passed: no clock was ever set back by more.
const passedWithin = 48 * time.Hour

// passed is the first reading that the clocks have not passed when the stretch begins.
func (s stretch) passed() time.Time {
	var passed time.Time
	for end := s.start; s.start.Sub(end) < passedWithin; {
		before := stretchAt(s.zone, end.Add(-time.Second))
		passed = later(passed, end.Add(before.offset))
		if before.start.IsZero() {
			break
		}
		end = before.start
	}
	return passed
}

// latest are the last n ticks after one moment and not after another, oldest first.
func (r *Rule) latest(after, until time.Time, n int) []time.Time {
	for width := time.Hour; ; width *= 8 {
		from := later(after, until.Add(-width))
		var found []time.Time
		for at := r.Next(from); !at.IsZero() && !at.After(until); at = r.Next(at) {
			if len(found) == 2*n {
				found = append(found[:0], found[n:]...)
			}
			found = append(found, at)
		}
		if len(found) >= n || !from.After(after) {
			return found[max(0, len(found)-n):]
		}
	}
}
