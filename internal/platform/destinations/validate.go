package destinations

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/fault"
)

// The bounds of settings.
const (
	rateLimitsMax  = 10
	limitMax       = 1_000_000_000
	periodMax      = 366 * 24 * 3600
	overridesMax   = 100
	redactionsMax  = 100
	concurrencyMax = 100_000
)

// nameForm is that of a destination's name and of a rate limit's.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

// problems collects everything that is wrong.
type problems []fault.Problem

func (p *problems) add(param, detail string, args ...any) {
	*p = append(*p, fault.Problem{Param: param, Detail: fmt.Sprintf(detail, args...)})
}

// between wants a number within bounds.
func (p *problems) between(param string, value, least, most int64) {
	if value < least || value > most {
		p.add(param, "It must be between %d and %d.", least, most)
	}
}

// fault is ErrInvalid with all problems, or nil.
func (p problems) fault() error {
	if len(p) == 0 {
		return nil
	}
	f := *ErrInvalid
	f.Params = p
	if len(p) == 1 {
		f.Param, f.Detail = p[0].Param, p[0].Detail
	}
	return &f
}

// withDefaults fills in what was left out.
func (s Settings) withDefaults() Settings {
	if s.Auth.Type == "" && s.Auth == (Auth{}) {
		s.Auth.Type = AuthNone
	}
	if s.Auth.Type == AuthHMAC && s.Auth.Scheme == "" {
		s.Auth.Scheme = SchemeTimestampBody
	}
	if s.TimeoutSeconds == 0 {
		s.TimeoutSeconds = TimeoutSecondsDefault
	}
	if s.MaxResponseBytes == 0 {
		s.MaxResponseBytes = MaxResponseBytesDefault
	}
	if s.Classifier == nil {
		s.Classifier = Classifier{}
	}
	s.RateLimits = append([]RateLimit{}, s.RateLimits...)
	for i := range s.RateLimits {
		l := &s.RateLimits[i]
		if l.Per == "" {
			l.Per = PerDestination
		}
		if l.Units == 0 {
			l.Units = 1
		}
	}
	b, normal := &s.CircuitBreaker, BreakerDefault()
	for _, pair := range [][2]*int64{
		{&b.WindowSeconds, &normal.WindowSeconds},
		{&b.MinimumRequestCount, &normal.MinimumRequestCount},
		{&b.BreakerTimeoutSeconds, &normal.BreakerTimeoutSeconds},
		{&b.BreakerTimeoutSecondsMax, &normal.BreakerTimeoutSecondsMax},
		{&b.ProbesMax, &normal.ProbesMax},
		{&b.SuccessThreshold, &normal.SuccessThreshold},
	} {
		if *pair[0] == 0 {
			*pair[0] = *pair[1]
		}
	}
	if b.FailureThreshold == 0 {
		b.FailureThreshold = normal.FailureThreshold
	}
	return s
}

// validate tells everything that is wrong with a destination's name and settings.
func (d *Destinations) validate(name string, s Settings) error {
	var p problems
	if !nameForm.MatchString(name) {
		p.add("name", "A name has 1 to 100 letters, digits and hyphens.")
	}
	d.validateURL(&p, "base_url", s.BaseURL, s.AllowPrivateNetworks)
	d.validateAuth(&p, s)
	if strings.HasPrefix(strings.ToLower(s.BaseURL), "http:") && s.Auth.Type != AuthNone && !s.AllowPrivateNetworks {
		p.add("base_url", "Over http anybody on the way could read the credentials. Use https.")
	}
	d.validateTLS(&p, s)
	validateLimits(&p, s.RateLimits)
	p.between("max_concurrent_dispatches", s.MaxConcurrentDispatches, 0, concurrencyMax)
	p.between("timeout_seconds", s.TimeoutSeconds, 1, TimeoutSecondsMax)
	p.between("max_response_bytes", s.MaxResponseBytes, 1, MaxResponseBytesMax)
	validateBreaker(&p, s.CircuitBreaker)
	validateClassifier(&p, s.Classifier)
	validateRedact(&p, s.Redact)
	return p.fault()
}

