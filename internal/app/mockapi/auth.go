package mockapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AuthKind is the kind of credential that is demanded.
type AuthKind string

// The kinds of credentials.
const (
	AuthNone   AuthKind = "none"
	AuthBearer AuthKind = "bearer"  // Authorization: Bearer TOKEN
	AuthBasic  AuthKind = "basic"   // Authorization: Basic USER:PASSWORD
	AuthOAuth2 AuthKind = "oauth2"  // client credentials: a token from POST /oauth/token
	AuthAPIKey AuthKind = "api_key" // HEADER: KEY
	AuthHMAC   AuthKind = "hmac"    // X-Timestamp and X-Signature, or the headers of Standard Webhooks
)

// Auth is what requests must show. The zero value demands nothing.
type Auth struct {
	Kind            AuthKind `json:"kind"`
	Token           string   `json:"token,omitempty"`             // bearer; api_key: the key
	Header          string   `json:"header,omitempty"`            // api_key: where it is shown; empty means X-Api-Key
	User            string   `json:"user,omitempty"`              // basic; oauth2: the client's id
	Password        string   `json:"password,omitempty"`          // basic; oauth2: the client's secret
	Secret          string   `json:"secret,omitempty"`            // hmac: "whsec_" and base64, or the key itself
	TokenTTLSeconds int      `json:"token_ttl_seconds,omitempty"` // oauth2: how long a token is good; 0 means 60
}

// ErrAuth is what the check of an Auth wraps.
var ErrAuth = errors.New("malformed credential")

const (
	tokenPath         = "/oauth/token"
	tokenTTLDefault   = 60
	tokensMax         = 10_000 // that are good at a time; the oldest are forgotten first
	signatureAgeMax   = 5 * time.Minute
	secretPrefix      = "whsec_"
	tokenRequestBytes = 16 << 10
)

func (a Auth) check() error {
	var problems []error
	lacks := func(what, value string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("%w: %s needs %s", ErrAuth, a.Kind, what))
		}
	}
	switch a.Kind {
	case "", AuthNone:
	case AuthBearer, AuthAPIKey:
		lacks("a token", a.Token)
	case AuthBasic:
		lacks("a user", a.User)
		lacks("a password", a.Password)
	case AuthOAuth2:
		lacks("the client's id as user", a.User)
		lacks("the client's secret as password", a.Password)
	case AuthHMAC:
		lacks("a secret", a.Secret)
		if _, err := a.signingKey(); err != nil {
			problems = append(problems, fmt.Errorf("%w: what follows whsec_ must be base64", ErrAuth))
		}
	default:
		problems = append(problems, fmt.Errorf("%w: no kind %q; want none, bearer, basic, api_key, oauth2 or hmac", ErrAuth, a.Kind))
	}
	if a.TokenTTLSeconds < 0 {
		problems = append(problems, fmt.Errorf("%w: a token cannot be good for %d seconds", ErrAuth, a.TokenTTLSeconds))
	}
	return errors.Join(problems...)
}

