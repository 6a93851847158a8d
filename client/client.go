// Package client talks to Kontor's API. Everything but this file is generated from api/openapi.yaml.
//
//	kontor, err := client.New("http://127.0.0.1:8080", os.Getenv("KONTOR_API_KEY"))
//	answer, err := kontor.CreatePaymentWithResponse(ctx,
//		&client.CreatePaymentParams{IdempotencyKey: "order-42"},
//		client.PaymentRequest{Amount: 1000, Currency: "EUR", PaymentMethod: "tok_approved"})
//	switch {
//	case err != nil: // no answer: repeat it under the same key
//	case answer.JSON201 != nil: // final
//	case answer.JSON202 != nil: // under way
//	default: // answer.ApplicationProblemJSONDefault says why not
//	}
package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Option changes how New's client connects.
type Option func(*settings)

type settings struct {
	doer        HttpRequestDoer
	timeout     time.Duration
	connections int
}

// WithTimeout bounds a whole request, its answer included. The default of 45 s is longer than any answer takes; a
// shorter one gives up early, and the request must then be repeated under the same key to learn its outcome.
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithConnections says how many idle connections are kept for reuse; 64 by default. Set it to the number of
// goroutines that call at the same time.
func WithConnections(n int) Option { return func(s *settings) { s.connections = n } }

// WithDoer sends requests through something of your own, such as an *http.Client with tracing; the other options
// then have no effect.
func WithDoer(doer HttpRequestDoer) Option { return func(s *settings) { s.doer = doer } }

// New makes a client for the server at baseURL that shows the given API key. It keeps connections open and is safe
// for concurrent use; make one and share it.
func New(baseURL, key string, options ...Option) (*ClientWithResponses, error) {
	s := settings{timeout: 45 * time.Second, connections: 64}
	for _, option := range options {
		option(&s)
	}
	if s.doer == nil {
		dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
		s.doer = &http.Client{Timeout: s.timeout, Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ExpectContinueTimeout: time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConns:          s.connections,
			MaxIdleConnsPerHost:   s.connections,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true,
		}}
	}
	bearer := []string{"Bearer " + key}
	return NewClientWithResponses(baseURL, WithHTTPClient(s.doer),
		WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header["Authorization"] = bearer
			return nil
		}))
}

// NewKey makes a random idempotency key. Keep it with what you are about to do, so that a repeat uses the same.
func NewKey() string { return rand.Text() }

// Error makes a Problem an error.
func (p *Problem) Error() string {
	if p.Param != nil && *p.Param != "" {
		return fmt.Sprintf("%s (%s): %s", p.Code, *p.Param, p.Detail)
	}
	return p.Code + ": " + p.Detail
}
