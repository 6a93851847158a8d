package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// KindHTTP is the kind of tasks that send a request to their destination. Their Args are an HTTPArgs.
const KindHTTP = "http"

// HTTPArgs are what a task of KindHTTP sends.
type HTTPArgs struct {
	Request HTTPRequest `json:"request"`
	// Verify is sent before Request is sent again after an answer was lost: a 2xx says that it was done, a 404 that it was not.
	Verify    *HTTPRequest `json:"verify,omitempty"`
	OnUnknown string       `json:"on_unknown,omitempty"` // one of the OnUnknown constants; OnUnknownRetry, or OnUnknownVerify when there is a Verify
}

// HTTPRequest is a request. URL may be a path below the destination's base URL.
type HTTPRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"body,omitempty"`
}

// WithContentType is the request with a body that says what it is: JSON, unless a header says otherwise.
func (r HTTPRequest) WithContentType() HTTPRequest {
	if len(r.Body) == 0 {
		return r
	}
	headers := map[string]string{"Content-Type": "application/json"}
	for name, value := range r.Headers {
		if strings.EqualFold(name, "Content-Type") {
			return r
		}
		headers[name] = value
	}
	r.Headers = headers
	return r
}

// What to do when it is not known whether a request was carried out.
const (
	OnUnknownRetry      = "retry"       // send it again, under the same idempotency key
	OnUnknownVerify     = "verify"      // ask first
	OnUnknownDeadLetter = "dead_letter" // a person decides
)

func (a *HTTPArgs) onUnknown() string {
	switch {
	case a.OnUnknown != "":
		return a.OnUnknown
	case a.Verify != nil:
		return OnUnknownVerify
	default:
		return OnUnknownRetry
	}
}

// httpTimeoutMax bounds an attempt that the destination's own timeout should have ended long before.
const httpTimeoutMax = 31 * time.Minute

// sendHTTP is the handler of KindHTTP.
func (t *Tasks) sendHTTP(ctx context.Context, task Task) Verdict {
	var args HTTPArgs
	if err := json.Unmarshal(task.Args, &args); err != nil {
		return Failed("arguments_invalid", fmt.Errorf("read the request: %w", err))
	}
	entries, err := t.destinations.Use(ctx, []destinations.Ref{{OrgID: task.OrgID, Name: task.Destination}})
	if err != nil {
		return withheld(time.Second, "destination_unreadable", err)
	}
	entry := entries[0]
	if entry == nil || entry.Gone() {
		return withheld(destinationMissingPause, "destination_missing", fmt.Errorf("there is no destination %q", task.Destination))
	}
	if hold, is := entry.Gate(task.LimitKey); is {
		return withheld(time.Second, string(hold.Reason), errors.New(hold.Detail)) // since it was claimed
	}
	if entry.Target().CloudTasksHeaders || task.Attempt > 1 {
		if task.told, err = readTold(ctx, t.db.Pool(), &task); err != nil {
			return withheld(time.Second, "history_unreadable", err)
		}
	}
	if task.Interrupted {
		switch args.onUnknown() {
		case OnUnknownDeadLetter:
			v := Failed("outcome_unknown", errors.New("an earlier attempt may have been carried out, and nobody can tell"))
			v.unclear = true
			return v
		case OnUnknownVerify:
			return t.verify(ctx, entry, &task, &args)
		}
	}
	response, exchange := t.exchange(ctx, entry, &task, &args.Request)
	return verdictOf(&response, exchange)
}

// destinationMissingPause is how long a task waits for a destination that was deleted to be made again.
const destinationMissingPause = 30 * time.Second

// withheld is the verdict on an attempt in which nothing was sent, and nobody is to blame.
func withheld(pause time.Duration, code string, err error) Verdict {
	return Verdict{outcome: OutcomeHeld, code: code, err: err, next: pause}
}

// verify asks whether an earlier attempt was carried out. What was not is sent by the next attempt, which counts against the limits
// by itself.
func (t *Tasks) verify(ctx context.Context, entry *destinations.Entry, task *Task, args *HTTPArgs) Verdict {
	response, exchange := t.exchange(ctx, entry, task, args.Verify)
	v := Verdict{code: "verified", status: response.Status, exchange: exchange}
	switch {
	case response.Status >= 200 && response.Status <= 299:
		v.outcome, v.done, v.code = OutcomeSucceeded, true, ""
	case response.Status == http.StatusNotFound:
		v.outcome, v.code = OutcomeSnoozed, "verified_not_done"
	default:
		v = verdictOf(&response, exchange)
		if v.done { // an answer to the question, not to the request
			v = Retry("verify_failed", errors.New(response.Error))
			v.status, v.exchange = response.Status, exchange
		}
		v.unclear = true
	}
	return v
}

// exchange sends one request and learns from the answer.
func (t *Tasks) exchange(ctx context.Context, entry *destinations.Entry, task *Task, r *HTTPRequest) (destinations.Response, []byte) {
	target, ticket := entry.Target(), entry.Begin(task.LimitKey)
	request := destinations.Request{
		Method: r.Method, URL: r.URL, Header: http.Header{}, Body: r.Body, IdempotencyKey: task.IdempotencyKey, Traceparent: task.TraceParent,
		Task: task.headers(task.told, target.CloudTasksHeaders), Timeout: task.timeout, Begin: task.mayBegin,
	}
	if request.IdempotencyKey == "" {
		request.IdempotencyKey = ids.Format(Prefix, task.ID)
	}
	for name, value := range r.Headers {
		request.Header.Set(name, value)
	}
	response := t.destinations.Send(ctx, target, request)
	entry.Learn(ticket, response)
	return response, keep(target, &request, &response)
}

// mayBegin is asked right before the first byte is sent: from there on the use of limits counts.
func (t *Task) mayBegin() bool { return t.grant == nil || t.grant.Sent() }

// verdictOf says what an answer means for the task.
func verdictOf(r *destinations.Response, exchange []byte) Verdict {
	v := Verdict{code: r.ErrorCode, status: r.Status, exchange: exchange, next: r.RetryAfter}
	if r.Error != "" {
		v.err = errors.New(r.Error)
	}
	switch r.Class {
	case destinations.ClassSucceeded:
		v.outcome, v.done = OutcomeSucceeded, true
	case destinations.ClassDeadLetter:
		v.outcome, v.done, v.dead = OutcomeFailed, true, DeadNonRetryable
	case destinations.ClassHold:
		v.outcome, v.next = OutcomeHeld, time.Second
	case destinations.ClassRateLimited:
		v.outcome = OutcomeRateLimited
		if r.RetryAfter > 0 {
			v.next = 0 // the destination waits, not the task
		} else {
			v.next = time.Second
		}
	case destinations.ClassUnknown:
		v.outcome, v.unclear = OutcomeUnknown, true
	default:
		v.outcome = OutcomeFailed
		if r.Sent == egress.SentNo && r.ErrorCode == string(egress.FailureInterrupted) {
			v.outcome, v.next = OutcomeHeld, 0
		}
	}
	return v
}