// validateURL wants https, or http inside private networks, and no address that would be refused later.
func (d *Destinations) validateURL(p *problems, param, text string, private bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || len(text) > URLBytesMax {
		p.add(param, "It must be a URL of at most %d characters that begins with https:// or http:// and has a host.", URLBytesMax)
		return
	}
	if u.User != nil {
		p.add(param, "Credentials belong into auth, not into a URL.")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		p.add(param, "It may have no query and no fragment.")
	}
	if hasDots(u.EscapedPath()) {
		p.add(param, "Its path may have no segments of dots.")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			p.add(param, "Its port must be between 1 and 65535.")
		}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := d.policy(private).Check(addr); err != nil {
			p.add(param, "%s. Set allow_private_networks where that is meant.", capital(err.Error()))
		}
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func validateLimits(p *problems, limits []RateLimit) {
	if len(limits) > rateLimitsMax {
		p.add("rate_limits", "There may be at most %d.", rateLimitsMax)
		return
	}
	seen := map[string]bool{}
	for i, l := range limits {
		at := fmt.Sprintf("rate_limits/%d/", i)
		if !nameForm.MatchString(l.Name) || seen[l.Name] {
			p.add(at+"name", "A name has 1 to 100 letters, digits and hyphens, and no other limit may have it.")
		}
		seen[l.Name] = true
		p.between(at+"limit", l.Limit, 1, limitMax)
		p.between(at+"period_seconds", l.PeriodSeconds, 1, periodMax)
		p.between(at+"burst", l.Burst, 0, max(0, l.Limit))
		p.between(at+"units", l.Units, 1, max(1, l.Limit))
		if l.Per != PerDestination && l.Per != PerLimitKey {
			p.add(at+"per", "It is destination or limit_key.")
		}
	}
}

func validateBreaker(p *problems, b CircuitBreaker) {
	p.between("circuit_breaker/window_seconds", b.WindowSeconds, 1, 3600)
	p.between("circuit_breaker/minimum_request_count", b.MinimumRequestCount, 1, 1_000_000)
	p.between("circuit_breaker/breaker_timeout_seconds", b.BreakerTimeoutSeconds, 1, 86_400)
	p.between("circuit_breaker/breaker_timeout_seconds_max", b.BreakerTimeoutSecondsMax, max(1, b.BreakerTimeoutSeconds), 86_400)
	p.between("circuit_breaker/probes_max", b.ProbesMax, 1, 1000)
	p.between("circuit_breaker/success_threshold", b.SuccessThreshold, 1, 1000)
	if !(b.FailureThreshold > 0 && b.FailureThreshold <= 1) {
		p.add("circuit_breaker/failure_threshold", "It must be above 0 and at most 1.")
	}
}

func validateClassifier(p *problems, c Classifier) {
	if len(c) > overridesMax {
		p.add("classifier", "There may be at most %d entries.", overridesMax)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if !isClassified(key) {
			p.add("classifier/"+cut(key, 60), "A key is a status such as 409, a class such as 5xx, or one of timed_out, connection_broken, response_malformed.")
		}
		if !slices.Contains(classes(), c[key]) {
			p.add("classifier/"+cut(key, 60), "A value is one of succeeded, retry, dead_letter, hold, rate_limited, destination_rate_limited, unknown.")
		}
	}
}

// isClassified tells whether a classifier may speak about it.
func isClassified(key string) bool {
	if slices.Contains(classifiedFailures(), egress.Failure(key)) {
		return true
	}
	if len(key) != 3 || key[0] < '1' || key[0] > '9' {
		return false
	}
	rest := key[1:]
	return rest == "xx" || rest[0] >= '0' && rest[0] <= '9' && rest[1] >= '0' && rest[1] <= '9'
}

func validateRedact(p *problems, r Redact) {
	if len(r.Pointers) > redactionsMax || len(r.Headers) > redactionsMax {
		p.add("redact", "There may be at most %d pointers and as many headers.", redactionsMax)
		return
	}
	for i, pointer := range r.Pointers {
		if _, ok := pointerSegments(pointer); !ok || len(pointer) > 1000 {
			p.add(fmt.Sprintf("redact/pointers/%d", i), "It is no JSON pointer, such as /card/number.")
		}
	}
	for i, name := range r.Headers {
		if !isToken(name) {
			p.add(fmt.Sprintf("redact/headers/%d", i), "It is no name of a header.")
		}
	}
}
