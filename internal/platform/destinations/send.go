package destinations

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

// Target is a destination as it was at some moment, ready to be sent to.
type Target struct {
	Destination
	base   *url.URL
	links  *links
	tokens *tokens
}

// Response is what became of a request.
type Response struct {
	Class      Class
	Sent       egress.Sent
	Status     int // 0: no answer
	Header     http.Header
	Body       []byte // at most the destination's MaxResponseBytes
	Size       int64  // of the whole body, as far as it was read
	Truncated  bool
	SHA256     []byte        // of the whole body; nil when it was not read to its end
	Duration   time.Duration // of the request
	RetryAfter time.Duration // what the answer asks for; never shortened, at most a day
	Advice     Advice
	ErrorCode  string // a word; empty when it went well
	Error      string // a sentence for people
	foreign    bool   // it did not go to the destination's own host: nothing is learned from it
	everybody  bool   // it was turned away for the rate of all, whatever its limit key
	mark       string // of the secret that it was signed with
}

// codeTokenRenewed tells that the destination refused an access token that has run out or was withdrawn. Another one is
// fetched, and the request may be sent again at once.
const codeTokenRenewed = "token_renewed"

// newTarget carries over from the target before what the change has not touched: connections and tokens.
func (d *Destinations) newTarget(from Destination, before *Target) (*Target, error) {
	base, err := url.Parse(from.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("read the base URL of the destination %s: %w", from.Name, err)
	}
	t := &Target{Destination: from, base: base}
	if before != nil && before.AllowPrivateNetworks == from.AllowPrivateNetworks && before.TLS == from.TLS {
		t.links = before.links
	} else {
		t.links = newLinks(egress.Config{Policy: d.policy(from.AllowPrivateNetworks), IdleConnections: d.Requests})
	}
	if before != nil && before.Auth == from.Auth {
		t.tokens = before.tokens
	} else {
		t.tokens = &tokens{}
	}
	return t, nil
}

// policy says which addresses a destination may lead to.
func (d *Destinations) policy(private bool) egress.Policy {
	return egress.Policy{AllowPrivateNetworks: private, AllowCIDRs: d.AllowCIDRs}
}

// Send sends the request once and says what it came to. It does not ask whether the destination is held or a limit is
// used up: who sends has asked. What a request that cannot be sent came to is a Response as well.
func (d *Destinations) Send(ctx context.Context, t *Target, r Request) Response {
	if r.Traceparent != "" && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": r.Traceparent})
	}
	ctx, span := d.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("server.address", t.base.Hostname()),
		attribute.String("kontor.destination", t.Name),
	))
	defer span.End()
	out := d.send(ctx, t, r)
	if out.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", out.Status))
	}
	if out.ErrorCode != "" {
		span.SetAttributes(attribute.String("error.type", out.ErrorCode))
		span.SetStatus(codes.Error, out.Error)
	}
	d.metrics.observe(t.Name, &out)
	return out
}

