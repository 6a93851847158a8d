package destinations

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Update changes some settings of a destination; nil leaves one as it is. A name never changes: tasks refer to it.
type Update struct {
	OrgID                   ids.ID
	Name                    string
	IfVersion               int64 // 0: whatever it is
	BaseURL                 *string
	Auth                    *Auth
	RateLimits              *[]RateLimit
	MaxConcurrentDispatches *int64
	TimeoutSeconds          *int64
	CircuitBreaker          *CircuitBreaker
	Classifier              *Classifier
	Redact                  *Redact
	AllowPrivateNetworks    *bool
	AllowAbsoluteURLs       *bool
	MaxResponseBytes        *int64
	TLS                     *TLS
	CloudTasksHeaders       *bool
}

const updateSQL = `
	update destination
	set base_url = $3, auth = $4, rate_limits = $5, max_concurrent_dispatches = $6, timeout_seconds = $7, circuit_breaker = $8,
		classifier = $9, redact = $10, allow_private_networks = $11, allow_absolute_urls = $12, max_response_bytes = $13,
		version = $14, updated_at = $15, tls = $16, cloud_tasks_headers = $17
	where org_id = $1 and id = $2`

// Update changes a destination, or returns ErrNotFound, ErrVersion, or ErrInvalid with all that is wrong. All nodes act on
// it within a second. New credentials end a hold for the old ones' sake.
func (d *Destinations) Update(ctx context.Context, tx postgres.Tx, u Update) (Destination, error) {
	found, now, err := d.lock(ctx, tx, u.OrgID, u.Name)
	if err != nil {
		return Destination{}, err
	}
	if u.IfVersion != 0 && u.IfVersion != found.Version {
		return Destination{}, ErrVersion
	}
	before := found
	found.Settings = u.onto(found.Settings).withDefaults()
	if err := d.validate(found.Name, found.Settings); err != nil {
		return Destination{}, err
	}
	raw, err := encodeSettings(found.Settings)
	if err != nil {
		return Destination{}, err
	}
	found.Version, found.UpdatedAt = found.Version+1, now
	found.State.Revision++
	if found.Auth != before.Auth || found.TLS != before.TLS {
		found.State.Auth = AuthHold{}
	}
	if found.CircuitBreaker.Disabled {
		found.State.Breaker = found.State.Breaker.Reset(now)
	}
	var b pgx.Batch
	b.Queue(updateSQL, found.OrgID, found.ID, found.BaseURL, raw.auth, raw.limits, found.MaxConcurrentDispatches, found.TimeoutSeconds,
		raw.breaker, raw.classifier, raw.redact, found.AllowPrivateNetworks, found.AllowAbsoluteURLs, found.MaxResponseBytes,
		found.Version, found.UpdatedAt, raw.tls, found.CloudTasksHeaders)
	queueStates(&b, []Destination{found})
	if err := d.tell(&b, eventUpdated, &found); err != nil {
		return Destination{}, err
	}
	if err := d.announce(&b, []change{{before, found}}, now); err != nil {
		return Destination{}, err
	}
	return found, write(ctx, tx, &b, "update a destination")
}

// onto is the settings with the changes.
func (u Update) onto(s Settings) Settings {
	set(&s.BaseURL, u.BaseURL)
	set(&s.Auth, u.Auth)
	set(&s.RateLimits, u.RateLimits)
	set(&s.MaxConcurrentDispatches, u.MaxConcurrentDispatches)
	set(&s.TimeoutSeconds, u.TimeoutSeconds)
	set(&s.CircuitBreaker, u.CircuitBreaker)
	set(&s.Classifier, u.Classifier)
	set(&s.Redact, u.Redact)
	set(&s.AllowPrivateNetworks, u.AllowPrivateNetworks)
	set(&s.AllowAbsoluteURLs, u.AllowAbsoluteURLs)
	set(&s.MaxResponseBytes, u.MaxResponseBytes)
	set(&s.TLS, u.TLS)
	set(&s.CloudTasksHeaders, u.CloudTasksHeaders)
	return s
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