func (a Auth) signingKey() ([]byte, error) {
	if text, found := strings.CutPrefix(a.Secret, secretPrefix); found {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(a.Secret), nil
}

// credentials is an Auth in force. Each visit has its copy; the tokens are common to all.
type credentials struct {
	Auth
	tokens  *tokens
	signing hash.Hash // hmac: over the request that is being read
}

// tokens are those that were issued and are still good. Safe for concurrent use.
type tokens struct {
	mu     sync.Mutex
	until  map[string]time.Duration
	order  []string // as issued, also those that are gone
	issued int64
}

func newCredentials(a Auth) credentials {
	if a.TokenTTLSeconds == 0 {
		a.TokenTTLSeconds = tokenTTLDefault
	}
	return credentials{Auth: a, tokens: &tokens{until: map[string]time.Duration{}}}
}

// begin begins to check the signature of a request.
func (c *credentials) begin(r *http.Request) {
	if c.Kind != AuthHMAC {
		return
	}
	key, _ := c.signingKey() // check has seen that it can be read
	c.signing = hmac.New(sha256.New, key)
	signed := r.Header.Get("X-Timestamp") + "."
	if isWebhook(r) {
		signed = r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "."
	}
	_, _ = c.signing.Write([]byte(signed))
}

// isWebhook tells whether a request is signed as Standard Webhooks has it.
func isWebhook(r *http.Request) bool { return r.Header.Get("Webhook-Signature") != "" }

// check says what is wrong with a request's credential; nothing if nothing is. A signed body must have been read.
func (c *credentials) check(r *http.Request, watch stopwatch) string {
	switch c.Kind {
	case AuthBearer:
		if shown, found := bearer(r); !found || !same(shown, c.Token) {
			return "Show the bearer token that was demanded."
		}
	case AuthBasic:
		user, password, found := r.BasicAuth()
		if !found || !same(user, c.User) || !same(password, c.Password) {
			return "Show the user and the password that were demanded."
		}
	case AuthAPIKey:
		if header := c.header(); !same(r.Header.Get(header), c.Token) {
			return "Show the key that was demanded in the header " + header + "."
		}
	case AuthOAuth2:
		shown, found := bearer(r)
		if !found {
			return "Show a bearer token from POST " + tokenPath + "."
		}
		if !c.tokens.good(shown, watch.now()) {
			return "The token was not issued here, has expired or was revoked: get another from POST " + tokenPath + "."
		}
	case AuthHMAC:
		return c.checkSignature(r, watch)
	}
	return ""
}

func (c *credentials) header() string {
	if c.Header == "" {
		return "X-Api-Key"
	}
	return c.Header
}

func (c *credentials) checkSignature(r *http.Request, watch stopwatch) string {
	sum := c.signing.Sum(nil)
	at, shown, want := r.Header.Get("X-Timestamp"), r.Header.Get("X-Signature"), hex.EncodeToString(sum)
	if isWebhook(r) {
		at, shown, want = r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature"), "v1,"+base64.StdEncoding.EncodeToString(sum)
	}
	stamp, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return "Sign with the headers X-Timestamp and X-Signature, or Webhook-Id, Webhook-Timestamp and Webhook-Signature."
	}
	if age := watch.wall(watch.now()).Sub(time.Unix(stamp, 0)).Abs(); age > signatureAgeMax {
		return "The signature's time is more than 5 minutes off."
	}
	for one := range strings.FieldsSeq(shown) {
		if same(one, want) {
			return ""
		}
	}
	return "The signature is not the HMAC-SHA256 of time and body by the secret that was demanded."
}

// challenge is the scheme that a refusal names.
func (c *credentials) challenge() string {
	switch c.Kind {
	case AuthBasic:
		return `Basic realm="mock"`
	case AuthHMAC, AuthAPIKey:
		return string(c.Kind) + ` realm="mock"`
	default:
		return `Bearer realm="mock", error="invalid_token"`
	}
}

func bearer(r *http.Request) (string, bool) {
	return strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (t *tokens) good(token string, now time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, found := t.until[token]
	return found && now < until
}

func (t *tokens) issue(until time.Duration) string {
	token := "mock_" + rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == tokensMax {
		delete(t.until, t.order[0])
		t.order = append(t.order[:0], t.order[1:]...)
	}
	t.order = append(t.order, token)
	t.until[token] = until
	t.issued++
	return token
}

func (t *tokens) revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.until)
	t.order = nil
}

func (t *tokens) count() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued
}

// SetAuth demands another credential from now on. Tokens that were issued are no longer good.
func (s *Server) SetAuth(a Auth) error {
	if err := a.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth = newCredentials(a)
	return nil
}

// RevokeTokens makes every OAuth2 token that was issued invalid at once.
func (s *Server) RevokeTokens() { s.credentials().tokens.revoke() }

func (s *Server) credentials() credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.auth
}

func (s *Server) issuesTokens() bool { return s.credentials().Kind == AuthOAuth2 }

// postToken issues an OAuth2 token for client credentials, shown by Basic or in the form (RFC 6749, 4.4). These requests
// pass no limits, suffer no faults and are not in the record, but for the count of the tokens.
func (s *Server) postToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) { reply(w, status, map[string]string{"error": code}) }
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		refuse(http.StatusMethodNotAllowed, "invalid_request")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, tokenRequestBytes)
	if r.PostFormValue("grant_type") != "client_credentials" {
		refuse(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	user, password := clientOf(r)
	auth := s.credentials()
	if !same(user, auth.User) || !same(password, auth.Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="mock"`)
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	}
	token := auth.tokens.issue(s.watch.now() + time.Duration(auth.TokenTTLSeconds)*time.Second)
	reply(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": auth.TokenTTLSeconds})
}

// clientOf is what a request for a token shows: in Basic both parts are encoded as in a form (RFC 6749, 2.3.1).
func clientOf(r *http.Request) (id, secret string) {
	id, secret, found := r.BasicAuth()
	if !found {
		return r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if plain, err := url.QueryUnescape(id); err == nil {
		id = plain
	}
	if plain, err := url.QueryUnescape(secret); err == nil {
		secret = plain
	}
	return id, secret
}
