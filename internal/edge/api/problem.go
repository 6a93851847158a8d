package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// The edge's own faults.
var (
	errNotFound         = fault.New(fault.NotFound, "not_found", "There is nothing at this path. The contract is at /v1/openapi.json, and /docs shows it.")
	errMethodNotAllowed = fault.New(fault.Invalid, "method_not_allowed", "This path has other methods; the Allow header lists them.")
	errTooLarge         = fault.New(fault.Invalid, "request_too_large", "The body is larger than this request may be.")
	errMediaType        = fault.New(fault.Invalid, "unsupported_media_type", "The body must be JSON: send Content-Type: application/json.")
	errTimeout          = fault.New(fault.Unavailable, "timeout", "The request took too long. Whether it was carried out is open: repeat it under the same idempotency key.").After(time.Second)
	errUnreadable       = fault.New(fault.Invalid, "invalid_request", "The body did not arrive as a whole.")
)

// problem is application/problem+json (RFC 9457) as the contract has it.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Param     string `json:"param,omitempty"`
	RequestID string `json:"request_id"`

	FailureCode string        `json:"failure_code,omitempty"` // the provider's reason
	Errors      []problemItem `json:"errors,omitempty"`
}

type problemItem struct {
	Param  string `json:"param,omitempty"`
	Detail string `json:"detail"`
	Code   string `json:"code,omitempty"`
}

// answer writes an error as an answer, to be sent or recorded.
func (c *contract) answer(err error, requestID string) command.Answer {
	return c.problem(err, requestID).answer()
}

// problem is the one place where an error becomes what a caller is told. Only faults have words for callers; whatever
// else went wrong is "internal", and its text stays in the log.
func (c *contract) problem(err error, requestID string) problem {
	f := faultOf(err)
	p := problem{
		Type: "/docs#" + f.Code, Title: title(f.Code), Status: c.status(f), Detail: f.Detail, Code: f.Code,
		Param: f.Param, RequestID: requestID,
	}
	refusal, _ := errors.AsType[batchRefusal](err)
	for i, item := range f.Params {
		p.Errors = append(p.Errors, problemItem{Param: item.Param, Detail: item.Detail})
		if i < len(refusal.faults) {
			p.Errors[i].Code = refusal.faults[i].Code
		}
	}
	return p
}

func (p problem) answer() command.Answer {
	body, err := json.Marshal(p)
	if err != nil { // strings and an integer: it cannot
		panic(err)
	}
	return command.Answer{Status: p.Status, Body: body}
}

// faultOf is fault.From, which knows nothing of deadlines.
func faultOf(err error) *fault.Fault {
	if _, ok := errors.AsType[*fault.Fault](err); !ok && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return errTimeout.Because(err)
	}
	return fault.From(err)
}

// status is what the contract says of a code. The kinds are for a code that it does not name, which a test forbids.
func (c *contract) status(f *fault.Fault) int {
	if status, ok := c.statuses[f.Code]; ok {
		return status
	}
	return f.Kind.Status()
}

// title is the code in words.
func title(code string) string {
	words := strings.ReplaceAll(code, "_", " ")
	return cmp.Or(strings.ToUpper(words[:min(1, len(words))])+words[min(1, len(words)):], "Problem")
}

// fail answers a request with a problem.
func (g *gate) fail(c *call, err error) {
	f := faultOf(err)
	c.code = f.Code
	if f.Kind == fault.Internal {
		c.err = err
	}
	if c.wrote {
		return // too late: the connection tells by breaking off, or the answer is there already
	}
	header := c.Header()
	if f.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(max(1, int((f.RetryAfter+time.Second-1)/time.Second))))
	}
	if f.Kind == fault.Unauthenticated {
		header.Set("WWW-Authenticate", `Bearer realm="kontor"`)
	}
	c.write(g.contract.answer(f, c.requestID))
}
