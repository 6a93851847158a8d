package schedules

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Template is the task that every tick makes: a kind of Kontor's own with its arguments, or an HTTP request. In the text of either
// {{tick_at}} and {{schedule_id}} stand for the tick's time and the schedule's id. HTTPRequest is a tasks.HTTPArgs.
type Template struct {
	Queue       string
	Destination string
	Kind        string
	Args        json.RawMessage
	HTTPRequest json.RawMessage
	Terms       Terms
}

// Terms are how a schedule's tasks are worked on. Each is as a tasks.Spec has it; what is left out has the default of one.
type Terms struct {
	Priority       int      `json:"priority,omitempty"`
	LimitKey       string   `json:"limit_key,omitempty"`
	Units          int      `json:"units,omitempty"`
	OrderingKey    string   `json:"ordering_key,omitempty"`
	FairnessKey    string   `json:"fairness_key,omitempty"`
	FairnessWeight float32  `json:"fairness_weight,omitempty"`
	Tags           []string `json:"tags,omitempty"`
	TimeoutSeconds int      `json:"timeout_seconds,omitempty"`
	// ExpireAfterSeconds is how long after its tick it is too late to begin a task; never, if it is 0.
	ExpireAfterSeconds int             `json:"expire_after_seconds,omitempty"`
	RetryConfig        json.RawMessage `json:"retry_config,omitempty"`
}

// onto gives a task of the tick at that time the terms.
func (t *Terms) onto(spec tasks.Spec, at time.Time) tasks.Spec {
	spec.Priority, spec.LimitKey, spec.Units, spec.OrderingKey = t.Priority, t.LimitKey, t.Units, t.OrderingKey
	spec.FairnessKey, spec.FairnessWeight, spec.Tags = t.FairnessKey, t.FairnessWeight, t.Tags
	spec.Timeout, spec.Retry = time.Duration(t.TimeoutSeconds)*time.Second, t.RetryConfig
	if t.ExpireAfterSeconds > 0 {
		spec.ExpiresAt = at.Add(time.Duration(t.ExpireAfterSeconds) * time.Second)
	}
	return spec
}

// shownRequest is a request as people see it: with its body as text, where it is one.
type shownRequest struct {
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"`
}

func showRequest(r *tasks.HTTPRequest) *shownRequest {
	if r == nil {
		return nil
	}
	out := shownRequest{Method: r.Method, URL: r.URL, Headers: r.Headers}
	if utf8.Valid(r.Body) {
		out.Body = string(r.Body)
	} else {
		out.BodyBase64 = r.Body
	}
	return &out
}

// MarshalJSON writes the template as callers give it.
func (t Template) MarshalJSON() ([]byte, error) {
	out := struct {
		Queue       string          `json:"queue"`
		Destination string          `json:"destination,omitempty"`
		Kind        string          `json:"kind,omitempty"`
		Args        json.RawMessage `json:"args,omitempty"`
		HTTPRequest *shownRequest   `json:"http_request,omitempty"`
		Verify      *shownRequest   `json:"verify,omitempty"`
		OnUnknown   string          `json:"on_unknown,omitempty"`
		Terms
	}{Queue: t.Queue, Destination: t.Destination, Kind: t.Kind, Args: t.Args, Terms: t.Terms}
	if len(t.HTTPRequest) > 0 {
		args, err := readRequest(t.HTTPRequest)
		if err != nil {
			return json.Marshal(out) // the schedule is paused for it
		}
		out.HTTPRequest, out.Verify, out.OnUnknown = showRequest(&args.Request), showRequest(args.Verify), args.OnUnknown
	}
	return json.Marshal(out)
}
