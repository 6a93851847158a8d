package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/kontorhq/kontor/internal/kit/paging"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

const destinationsPath = "/v1/destinations/"

// shownDestination is a Destination of the contract.
type shownDestination struct {
	Name                    string                   `json:"name"`
	BaseURL                 string                   `json:"base_url"`
	Auth                    destinations.Auth        `json:"auth"`
	RateLimits              []destinations.RateLimit `json:"rate_limits"`
	MaxConcurrentDispatches int64                    `json:"max_concurrent_dispatches"`
	TimeoutSeconds          int64                    `json:"timeout_seconds"`
	CircuitBreaker          CircuitBreaker           `json:"circuit_breaker"`
	Classifier              destinations.Classifier  `json:"classifier"`
	Redact                  destinations.Redact      `json:"redact"`
	AllowPrivateNetworks    bool                     `json:"allow_private_networks"`
	AllowAbsoluteURLs       bool                     `json:"allow_absolute_urls"`
	MaxResponseBytes        int64                    `json:"max_response_bytes"`
	TLS                     destinations.TLS         `json:"tls"`
	CloudTasksHeaders       bool                     `json:"cloud_tasks_headers"`
	Version                 int64                    `json:"version"`
	CreatedAt               stamp                    `json:"created_at"`
	UpdatedAt               stamp                    `json:"updated_at"`
	Hold                    *shownHold               `json:"hold"`
	Breaker                 string                   `json:"breaker"`
	LearnedPermille         int64                    `json:"learned_permille"`
	ConfiguredDispatchRate  *float64                 `json:"configured_dispatch_rate"`
	EffectiveDispatchRate   *float64                 `json:"effective_dispatch_rate"`
	HeldLimitKeys           *[]shownKeyHold          `json:"held_limit_keys,omitempty"`
}

// heldKeysShown is how many limit keys that are held are shown with their destination.
const heldKeysShown = 100

type shownKeyHold struct {
	LimitKey string   `json:"limit_key"`
	Until    stamp    `json:"until"`
	Detail   nullable `json:"detail"`
}

type shownHold struct {
	Reason string   `json:"reason"`
	Until  stamp    `json:"until"`
	Detail nullable `json:"detail"`
}

func showDestination(d *destinations.Destination, now time.Time) shownDestination {
	b := d.CircuitBreaker
	percent := int32(b.FailureThreshold*100 + 0.5) //nolint:gosec // at most 100
	out := shownDestination{
		Name: d.Name, BaseURL: d.BaseURL, Auth: d.Auth, RateLimits: d.RateLimits, MaxConcurrentDispatches: d.MaxConcurrentDispatches,
		TimeoutSeconds: d.TimeoutSeconds, Classifier: d.Classifier, Redact: d.Redact, AllowPrivateNetworks: d.AllowPrivateNetworks,
		AllowAbsoluteURLs: d.AllowAbsoluteURLs, MaxResponseBytes: d.MaxResponseBytes, TLS: d.TLS,
		CloudTasksHeaders: d.CloudTasksHeaders, Version: d.Version, CreatedAt: stamp(d.CreatedAt),
		UpdatedAt: stamp(d.UpdatedAt), Breaker: string(d.State.Breaker.At(now).Position), LearnedPermille: d.State.Learned.Share(now),
		CircuitBreaker: CircuitBreaker{
			Disabled: &b.Disabled, WindowSeconds: &b.WindowSeconds, MinimumRequestCount: &b.MinimumRequestCount, FailureThresholdPercent: &percent,
			BreakerTimeoutSeconds: &b.BreakerTimeoutSeconds, BreakerTimeoutSecondsMax: &b.BreakerTimeoutSecondsMax, ProbesMax: &b.ProbesMax,
			SuccessThreshold: &b.SuccessThreshold,
		},
	}
	configured, effective := d.DispatchRates(now)
	out.ConfiguredDispatchRate = rounded(configured.PerSecond, configured.Limited)
	out.EffectiveDispatchRate = rounded(effective.PerSecond, effective.Limited)
	if hold, is := d.State.Hold(now); is {
		out.Hold = &shownHold{string(hold.Reason), stamp(hold.Until), nullable(hold.Detail)}
	}
	return out
}

// rounded is a rate for people, or null: what comes after its sixth decimal is no news to them.
func rounded(perSecond float64, known bool) *float64 {
	if !known {
		return nil
	}
	const millionths = 1e6
	shown := math.Round(perSecond*millionths) / millionths
	return &shown
}

