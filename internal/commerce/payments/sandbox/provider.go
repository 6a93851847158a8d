package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The defaults of a ProviderConfig, and the bounds of the adapter.
const (
	TimeoutDefault   = 10 * time.Second
	skewAllowed      = 500 * time.Millisecond // between our clock and the provider's
	answerBytesMax   = 1 << 20
	connectionsIdle  = 512
	connectionIdleIn = 30 * time.Second
)

// The metadata a charge carries, so that the provider's records and webhooks name our payment.
const (
	metadataOrg     = "org"
	metadataPayment = "payment"
	orgPrefix       = "org"
)

// ProviderConfig says where the sandbox is and how to speak to it.
type ProviderConfig struct {
	BaseURL       string        // such as "http://127.0.0.1:7301"
	APIKey        string        // any; the sandbox only wants one to be there
	WebhookSecret string        // "whsec_" and base64; without it every webhook is refused
	Timeout       time.Duration // of one call; 0 means TimeoutDefault
	// SettleWithin must not be less than the server's; 0 means SettleWithinDefault. Each send carries it as a
	// deadline, so that a request that lay in a buffer cannot have its effect later.
	SettleWithin time.Duration
	Transport    *http.Transport // nil means one of its own; it is cloned, and kept to HTTP/1.1
	Clock        clock.Clock     // nil means clock.System
}

// Provider is the adapter to a sandbox. It sends each request once: the transport's own silent repeats are turned
// off, so the history of attempts is the truth. Safe for concurrent use.
type Provider struct {
	base         *url.URL
	invalid      error // what is wrong with BaseURL
	bearer       string
	timeout      time.Duration
	settleWithin time.Duration
	transport    *http.Transport
	clock        clock.Clock
	verifier     *standardwebhooks.Webhook
	unverifiable error // what is wrong with WebhookSecret
}

// NewProvider makes the adapter. A malformed BaseURL shows in the answers, a malformed secret when a webhook comes.
func NewProvider(cfg ProviderConfig) *Provider {
	p := &Provider{
		bearer: "Bearer " + cfg.APIKey, timeout: cfg.Timeout, settleWithin: cfg.SettleWithin, clock: cfg.Clock,
	}
	if p.timeout <= 0 {
		p.timeout = TimeoutDefault
	}
	if p.settleWithin <= 0 {
		p.settleWithin = SettleWithinDefault
	}
	if p.clock == nil {
		p.clock = clock.System
	}
	p.base, p.invalid = url.Parse(strings.TrimSuffix(cfg.BaseURL, "/"))
	if p.invalid == nil && p.base.Host == "" {
		p.invalid = errors.New("the base URL has no host")
	}
	p.verifier, p.unverifiable = newSigner(cfg.WebhookSecret)
	p.transport = newTransport(cfg.Transport, p.timeout)
	return p
}

// newTransport keeps many connections and speaks HTTP/1.1 only, whose order of events exchange relies on.
func newTransport(given *http.Transport, timeout time.Duration) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: connectionsIdle, IdleConnTimeout: connectionIdleIn}
	if given != nil {
		t = given.Clone()
	}
	if t.ResponseHeaderTimeout == 0 {
		t.ResponseHeaderTimeout = timeout
	}
	t.DisableCompression = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

// Name is "sandbox".
func (p *Provider) Name() string { return "sandbox" }

// SettleWithin is the bound sent with each request, and what two clocks may differ by.
func (p *Provider) SettleWithin() time.Duration { return p.settleWithin + skewAllowed }

// Close lets the idle connections go. Calls may still be made; they connect again.
func (p *Provider) Close() { p.transport.CloseIdleConnections() }

// Send asks for one movement of money, once.
func (p *Provider) Send(ctx context.Context, r payments.ProviderRequest) payments.ProviderAnswer {
	path, body, problem := encode(r)
	if problem != "" {
		return payments.ProviderAnswer{
			Result: payments.ResultDeclined, FailureCode: problem, Detail: "The request cannot be put to the provider.",
		}
	}
	return p.classifySend(r, p.exchange(ctx, http.MethodPost, path, r.Reference, body))
}

// LookUp asks what became of the request with our reference.
func (p *Provider) LookUp(ctx context.Context, reference string) payments.ProviderAnswer {
	path := "/v1/operations/" + url.PathEscape(reference)
	return p.classifyLookUp(reference, p.exchange(ctx, http.MethodGet, path, "", nil))
}

// encode puts the request as the sandbox wants it; problem is the code of what makes that impossible.
func encode(r payments.ProviderRequest) (path string, body []byte, problem string) {
	var in any = movementInput{Reference: r.Reference, Amount: r.Amount, Final: r.Final}
	path = "/v1/charges/" + url.PathEscape(r.ChargeID)
	switch r.Kind {
	case payments.KindAuthorise:
		path = "/v1/charges"
		in = chargeInput{
			Reference: r.Reference, Amount: r.Amount, Currency: r.Currency, Token: r.Token, Capture: r.Capture,
			Metadata: map[string]string{metadataOrg: ids.Format(orgPrefix, r.OrgID), metadataPayment: r.PaymentID},
		}
	case payments.KindCapture:
		path += "/captures"
	case payments.KindRefund:
		path += "/refunds"
	case payments.KindVoid:
		path += "/voids"
	default:
		return "", nil, "kind_unsupported"
	}
	if r.Kind != payments.KindAuthorise && r.ChargeID == "" {
		return "", nil, "charge_id_missing"
	}
	body, err := json.Marshal(in)
	if err != nil {
		return "", nil, "request_unencodable"
	}
	return path, body, ""
}

// exchanged is what came of one HTTP exchange.
type exchanged struct {
	sent   bool // false: certainly nothing reached the provider
	status int  // 0: no answer
	header http.Header
	body   []byte
	err    error // why there is no answer, or not a whole one
}

// exchange sends one request and reads its answer. It goes to the transport without a client, so that no redirect is
// followed, and without GetBody: with it the transport would repeat a POST that has an Idempotency-Key by itself when
// a connection breaks. A connection is given to the request in this goroutine before its first byte can be written;
// when none was given, nothing was sent.
func (p *Provider) exchange(ctx context.Context, method, path, key string, body []byte) exchanged {
	if p.invalid != nil {
		return exchanged{err: p.invalid}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	r, err := http.NewRequestWithContext(ctx, method, p.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return exchanged{err: err}
	}
	r.GetBody = nil
	r.Header.Set("Authorization", p.bearer)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	if body == nil {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(headerKey, key)
		r.Header.Set(headerDeadline, strconv.FormatInt(p.clock().Add(p.settleWithin).UnixMilli(), 10))
	}
	answer, err := p.transport.RoundTrip(r)
	if err != nil {
		return exchanged{sent: connected.Load(), err: err}
	}
	defer func() { _ = answer.Body.Close() }() // what was read is all that counts
	out := exchanged{sent: true, status: answer.StatusCode, header: answer.Header}
	out.body, out.err = io.ReadAll(io.LimitReader(answer.Body, answerBytesMax+1))
	if out.err == nil && len(out.body) > answerBytesMax {
		out.err = fmt.Errorf("the answer exceeds %d bytes", answerBytesMax)
	}
	return out
}

var _ payments.Provider = (*Provider)(nil)
