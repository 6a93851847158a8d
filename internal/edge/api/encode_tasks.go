package api

import (
	"encoding/json"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// moments and texts of answers that encoding/json writes: null where there is none, times always with as many digits.
type (
	stamp    time.Time
	nullable string
	shownID  struct {
		prefix string
		id     ids.ID
	}
)

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) { return appendTimeOrNull(nil, time.Time(s)), nil }

// MarshalJSON implements json.Marshaler.
func (n nullable) MarshalJSON() ([]byte, error) { return appendTextOrNull(nil, string(n)), nil }

// MarshalJSON implements json.Marshaler.
func (s shownID) MarshalJSON() ([]byte, error) {
	if s.id.IsZero() {
		return []byte("null"), nil
	}
	return appendText(nil, []byte(ids.Format(s.prefix, s.id))), nil
}

func taskID(id ids.ID) shownID { return shownID{tasks.Prefix, id} }

// encoded writes an answer.
func encoded(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil { // plain values only: it cannot
		panic(err)
	}
	return body
}

func orNone[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

// shownTask is a Task of the contract.
type shownTask struct {
	ID             shownID         `json:"id"`
	Name           nullable        `json:"name"`
	Queue          string          `json:"queue"`
	Destination    nullable        `json:"destination"`
	Kind           string          `json:"kind"`
	State          string          `json:"state"`
	SubjectType    nullable        `json:"subject_type"`
	SubjectID      nullable        `json:"subject_id"`
	LimitKey       nullable        `json:"limit_key"`
	Units          int             `json:"units"`
	OrderingKey    nullable        `json:"ordering_key"`
	FairnessKey    nullable        `json:"fairness_key"`
	FairnessWeight float32         `json:"fairness_weight"`
	Priority       int             `json:"priority"`
	ScheduleTime   stamp           `json:"schedule_time"`
	ExpiresAt      stamp           `json:"expires_at"`
	TimeoutSeconds *int            `json:"timeout_seconds"`
	RetryConfig    json.RawMessage `json:"retry_config"`
	IdempotencyKey string          `json:"idempotency_key"`
	TraceParent    nullable        `json:"traceparent"`
	Tags           []string        `json:"tags"`
	ReplayOf       shownID         `json:"replay_of"`
	CreatedAt      stamp           `json:"created_at"`
	DueAt          stamp           `json:"due_at"`
	Attempts       int             `json:"attempts"`
	FirstFailedAt  stamp           `json:"first_failed_at"`
	EndedAt        stamp           `json:"ended_at"`
	LeasedBy       nullable        `json:"leased_by"`
	Cancelling     bool            `json:"cancelling"`
	LastAttempt    *shownAttempt   `json:"last_attempt"`
	HTTPRequest    json.RawMessage `json:"http_request,omitempty"`
}

func showTask(t *tasks.Shown) shownTask {
	out := shownTask{
		ID: taskID(t.ID), Name: nullable(t.Name), Queue: t.Queue, Destination: nullable(t.Destination), Kind: t.Kind, State: t.State,
		SubjectType: nullable(t.SubjectType), SubjectID: nullable(t.SubjectID), LimitKey: nullable(t.LimitKey), Units: t.Units,
		OrderingKey: nullable(t.OrderingKey), FairnessKey: nullable(t.FairnessKey), FairnessWeight: t.FairnessWeight, Priority: t.Priority,
		ScheduleTime: stamp(t.ScheduledAt), ExpiresAt: stamp(t.ExpiresAt), TimeoutSeconds: orNone(t.TimeoutSeconds),
		RetryConfig: t.RetryConfig, IdempotencyKey: t.IdempotencyKey, TraceParent: nullable(t.TraceParent), Tags: t.Tags,
		ReplayOf: taskID(t.ReplayOf), CreatedAt: stamp(t.CreatedAt), DueAt: stamp(t.DueAt), Attempts: t.Attempts,
		FirstFailedAt: stamp(t.FirstFailedAt), EndedAt: stamp(t.EndedAt), LeasedBy: nullable(t.LeasedBy), Cancelling: t.Cancelling,
	}
	if out.Tags == nil {
		out.Tags = []string{}
	}
	if t.Last.Number > 0 {
		last := showAttempt(&t.Last)
		out.LastAttempt = &last
	}
	return out
}

// shownAttempt is a TaskAttempt of the contract.
type shownAttempt struct {
	Number     int             `json:"number"`
	Node       string          `json:"node"`
	StartedAt  stamp           `json:"started_at"`
	FinishedAt stamp           `json:"finished_at"`
	Outcome    string          `json:"outcome"`
	ErrorCode  nullable        `json:"error_code"`
	Error      nullable        `json:"error"`
	Status     *int            `json:"status"`
	NextDueAt  stamp           `json:"next_due_at"`
	Exchange   json.RawMessage `json:"exchange,omitempty"`
}

func showAttempt(a *tasks.Attempt) shownAttempt {
	var detail struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(a.Detail, &detail) // a detail without an error is as good as none
	return shownAttempt{
		Number: a.Number, Node: a.Node, StartedAt: stamp(a.StartedAt), FinishedAt: stamp(a.FinishedAt), Outcome: a.Outcome,
		ErrorCode: nullable(a.ErrorCode), Error: nullable(detail.Error), Status: orNone(a.Status), NextDueAt: stamp(a.NextDueAt), Exchange: a.Exchange,
	}
}

// shownWaiting is a Waiting of the contract.
type shownWaiting struct {
	For          string   `json:"for"`
	Sentence     string   `json:"sentence"`
	Until        stamp    `json:"until"`
	HeldBy       nullable `json:"held_by"`
	Limit        nullable `json:"limit"`
	Behind       shownID  `json:"behind"`
	Position     int      `json:"position"`
	PositionMore bool     `json:"position_more"`
	PerSecond    *float64 `json:"per_second"`
	EstimatedAt  stamp    `json:"estimated_at"`
}

// explainedTask is a Task as one of them is read.
type explainedTask struct {
	shownTask
	Waiting *shownWaiting `json:"waiting"`
}

func explainTask(t *tasks.Shown, w tasks.Waiting, waits bool) explainedTask {
	out := explainedTask{shownTask: showTask(t)}
	if t.Kind == tasks.KindHTTP {
		out.HTTPRequest = shownRequest(t.Args)
	}
	if waits {
		out.Waiting = &shownWaiting{
			For: w.For, Sentence: w.Sentence, Until: stamp(w.Until), HeldBy: nullable(w.HeldBy), Limit: nullable(w.Limit), Behind: taskID(w.Behind),
			Position: w.Position, PositionMore: w.More, PerSecond: rounded(w.PerSecond, w.PerSecond > 0), EstimatedAt: stamp(w.Estimate),
		}
	}
	return out
}

// shownRequest is what a task sends, with its body as text.
func shownRequest(args []byte) json.RawMessage {
	var a tasks.HTTPArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil
	}
	return encoded(struct {
		Method  string            `json:"method"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers,omitempty"`
		Body    string            `json:"body,omitempty"`
	}{a.Request.Method, a.Request.URL, a.Request.Headers, string(a.Request.Body)})
}