// destinationCommand carries out a command whose answer is the destination.
func (s *Server) destinationCommand(ctx context.Context, status int, body func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error)) (reply, error) {
	return s.once(ctx, status, func(ctx context.Context, tx postgres.Tx) (any, error) {
		d, err := body(ctx, tx)
		return showDestination(&d, s.deps.Destinations.Now()), err
	})
}

func authOf(a *DestinationAuth) *destinations.Auth {
	if a == nil {
		return nil
	}
	secret := func(ref *SecretRef) destinations.Secret { return destinations.Secret(valueOf(ref)) }
	return &destinations.Auth{
		Type: destinations.AuthType(a.Type), Token: secret(a.Token), Username: valueOf(a.Username), Password: secret(a.Password), Key: secret(a.Key),
		Header: valueOf(a.Header), Scheme: destinations.SignatureScheme(valueOf(a.Scheme)), Secret: secret(a.Secret),
		TimestampHeader: valueOf(a.TimestampHeader), TokenURL: valueOf(a.TokenURL), ClientID: valueOf(a.ClientID),
		ClientSecret: secret(a.ClientSecret), Scope: valueOf(a.Scope), Audience: valueOf(a.Audience),
	}
}

func tlsOf(t *DestinationTLS) *destinations.TLS {
	if t == nil {
		return nil
	}
	secret := func(ref *SecretRef) destinations.Secret { return destinations.Secret(valueOf(ref)) }
	return &destinations.TLS{Certificate: secret(t.Certificate), Key: secret(t.Key), CA: secret(t.Ca)}
}

func rateLimitsOf(list *[]RateLimit) *[]destinations.RateLimit {
	if list == nil {
		return nil
	}
	out := make([]destinations.RateLimit, len(*list))
	for i, l := range *list {
		out[i] = destinations.RateLimit{
			Name: l.Name, Limit: l.Limit, PeriodSeconds: l.PeriodSeconds, Burst: valueOf(l.Burst), Per: destinations.Scope(valueOf(l.Per)), Units: valueOf(l.Units),
		}
	}
	return &out
}

func breakerOf(b *CircuitBreaker) *destinations.CircuitBreaker {
	if b == nil {
		return nil
	}
	return &destinations.CircuitBreaker{
		Disabled: valueOf(b.Disabled), WindowSeconds: valueOf(b.WindowSeconds), MinimumRequestCount: valueOf(b.MinimumRequestCount),
		FailureThreshold: float64(valueOf(b.FailureThresholdPercent)) / 100, BreakerTimeoutSeconds: valueOf(b.BreakerTimeoutSeconds),
		BreakerTimeoutSecondsMax: valueOf(b.BreakerTimeoutSecondsMax), ProbesMax: valueOf(b.ProbesMax), SuccessThreshold: valueOf(b.SuccessThreshold),
	}
}

func classifierOf[T ~string](m *map[string]T) *destinations.Classifier {
	if m == nil {
		return nil
	}
	out := destinations.Classifier{}
	for key, class := range *m {
		out[key] = destinations.Class(class)
	}
	return &out
}

func redactOf(r *Redaction) *destinations.Redact {
	if r == nil {
		return nil
	}
	return &destinations.Redact{Pointers: valueOf(r.Pointers), Headers: valueOf(r.Headers)}
}

// CreateDestination answers POST /v1/destinations.
func (s *Server) CreateDestination(ctx context.Context, r CreateDestinationRequestObject) (CreateDestinationResponseObject, error) {
	b := r.Body
	made, err := s.destinationCommand(ctx, http.StatusCreated, func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error) {
		return s.deps.Destinations.Create(ctx, tx, destinations.Create{OrgID: org(ctx), Name: b.Name, Settings: destinations.Settings{
			BaseURL: b.BaseURL, Auth: valueOf(authOf(b.Auth)), RateLimits: valueOf(rateLimitsOf(b.RateLimits)),
			MaxConcurrentDispatches: valueOf(b.MaxConcurrentDispatches), TimeoutSeconds: valueOf(b.TimeoutSeconds),
			CircuitBreaker: valueOf(breakerOf(b.CircuitBreaker)), Classifier: valueOf(classifierOf(b.Classifier)), Redact: valueOf(redactOf(b.Redact)),
			AllowPrivateNetworks: isTrue(b.AllowPrivateNetworks), AllowAbsoluteURLs: isTrue(b.AllowAbsoluteUrls),
			MaxResponseBytes: valueOf(b.MaxResponseBytes), TLS: valueOf(tlsOf(b.TLS)), CloudTasksHeaders: isTrue(b.CloudTasksHeaders),
		}})
	})
	made.location = destinationsPath + b.Name
	return made, err
}

