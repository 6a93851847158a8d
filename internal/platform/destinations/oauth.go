package destinations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

const (
	tokenTimeout      = 15 * time.Second
	tokenBytesMax     = 64 << 10
	tokenLifeDefault  = 5 * time.Minute // of a token that does not say
	tokenAheadMax     = time.Minute     // before its end, a new one is fetched
	tokenAheadDivisor = 5               // or this part of its life, where that is less
	tokenRetryPause   = time.Second     // after a token could not be fetched
)

// token is an access token (RFC 6749, 4.4).
type token struct {
	value     string
	mark      string // of the client secret it was fetched with
	refreshAt time.Time
	expiresAt time.Time
	forced    bool // fetched because the one before was refused
}

// tokens keeps one destination's token on this node. Of all who need a new one, one fetches it.
type tokens struct {
	mu       sync.Mutex
	current  *token
	refused  string // the value of the token that the destination refused last
	fetching *fetch
	failedAt time.Time
	failure  error
}

type fetch struct {
	done  chan struct{}
	token *token
	err   error
}

// get gives a token that is valid now. Near its end a new one is fetched while the old one still serves.
func (t *tokens) get(ctx context.Context, d *Destinations, to *Target, secret string) (*token, error) {
	now, mark := d.Clock(), markOf(to.ID, secret)
	t.mu.Lock()
	current := t.current
	valid := current != nil && current.mark == mark && current.value != t.refused && now.Before(current.expiresAt)
	if valid && now.Before(current.refreshAt) {
		t.mu.Unlock()
		return current, nil
	}
	if t.failure != nil && now.Sub(t.failedAt) < tokenRetryPause && now.Sub(t.failedAt) >= 0 {
		defer t.mu.Unlock()
		if valid {
			return current, nil
		}
		return nil, t.failure
	}
	f := t.fetching
	if f == nil {
		f = &fetch{done: make(chan struct{})}
		t.fetching = f
		forced := current != nil && current.value == t.refused
		go t.fetch(context.WithoutCancel(ctx), d, to, secret, forced, f)
	}
	t.mu.Unlock()
	if valid {
		return current, nil
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, &authError{code: string(egress.FailureTimeout), class: ClassRetry, err: errors.New("waited for an access token")}
	}
}

// refuse takes note that the destination refused a token. True means that a new one may help: this one was not itself
// fetched for that reason.
func (t *tokens) refuse(bad *token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != bad {
		return true // somebody has fetched another one meanwhile
	}
	t.refused = bad.value
	return !bad.forced
}

// accept takes note that the destination took a token: should it refuse it later, a new one may help.
func (t *tokens) accept(good *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	good.forced = false
}

// What became of fetching a token.
const (
	tokenSucceeded = "succeeded"
	tokenFailed    = "failed"
)

func (t *tokens) fetch(ctx context.Context, d *Destinations, to *Target, secret string, forced bool, f *fetch) {
	f.token, f.err = d.fetchToken(ctx, to, secret)
	result := tokenSucceeded
	t.mu.Lock()
	if t.fetching = nil; f.err == nil {
		f.token.forced = forced
		t.current, t.failure = f.token, nil
	} else {
		t.failure, t.failedAt, result = f.err, d.Clock(), tokenFailed
	}
	t.mu.Unlock()
	d.metrics.tokens.WithLabelValues(result).Inc()
	close(f.done)
}

// fetchToken asks the token endpoint. Its answer is never shown: it may have secrets in it.
func (d *Destinations) fetchToken(ctx context.Context, to *Target, secret string) (*token, error) {
	endpoint, err := url.Parse(to.Auth.TokenURL)
	if err != nil {
		return nil, &authError{code: "token_refused", class: ClassHold, err: errors.New("the token URL is malformed")}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, value := range map[string]string{"scope": to.Auth.Scope, "audience": to.Auth.Audience} {
		if value != "" {
			form.Set(name, value)
		}
	}
	header := http.Header{}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Set("Accept", "application/json")
	header.Set("User-Agent", d.UserAgent)
	basic := http.Request{Header: header}
	basic.SetBasicAuth(url.QueryEscape(to.Auth.ClientID), url.QueryEscape(secret))
	client, _, err := d.linked(to)
	if err != nil {
		return nil, noSecret(err)
	}
	answer := client.Do(ctx, egress.Request{
		Method: http.MethodPost, URL: endpoint, Header: header, Body: []byte(form.Encode()), Timeout: tokenTimeout, BodyBytesMax: tokenBytesMax,
	})
	switch {
	case answer.Failure != "":
		return nil, &authError{code: "token_unavailable", class: ClassRetry, err: fmt.Errorf("fetch an access token: %s", answer.Failure)}
	case answer.Status == http.StatusTooManyRequests || answer.Status >= 500:
		return nil, &authError{code: "token_unavailable", class: ClassRetry, err: fmt.Errorf("fetch an access token: status %d", answer.Status)}
	case answer.Status != http.StatusOK:
		return nil, &authError{code: "token_refused", class: ClassHold, err: fmt.Errorf("fetch an access token: status %d", answer.Status)}
	}
	return readToken(answer.Body, d.Clock(), markOf(to.ID, secret))
}

// readToken reads the endpoint's answer.
func readToken(body []byte, now time.Time, mark string) (*token, error) {
	var in struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	malformed := &authError{code: "token_unavailable", class: ClassRetry, err: errors.New("fetch an access token: the answer has no bearer token")}
	if json.Unmarshal(body, &in) != nil || in.AccessToken == "" || strings.ContainsFunc(in.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, malformed
	}
	if in.TokenType != "" && !strings.EqualFold(in.TokenType, "bearer") {
		return nil, malformed
	}
	life := tokenLifeDefault
	if in.ExpiresIn > 0 {
		life = inSeconds(in.ExpiresIn)
	}
	ahead := min(tokenAheadMax, life/tokenAheadDivisor)
	return &token{value: in.AccessToken, mark: mark, refreshAt: now.Add(life - ahead), expiresAt: now.Add(life)}, nil
}