// shownLetter is a DeadLetter of the contract.
type shownLetter struct {
	TaskID        shownID  `json:"task_id"`
	Queue         string   `json:"queue"`
	Destination   nullable `json:"destination"`
	Kind          string   `json:"kind"`
	SubjectType   nullable `json:"subject_type"`
	SubjectID     nullable `json:"subject_id"`
	Reason        string   `json:"reason"`
	ErrorCode     nullable `json:"error_code"`
	Error         nullable `json:"error"`
	Status        *int     `json:"status"`
	Fingerprint   string   `json:"fingerprint"`
	Attempts      int      `json:"attempts"`
	FirstFailedAt stamp    `json:"first_failed_at"`
	DeadAt        stamp    `json:"dead_at"`
	Resolution    string   `json:"resolution"`
	ResolvedAt    stamp    `json:"resolved_at"`
	ResolvedBy    nullable `json:"resolved_by"`
	Note          nullable `json:"note"`
	ReplayedAs    shownID  `json:"replayed_as"`
}

func showLetter(d *tasks.DeadLetter) shownLetter {
	return shownLetter{
		TaskID: taskID(d.TaskID), Queue: d.Queue, Destination: nullable(d.Destination), Kind: d.Kind, SubjectType: nullable(d.SubjectType),
		SubjectID: nullable(d.SubjectID), Reason: d.Reason, ErrorCode: nullable(d.ErrorCode), Error: nullable(d.Error), Status: orNone(d.Status),
		Fingerprint: d.Fingerprint, Attempts: d.Attempts, FirstFailedAt: stamp(d.FirstFailedAt), DeadAt: stamp(d.DeadAt), Resolution: d.Resolution,
		ResolvedAt: stamp(d.ResolvedAt), ResolvedBy: nullable(d.ResolvedBy), Note: nullable(d.Note), ReplayedAs: taskID(d.ReplayedAs),
	}
}
