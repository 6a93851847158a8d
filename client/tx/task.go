package tx

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Task is work to be queued: an HTTPRequest to a Destination, or a Kind that Kontor's nodes know, with its Args. Everything else
// may be left out; the defaults are named beside the fields.
type Task struct {
	Queue       string // default
	Destination string
	HTTPRequest *HTTPRequest
	// Verify is sent before HTTPRequest is sent again after an answer was lost: a 2xx says that it was done, a 404 that it was not.
	Verify    *HTTPRequest
	OnUnknown string // retry, verify or dead_letter: what to do when an answer was lost; verify if there is a Verify, else retry

	Kind string
	Args any // as encoding/json writes it

	// ScheduleTime is when the work is wanted, or After how long from now, by the database's clock; now.
	ScheduleTime time.Time
	After        time.Duration
	Priority     int // 1 to 4, 1 first; 1

	// Name and UniqueKey keep a second task like it from being queued: a name for as long as the queue keeps it after the task's
	// end; a unique key while the task lives or, with UniquePeriod, for that long from now. One of them at most.
	Name         string
	UniqueKey    string
	UniquePeriod time.Duration
	// OnConflict is what to do where another task has the name or the unique key: return (its id), replace (it, if it waits) or
	// error; return.
	OnConflict string

	OrderingKey    string // tasks of a queue with the same key are done one at a time, in the order in which they were queued
	FairnessKey    string // tasks with different keys take turns: a tenant, say
	FairnessWeight float32
	LimitKey       string // which of the destination's limits by key it counts against
	Units          int    // how much of a limit one attempt uses; 1

	DispatchDeadline time.Duration   // of one attempt; the destination's
	ExpiresAt        time.Time       // when it is too late to begin an attempt; as the queue says
	RetryConfig      json.RawMessage // as in the API; the queue's
	IdempotencyKey   string          // sent with every attempt; the task's id
	TraceParent      string          // of the W3C: the attempts' spans belong to it

	SubjectType string // what the work is about, for people and for searching
	SubjectID   string
	Tags        []string
}

// HTTPRequest is a request. URL is a path below the destination's base URL, or the whole.
type HTTPRequest struct {
	Method  string // POST
	URL     string
	Headers map[string]string
	Body    []byte
}

// spec is the task as the engine takes it, or a fault.
func (t *Task) spec(org ids.ID) (tasks.Spec, error) {
	kind, args, err := t.work()
	return tasks.Spec{
		OrgID: org, Queue: t.Queue, Destination: t.Destination, Kind: kind, Args: args, SubjectType: t.SubjectType, SubjectID: t.SubjectID,
		After: t.After, At: t.ScheduleTime, Priority: t.Priority, LimitKey: t.LimitKey, Units: t.Units, FairnessKey: t.FairnessKey,
		FairnessWeight: t.FairnessWeight, OrderingKey: t.OrderingKey, Name: t.Name, UniqueKey: t.UniqueKey, UniqueFor: t.UniquePeriod, OnConflict: t.OnConflict,
		ExpiresAt: t.ExpiresAt, Timeout: t.DispatchDeadline, Retry: t.RetryConfig, IdempotencyKey: t.IdempotencyKey, TraceParent: t.TraceParent,
		Tags: t.Tags,
	}, err
}

// work is what is to be done.
func (t *Task) work() (kind string, args []byte, err error) {
	invalid := func(param, detail string) error {
		return fault.New(fault.Invalid, tasks.ErrInvalid.Code, detail).At(param)
	}
	switch {
	case t.HTTPRequest == nil && t.Kind == "":
		return "", nil, invalid("http_request", "A task has an http_request or a kind.")
	case t.HTTPRequest == nil:
		args, err := json.Marshal(t.Args)
		if err != nil {
			return "", nil, invalid("args", "They cannot be written as JSON: "+err.Error())
		}
		return t.Kind, args, nil
	case t.Kind != "" || t.Args != nil:
		return "", nil, invalid("kind", "A task has an http_request or a kind, not both.")
	case t.Destination == "":
		return "", nil, invalid("destination", "A task with an http_request names the destination it is for.")
	case t.HTTPRequest.URL == "":
		return "", nil, invalid("http_request/url", "It must be given: a path below the destination's base_url, or the whole.")
	}
	switch t.OnUnknown {
	case "", tasks.OnUnknownRetry, tasks.OnUnknownVerify, tasks.OnUnknownDeadLetter:
	default:
		return "", nil, invalid("on_unknown", "It is retry, verify or dead_letter.")
	}
	if t.OnUnknown == tasks.OnUnknownVerify && t.Verify == nil {
		return "", nil, invalid("verify", "It must be given where on_unknown is verify.")
	}
	request := tasks.HTTPArgs{Request: t.HTTPRequest.request(http.MethodPost), OnUnknown: t.OnUnknown}
	if t.Verify != nil {
		verify := t.Verify.request(http.MethodGet)
		request.Verify = &verify
	}
	args, err = json.Marshal(request)
	return tasks.KindHTTP, args, err
}

func (r *HTTPRequest) request(method string) tasks.HTTPRequest {
	if r.Method != "" {
		method = r.Method
	}
	return tasks.HTTPRequest{Method: method, URL: r.URL, Headers: r.Headers, Body: r.Body}
}
