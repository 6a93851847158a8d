package destinations

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The defaults of what may be left out, and the bounds of a request, as Google's Cloud Tasks has them.
const (
	TimeoutSecondsDefault   = 30
	TimeoutSecondsMax       = 1800
	MaxResponseBytesDefault = 64 << 10
	MaxResponseBytesMax     = 1 << 20
	URLBytesMax             = 2083
	HeaderBytesMax          = 80 << 10
	BodyBytesMax            = 1 << 20
)

// Destination is an account at a third party's API.
type Destination struct {
	OrgID ids.ID `json:"-"`
	ID    ids.ID `json:"-"`
	Name  string `json:"name"` // unique in the organisation; never changes
	Settings
	Version   int64     `json:"version"` // rises with each change of Settings
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	State     State     `json:"-"`
}

// Settings are what people set.
type Settings struct {
	BaseURL                 string         `json:"base_url"`
	Auth                    Auth           `json:"auth"`
	RateLimits              []RateLimit    `json:"rate_limits"`
	MaxConcurrentDispatches int64          `json:"max_concurrent_dispatches"` // over all nodes; 0: as many as the queues allow
	TimeoutSeconds          int64          `json:"timeout_seconds"`
	CircuitBreaker          CircuitBreaker `json:"circuit_breaker"`
	Classifier              Classifier     `json:"classifier"`
	Redact                  Redact         `json:"redact"`
	AllowPrivateNetworks    bool           `json:"allow_private_networks"`
	AllowAbsoluteURLs       bool           `json:"allow_absolute_urls"` // requests may name other hosts; those get no credentials
	MaxResponseBytes        int64          `json:"max_response_bytes"`
	TLS                     TLS            `json:"tls,omitzero"`
	CloudTasksHeaders       bool           `json:"cloud_tasks_headers"` // tasks are told of as Google's Cloud Tasks does, too
}

// AuthType says how requests prove who sends them.
type AuthType string

// The ways.
const (
	AuthNone   AuthType = "none"
	AuthBearer AuthType = "bearer"                    // Authorization: Bearer
	AuthBasic  AuthType = "basic"                     // Authorization: Basic
	AuthAPIKey AuthType = "api_key"                   // a header of the API's own
	AuthHMAC   AuthType = "hmac"                      // a signature over time and body
	AuthOAuth2 AuthType = "oauth2_client_credentials" // a token fetched with the client's credentials
)

// SignatureScheme says what an HMAC signature is over and where it goes.
type SignatureScheme string

// The schemes.
const (
	// SchemeStandardWebhooks is Standard Webhooks 1.0: webhook-id, webhook-timestamp and webhook-signature, over
	// id.timestamp.body; the id is the request's idempotency key.
	SchemeStandardWebhooks SignatureScheme = "standard_webhooks"
	// SchemeTimestampBody is the hexadecimal HMAC-SHA256 of timestamp.body, the timestamp in Unix seconds.
	SchemeTimestampBody SignatureScheme = "timestamp_body"
)

// Auth is how requests prove who sends them. Type says which of the other fields count. Secrets are references.
type Auth struct {
	Type            AuthType        `json:"type"`
	Token           Secret          `json:"token,omitempty"`    // bearer
	Username        string          `json:"username,omitempty"` // basic
	Password        Secret          `json:"password,omitempty"` // basic
	Key             Secret          `json:"key,omitempty"`      // api_key
	Header          string          `json:"header,omitempty"`   // api_key, and hmac's timestamp_body: X-Api-Key, X-Signature
	Scheme          SignatureScheme `json:"scheme,omitempty"`   // hmac
	Secret          Secret          `json:"secret,omitempty"`   // hmac
	TimestampHeader string          `json:"timestamp_header,omitempty"`
	TokenURL        string          `json:"token_url,omitempty"` // oauth2_client_credentials, and the fields below
	ClientID        string          `json:"client_id,omitempty"`
	ClientSecret    Secret          `json:"client_secret,omitempty"`
	Scope           string          `json:"scope,omitempty"`
	Audience        string          `json:"audience,omitempty"`
}

// Scope of a rate limit: whose requests it counts together.
type Scope string

// The scopes.
const (
	PerDestination Scope = "destination" // all of them
	PerLimitKey    Scope = "limit_key"   // those of tasks with the same limit_key
)

// RateLimit is one of several limits that all must admit a request.
type RateLimit struct {
	Name          string `json:"name"`
	Limit         int64  `json:"limit"`
	PeriodSeconds int64  `json:"period_seconds"`
	Burst         int64  `json:"burst,omitempty"` // at most so many at the pace of limit/period; 0: limit
	Per           Scope  `json:"per,omitempty"`
	Units         int64  `json:"units,omitempty"` // what one unit of a task costs here; 0: 1
}

// CircuitBreaker stops requests to a destination that does not answer well. See breaker.go.
type CircuitBreaker struct {
	Disabled                 bool    `json:"disabled,omitempty"`
	WindowSeconds            int64   `json:"window_seconds"`
	MinimumRequestCount      int64   `json:"minimum_request_count"`
	FailureThreshold         float64 `json:"failure_threshold"`
	BreakerTimeoutSeconds    int64   `json:"breaker_timeout_seconds"`     // doubles each time it opens again
	BreakerTimeoutSecondsMax int64   `json:"breaker_timeout_seconds_max"` // up to this
	ProbesMax                int64   `json:"probes_max"`                  // at once, when it is half open
	SuccessThreshold         int64   `json:"success_threshold"`           // of probes, to close it
}

// BreakerDefault is the breaker of a destination that says nothing else.
func BreakerDefault() CircuitBreaker {
	return CircuitBreaker{
		WindowSeconds: 60, MinimumRequestCount: 10, FailureThreshold: 0.6, BreakerTimeoutSeconds: 30, BreakerTimeoutSecondsMax: 900,
		ProbesMax: 5, SuccessThreshold: 5,
	}
}

// Classifier overrides what answers mean. Its keys are a status ("409"), a class of statuses ("5xx"), or a failure of the
// connection ("timed_out"); the most exact one counts.
type Classifier map[string]Class

// Redact says what the history must not keep.
type Redact struct {
	Pointers []string `json:"pointers,omitempty"` // JSON pointers (RFC 6901) into bodies; a segment * stands for all
	Headers  []string `json:"headers,omitempty"`
}