// UpdateDestination answers PATCH /v1/destinations/{destination}.
func (s *Server) UpdateDestination(ctx context.Context, r UpdateDestinationRequestObject) (UpdateDestinationResponseObject, error) {
	b := r.Body
	return s.destinationCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error) {
		return s.deps.Destinations.Update(ctx, tx, destinations.Update{
			OrgID: org(ctx), Name: r.Destination, IfVersion: valueOf(b.Version), BaseURL: b.BaseURL, Auth: authOf(b.Auth), RateLimits: rateLimitsOf(b.RateLimits),
			MaxConcurrentDispatches: b.MaxConcurrentDispatches, TimeoutSeconds: b.TimeoutSeconds, CircuitBreaker: breakerOf(b.CircuitBreaker),
			Classifier: classifierOf(b.Classifier), Redact: redactOf(b.Redact), AllowPrivateNetworks: b.AllowPrivateNetworks,
			AllowAbsoluteURLs: b.AllowAbsoluteUrls, MaxResponseBytes: b.MaxResponseBytes, TLS: tlsOf(b.TLS), CloudTasksHeaders: b.CloudTasksHeaders,
		})
	})
}

// DeleteDestination answers DELETE /v1/destinations/{destination}.
func (s *Server) DeleteDestination(ctx context.Context, r DeleteDestinationRequestObject) (DeleteDestinationResponseObject, error) {
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		needed := func(ctx context.Context, tx postgres.Tx, d destinations.Destination) (bool, error) {
			if err := s.deps.Schedules.SpareDestination(ctx, tx, d.OrgID, d.Name); err != nil {
				return false, err
			}
			return s.deps.Tasks.NeedsDestination(ctx, tx, d.OrgID, d.Name)
		}
		return gone{r.Destination, true}, s.deps.Destinations.Delete(ctx, tx, org(ctx), r.Destination, needed)
	})
}

// PauseDestination answers POST /v1/destinations/{destination}/pause.
func (s *Server) PauseDestination(ctx context.Context, r PauseDestinationRequestObject) (PauseDestinationResponseObject, error) {
	return s.destinationCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error) {
		return s.deps.Destinations.Pause(ctx, tx, org(ctx), r.Destination, moment(r.Body.PausedUntil), valueOf(r.Body.Reason))
	})
}

// ResumeDestination answers POST /v1/destinations/{destination}/resume.
func (s *Server) ResumeDestination(ctx context.Context, r ResumeDestinationRequestObject) (ResumeDestinationResponseObject, error) {
	return s.destinationCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (destinations.Destination, error) {
		return s.deps.Destinations.Resume(ctx, tx, org(ctx), r.Destination, isTrue(r.Body.DespiteRetryAfter))
	})
}

// GetDestination answers GET /v1/destinations/{destination}.
func (s *Server) GetDestination(ctx context.Context, r GetDestinationRequestObject) (GetDestinationResponseObject, error) {
	pool := s.deps.DB.Pool()
	d, err := s.deps.Destinations.Get(ctx, pool, org(ctx), r.Destination)
	if err != nil {
		return nil, err
	}
	holds, err := s.deps.Destinations.KeyHolds(ctx, pool, d.OrgID, d.ID, heldKeysShown)
	if err != nil {
		return nil, err
	}
	held := make([]shownKeyHold, len(holds))
	for i, h := range holds {
		held[i] = shownKeyHold{h.LimitKey, stamp(h.Until), nullable(h.Detail)}
	}
	shown := showDestination(&d, s.deps.Destinations.Now())
	shown.HeldLimitKeys = &held
	return ok(encoded(shown)), nil
}

// ListDestinations answers GET /v1/destinations.
func (s *Server) ListDestinations(ctx context.Context, r ListDestinationsRequestObject) (ListDestinationsResponseObject, error) {
	after, limit, err := position(listOfDestinations, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	list, err := s.deps.Destinations.List(ctx, s.deps.DB.Pool(), org(ctx), after.ID, limit+1)
	if err != nil {
		return nil, err
	}
	list, next := paging.Cut(list, limit, func(last *destinations.Destination) paging.Cursor { return paging.Cursor{ID: last.ID} })
	now := s.deps.Destinations.Now()
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showDestination(&list[i], now))...) }, next, listOfDestinations), nil
}
