package schedules

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"
)

// oracle finds a rule's ticks by looking at every minute of a time, as somebody would who watches the zone's clock.
func oracle(t testing.TB, expression, zone string, from, until time.Time) []time.Time {
	t.Helper()
	parsed, err := cron.ParseStandard(expression)
	if err != nil {
		t.Fatal(err)
	}
	fields, place := parsed.(*cron.SpecSchedule), load(t, zone)
	everyHour := true
	for hour := range 24 {
		everyHour = everyHour && fields.Hour&(1<<hour) != 0
	}
	var ticks []time.Time
	var highest time.Time // the latest reading so far, as if in UTC
	// Two days before are watched for what the clock has shown already.
	for at := from.Add(-48 * time.Hour); at.Before(until); at = at.Add(time.Minute) {
		y, m, d := at.In(place).Date()
		shown := time.Date(y, m, d, at.In(place).Hour(), at.In(place).Minute(), 0, 0, time.UTC)
		named := false
		switch {
		case everyHour:
			named = names(fields, shown)
		case highest.IsZero():
		default:
			for reading := highest.Add(time.Minute); !reading.After(shown); reading = reading.Add(time.Minute) {
				named = named || names(fields, reading)
			}
		}
		highest = later(highest, shown)
		if named && !at.Before(from) {
			ticks = append(ticks, at)
		}
	}
	return ticks
}

func names(f *cron.SpecSchedule, t time.Time) bool {
	const star = 1 << 63
	day, weekday := f.Dom&(1<<t.Day()) != 0, f.Dow&(1<<t.Weekday()) != 0
	onDay := day || weekday
	if f.Dom&star != 0 || f.Dow&star != 0 {
		onDay = day && weekday
	}
	return onDay && f.Month&(1<<t.Month()) != 0 && f.Hour&(1<<t.Hour()) != 0 && f.Minute&(1<<t.Minute()) != 0
}

func load(t testing.TB, zone string) *time.Location {
	t.Helper()
	place, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func all(t testing.TB, expression, zone string, from, until time.Time) []time.Time {
	t.Helper()
	rule, err := ParseRule(expression, zone, from)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	var ticks []time.Time
	for at := rule.Next(from.Add(-time.Second)); !at.IsZero() && at.Before(until); at = rule.Next(at) {
		ticks = append(ticks, at)
	}
	return ticks
}

// watched are zones with the days around the changes of their clocks, and days without.
func watched() map[string][]string {
	return map[string][]string{
		"Europe/Berlin":              {"2026-03-28", "2026-10-24", "2026-07-01", "2040-12-29"},
		"America/New_York":           {"2026-03-07", "2026-10-31", "2026-01-30"},
		"Australia/Lord_Howe":        {"2026-04-04", "2026-10-03"}, // by half an hour
		"America/St_Johns":           {"2009-03-07", "2009-10-31"}, // at one minute past midnight
		"America/Sao_Paulo":          {"2018-02-17", "2018-11-03"}, // at midnight, which is left out
		"Africa/Casablanca":          {"2026-02-14", "2026-03-21"}, // for a month
		"Pacific/Apia":               {"2011-12-29"},               // a whole day is left out
		"Antarctica/Troll":           {"2026-03-28", "2026-10-24"}, // by two hours
		"Asia/Kathmandu":             {"2026-03-28", "1985-12-31"},
		"America/Argentina/San_Luis": {"2009-10-10", "2008-01-19"},
		"UTC":                        {"2026-03-28", "2024-02-28"},
	}
}

func TestTicksAreThoseThatSomebodySeesOnTheClock(t *testing.T) {
	t.Parallel()
	expressions := []string{
		"* * * * *", "*/15 * * * *", "30 * * * *", "0 0-23 * * *", "30 2 * * *", "0 2 * * *", "0,30 1-3 * * *", "*/15 2 * * *", "59 23 * * *", "0 0 * * *",
		"15 0,1,2,3 * * *", "0 */2 * * *", "0 */3 * * *", "45 1 * * 0", "15 2 29 3 *", "0 12 1 * *", "1 0 * * sun", "0 3 25 10 6", "@hourly", "@daily", "@weekly", "@monthly",
	}
	for zone, days := range watched() {
		for _, day := range days {
			from, err := time.Parse(time.DateOnly, day)
			if err != nil {
				t.Fatal(err)
			}
			until := from.Add(5 * 24 * time.Hour)
			for _, expression := range expressions {
				want, got := oracle(t, expression, zone, from, until), all(t, expression, zone, from, until)
				if !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Errorf("%s in %s from %s:\n got %v\nwant %v", expression, zone, day, got, want)
				}
			}
		}
	}
}

func TestAnyRuleTicksAsSeenOnTheClock(t *testing.T) {
	t.Parallel()
	field := func(r *rapid.T, name string, low, high int) string {
		switch rapid.IntRange(0, 4).Draw(r, name) {
		case 0:
			return fmt.Sprint(rapid.IntRange(low, high).Draw(r, "value"))
		case 1:
			first := rapid.IntRange(low, high).Draw(r, "first")
			return fmt.Sprintf("%d-%d", first, rapid.IntRange(first, high).Draw(r, "last"))
		case 2:
			return fmt.Sprintf("*/%d", rapid.IntRange(1, high).Draw(r, "step"))
		case 3:
			return fmt.Sprintf("%d,%d", rapid.IntRange(low, high).Draw(r, "one"), rapid.IntRange(low, high).Draw(r, "other"))
		}
		return "*"
	}
	zones := watched()
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu", "Antarctica/Troll"}).Draw(r, "zone")
		from, _ := time.Parse(time.DateOnly, rapid.SampledFrom(zones[zone]).Draw(r, "day"))
		expression := field(r, "minute", 0, 59) + " " + field(r, "hour", 0, 23) + " " +
			rapid.SampledFrom([]string{"* * *", "* * 0", "29 3 *", "* 3,4,10,11 *", "25,28 * 6"}).Draw(r, "days")
		until := from.Add(3 * 24 * time.Hour)
		if _, err := ParseRule(expression, zone, from); err != nil {
			return // a day that never comes
		}
		want, got := oracle(t, expression, zone, from, until), all(t, expression, zone, from, until)
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			r.Fatalf("%s in %s from %s:\n got %v\nwant %v", expression, zone, from, got, want)
		}
	})
}

func TestTheDaysOnWhichClocksAreSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expression, zone, from, until string
		want                          []string
	}{
		// Berlin, 29 March 2026: 02:00 becomes 03:00. 25 October: 03:00 becomes 02:00.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z", []string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T20:00:00Z", []string{"2026-03-29T03:00:00+02:00"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", "2026-10-25T02:45:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
		{"30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", "2026-03-29T02:15:00Z", []string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"30 1 1 11 *", "America/New_York", "2026-10-31T00:00:00Z", "2027-11-30T00:00:00Z", []string{"2026-11-01T01:30:00-04:00", "2027-11-01T01:30:00-04:00"}},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T16:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T16:00:00Z", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"0 12 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z", "2013-01-01T00:00:00Z", []string{"2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"}},
		{"0 5 29 2 *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z", []string{"2028-02-29T05:00:00+05:45", "2032-02-29T05:00:00+05:45"}},
		{"0 5 29 2 *", "Europe/Berlin", "2037-01-01T00:00:00Z", "2050-01-01T00:00:00Z", []string{"2040-02-29T05:00:00+01:00", "2044-02-29T05:00:00+01:00", "2048-02-29T05:00:00+01:00"}},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2105-01-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"*/20 59 23 31 12 *", "UTC", "2026-01-01T00:00:00Z", "2027-02-01T00:00:00Z", []string{"2026-12-31T23:59:00Z", "2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z"}},
		{"@every 90m", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T04:00:00Z", []string{"2026-03-29T01:30:00Z", "2026-03-29T03:00:00Z"}},
	} {
		from, _ := time.Parse(time.RFC3339, c.from)
		until, _ := time.Parse(time.RFC3339, c.until)
		var got []string
		for i, at := range all(t, c.expression, c.zone, from, until) {
			place := load(t, c.zone)
			if i < len(c.want) && c.want[i][len(c.want[i])-1] == 'Z' {
				place = time.UTC
			}
			got = append(got, at.In(place).Format(time.RFC3339))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s in %s:\n got %v\nwant %v", c.expression, c.zone, got, c.want)
		}
	}
}

// From wherever it is asked, a rule has the same next tick, and the last ones are those that come one after the other.
func TestARuleIsTheSameFromEverywhere(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
	until := from.Add(3 * 24 * time.Hour)
	for _, expression := range []string{"17 */5 * * *", "30 2 * * *", "* * * * *", "@every 7m", "10 10 10 * * *"} {
		rule, err := ParseRule(expression, "Europe/Berlin", from)
		if err != nil {
			t.Fatal(err)
		}
		ticks := all(t, expression, "Europe/Berlin", from, until)
		rapid.Check(t, func(r *rapid.T) {
			at := from.Add(time.Duration(rapid.Int64Range(0, int64(until.Sub(from))).Draw(r, "at")))
			i, found := slices.BinarySearchFunc(ticks, at, time.Time.Compare)
			if found {
				i++
			}
			if i < len(ticks) && !rule.Next(at).Equal(ticks[i]) {
				r.Fatalf("%s: after %s comes %s, want %s", expression, at, rule.Next(at), ticks[i])
			}
			n := rapid.IntRange(1, 50).Draw(r, "n")
			if got, want := rule.latest(from, at, n), ticks[max(0, i-n):i]; !slices.EqualFunc(got, want, time.Time.Equal) &&
				ticks[0].After(from) {
				r.Fatalf("%s: the last %d until %s are %v, want %v", expression, n, at, got, want)
			}
		})
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		"", " ", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "TZ=UTC * * * * *", "CRON_TZ=UTC",
		"TZ=UTC", "0 0 30 2 *", "0 0 31 4,6 *", ", * * * *", "*-5 * * * *", "5-1 * * * *", "*/0 * * * *", "@reboot", "@every", "@every 0s", "@every -1h", "@every 500ms",
		"@every 1m500ms", "@every 9000h", "x * * * *", "\x00 * * * *",
	} {
		if _, err := ParseRule(expression, "UTC", time.Time{}); err == nil {
			t.Errorf("%q is taken", expression)
		}
	}
	for _, zone := range []string{"", "Local", "Europe/Bielefeld", "../etc/passwd", "CEST2", "Europe/Berlin\x00"} {
		if _, err := ParseRule("@daily", zone, time.Time{}); err == nil {
			t.Errorf("the zone %q is taken", zone)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/5 1-3 ? jan-mar mon", "@every 1h", "0 0 29 2 *", "1 2 3 4 5 6", "TZ=x"} {
		f.Add(seed)
	}
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, expression string) {
		rule, err := ParseRule(expression, "Europe/Berlin", at)
		if err != nil {
			return
		}
		last := at
		for range 5 {
			next := rule.Next(last)
			if !next.After(last) || next.Nanosecond() != 0 {
				t.Fatalf("%q: after %s comes %s", expression, last, next)
			}
			last = next
		}
	})
}