func (d *Destinations) send(ctx context.Context, t *Target, r Request) Response {
	to, foreign, problems := r.prepare(t.base, t.AllowAbsoluteURLs)
	if len(problems) > 0 {
		return Response{
			Class: ClassDeadLetter, Sent: egress.SentNo, ErrorCode: string(egress.FailureRequest), foreign: foreign,
			Error: problems[0].Param + ": " + problems[0].Detail,
		}
	}
	timeout := time.Duration(t.TimeoutSeconds) * time.Second
	if r.Timeout > 0 {
		timeout = min(timeout, r.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout) // also for the token that it may need
	defer cancel()
	header := d.headerOf(ctx, r)
	client, proof := t.links.plain, signed{}
	if !foreign {
		var err error
		if client, proof, err = d.prove(ctx, t, header, &r); err != nil {
			out := unsigned(err, proof)
			out.conceal(proof.spent)
			return out
		}
	}
	answer := client.Do(ctx, egress.Request{Method: r.Method, URL: to, Header: header, Body: r.Body, BodyBytesMax: t.MaxResponseBytes, Begin: r.Begin})
	out := t.judge(r.Method, answer, d.Now(), timeout)
	out.foreign, out.mark = foreign, proof.mark
	out.conceal(proof.spent)
	if proof.token != nil {
		t.heedToken(&out, proof.token)
	}
	return out
}

// headerOf is the request's header with what Kontor adds. Credentials come later.
func (d *Destinations) headerOf(ctx context.Context, r Request) http.Header {
	h := http.Header{}
	for name, values := range r.Header {
		for _, value := range values {
			h.Add(name, value)
		}
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", d.UserAgent)
	}
	for name, values := range r.Task {
		h[name] = values
	}
	if r.IdempotencyKey != "" {
		h.Set("Idempotency-Key", r.IdempotencyKey)
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	return h
}

// unsigned is what a request without its credentials came to: it was not sent.
func unsigned(err error, proof signed) Response {
	out := Response{Class: ClassRetry, Sent: egress.SentNo, ErrorCode: "credentials_unavailable", Error: cut(err.Error(), errorBytesMax), mark: proof.mark}
	if why, ok := errors.AsType[*authError](err); ok {
		out.Class, out.ErrorCode = why.class, why.code
	}
	return out
}

// errorBytesMax bounds the sentences of errors.
const errorBytesMax = 500

// judge makes a Response of what came back.
func (t *Target) judge(method string, answer egress.Response, now time.Time, timeout time.Duration) Response {
	out := Response{
		Sent: answer.Sent, Status: answer.Status, Header: answer.Header, Body: answer.Body, Size: answer.Size,
		Truncated: answer.Truncated, SHA256: answer.SHA256, Duration: answer.Duration,
	}
	if answer.Status != 0 {
		out.Advice = readAdvice(answer.Header, clockOf(answer.Header, now))
	}
	out.Class = classify(t.Classifier, answer.Sent, answer.Status, answer.Failure, out.Advice).ofMethod(method)
	if out.Class == classEverybodyLimited {
		out.Class, out.everybody = ClassRateLimited, true
	}
	out.ErrorCode = errorCode(out.Class, answer.Status, answer.Failure)
	switch out.Class {
	case ClassRateLimited:
		if out.RetryAfter = out.Advice.Wait(); out.RetryAfter == 0 {
			out.RetryAfter = retryAfterDefault
		}
	case ClassRetry:
		out.RetryAfter = min(out.Advice.RetryAfter, retryAfterMax)
	}
	if out.ErrorCode != "" {
		out.Error = cut(explain(answer, timeout), errorBytesMax)
	}
	return out
}

// explain says in a sentence what went wrong.
func explain(answer egress.Response, timeout time.Duration) string {
	when := map[egress.Sent]string{
		egress.SentNo:    "before anything was sent",
		egress.SentMaybe: "after the request may have been sent",
		egress.SentYes:   fmt.Sprintf("in the middle of an answer with status %d", answer.Status),
	}[answer.Sent]
	switch answer.Failure {
	case "":
		return fmt.Sprintf("%d %s", answer.Status, http.StatusText(answer.Status))
	case egress.FailureTimeout:
		return fmt.Sprintf("no whole answer within %s, %s", timeout, when)
	case egress.FailureInterrupted:
		return "interrupted " + when
	case egress.FailureCertificate:
		return fmt.Sprintf("the other side refuses our certificate, or that we show none: %v", answer.Err)
	default:
		return fmt.Sprintf("%v, %s", answer.Err, when)
	}
}

// heedToken makes the most of what an answer says about the access token it was asked with.
func (t *Target) heedToken(out *Response, used *token) {
	switch {
	case out.Status == http.StatusUnauthorized && out.Class == ClassHold:
		if t.tokens.refuse(used) {
			out.Class, out.ErrorCode, out.RetryAfter = ClassRateLimited, codeTokenRenewed, 0
			out.Error = "the access token was refused; another one is fetched"
		}
	case out.Class == ClassSucceeded:
		t.tokens.accept(used)
	}
}
