package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const tasksPath = "/v1/tasks/"

// createTasks is the body of the lane for new tasks.
func (s *Server) createTasks(ctx context.Context, tx postgres.Tx, items []command.Item[tasks.Spec]) ([]command.Outcome, error) {
	specs := make([]tasks.Spec, len(items))
	for i := range items {
		specs[i] = items[i].In
	}
	made, err := s.deps.Tasks.Create(ctx, tx, specs)
	if err != nil {
		return nil, err
	}
	outcomes := make([]command.Outcome, len(made))
	for i := range made {
		if made[i].Err != nil {
			outcomes[i].Err = inBody(made[i].Err)
			continue
		}
		status := http.StatusCreated
		if made[i].Deduplicated {
			status = http.StatusOK
		}
		outcomes[i] = command.Outcome{
			Answer: command.Answer{Status: status, SubjectID: made[i].ID, Body: appendCreated(nil, &made[i].Enqueued)}, Carry: made[i],
		}
	}
	return outcomes, nil
}

// startTasks hands tasks to this node's workers once their batch has committed.
func (s *Server) startTasks(outcomes []command.Outcome) {
	made := make([]tasks.Created, 0, len(outcomes))
	for _, o := range outcomes {
		if c, ok := o.Carry.(tasks.Created); ok {
			made = append(made, c)
		}
	}
	s.deps.Tasks.DispatchCreated(made)
}

// appendCreated writes a TaskCreated.
func appendCreated(out []byte, t *tasks.Enqueued) []byte {
	out = append(append(out, `{"id":"`...), ids.Format(tasks.Prefix, t.ID)...)
	return append(strconv.AppendBool(append(out, `","deduplicated":`...), t.Deduplicated), '}')
}

// CreateTask answers POST /v1/tasks.
func (s *Server) CreateTask(ctx context.Context, r CreateTaskRequestObject) (CreateTaskResponseObject, error) {
	spec, found := specOf(org(ctx), r.Body)
	if len(found) > 0 {
		return nil, invalid(found)
	}
	answer, err := s.creating.Do(ctx, callOf(ctx).meta(), traced(ctx, spec))
	if err != nil {
		return nil, err
	}
	return createdTask(answer), nil
}

func createdTask(a command.Answer) reply {
	r := reply{answer: a}
	if a.Status == http.StatusCreated {
		r.location = tasksPath + ids.Format(tasks.Prefix, a.SubjectID)
	}
	return r
}

// specOf reads a new task from a request.
func specOf(org ids.ID, b *TaskRequest) (tasks.Spec, []fault.Problem) {
	args := tasks.HTTPArgs{OnUnknown: string(valueOf(b.OnUnknown))}
	var found []fault.Problem
	args.Request, found = requestOf("/http_request", &b.HTTPRequest)
	if b.Verify != nil {
		verify, more := requestOf("/verify", b.Verify)
		args.Verify, found = &verify, append(found, more...)
	}
	if args.OnUnknown == tasks.OnUnknownVerify && args.Verify == nil {
		found = append(found, fault.Problem{Param: "/verify", Detail: "is required when on_unknown is verify"})
	}
	if b.UniquePeriodSeconds != nil && b.UniqueKey == nil {
		found = append(found, fault.Problem{Param: "/unique_period_seconds", Detail: "needs a unique_key"})
	}
	if b.IdempotencyKey != nil {
		found = append(found, unsendable("", destinations.Request{Method: http.MethodGet, URL: "/", IdempotencyKey: *b.IdempotencyKey})...)
	}
	seconds := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	return tasks.Spec{
		OrgID: org, Queue: valueOf(b.Queue), Destination: b.Destination, Kind: tasks.KindHTTP, Args: encoded(args),
		SubjectType: valueOf(b.SubjectType), SubjectID: valueOf(b.SubjectID), At: moment(b.ScheduleTime),
		Priority: int(valueOf(b.Priority)), LimitKey: valueOf(b.LimitKey), Units: int(valueOf(b.Units)), FairnessKey: valueOf(b.FairnessKey),
		FairnessWeight: float32(valueOf(b.FairnessWeight)), OrderingKey: valueOf(b.OrderingKey), Name: valueOf(b.Name),
		UniqueKey: valueOf(b.UniqueKey), UniqueFor: seconds(valueOf(b.UniquePeriodSeconds)), OnConflict: string(valueOf(b.OnConflict)), ExpiresAt: moment(b.ExpiresAt),
		Timeout: seconds(int64(valueOf(b.TimeoutSeconds))), Retry: retryOf(b.RetryConfig), IdempotencyKey: valueOf(b.IdempotencyKey),
		TraceParent: valueOf(b.Traceparent), Tags: valueOf(b.Tags),
	}, found
}

// traced gives a task the span of the request that asks for it, unless it came with another: its attempts belong to that trace.
func traced(ctx context.Context, spec tasks.Spec) tasks.Spec {
	if spec.TraceParent == "" {
		spec.TraceParent = traceParent(ctx)
	}
	return spec
}

// traceParent is the span of a request, as the W3C writes it; empty: it has none.
func traceParent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// requestOf reads what a task sends.
func requestOf(at string, b *HTTPRequest) (tasks.HTTPRequest, []fault.Problem) {
	r := tasks.HTTPRequest{Method: string(b.Method), URL: b.URL, Headers: valueOf(b.Headers), Body: []byte(valueOf(b.Body))}
	header := make(http.Header, len(r.Headers))
	for name, value := range r.Headers {
		header[name] = []string{value}
	}
	if found := unsendable(at, destinations.Request{Method: r.Method, URL: r.URL, Header: header}); len(found) > 0 {
		return r, found
	}
	if b.BodyBase64 == nil {
		return r.WithContentType(), nil
	}
	if b.Body != nil {
		return r, []fault.Problem{{Param: at + "/body_base64", Detail: "is there beside body; give one of the two"}}
	}
	var err error
	if r.Body, err = base64.StdEncoding.DecodeString(*b.BodyBase64); err != nil {
		return r, []fault.Problem{{Param: at + "/body_base64", Detail: "is not base64 as RFC 4648 has it, with its padding"}}
	}
	return r.WithContentType(), nil
}

// unsendable tells what no destination could be sent, at its place in the body.
func unsendable(at string, r destinations.Request) []fault.Problem {
	found := r.Unsendable()
	for i, p := range found {
		found[i] = fault.Problem{
			Param:  at + "/" + p.Param,
			Detail: "cannot be sent: " + strings.ToLower(p.Detail[:1]) + strings.TrimSuffix(p.Detail[1:], "."),
		}
	}
	return found
}

// CreateTaskBatch answers POST /v1/tasks/batch. A batch is its own transaction, of all its tasks or none.
func (s *Server) CreateTaskBatch(ctx context.Context, r CreateTaskBatchRequestObject) (CreateTaskBatchResponseObject, error) {
	specs := make([]tasks.Spec, len(r.Body.Tasks))
	var found []fault.Problem
	for i := range r.Body.Tasks {
		spec, wrong := specOf(org(ctx), &r.Body.Tasks[i])
		for _, p := range wrong {
			found = append(found, fault.Problem{Param: "/tasks/" + strconv.Itoa(i) + p.Param, Detail: p.Detail})
		}
		specs[i] = traced(ctx, spec)
	}
	if len(found) > 0 {
		return nil, invalid(found)
	}
	var made []tasks.Created
	answer, err := s.runner.Once(ctx, callOf(ctx).meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		var err error
		if made, err = s.deps.Tasks.Create(ctx, tx, specs); err != nil {
			return command.Outcome{Err: err}
		}
		return taskBatchOutcome(made)
	})
	if err != nil {
		return nil, err
	}
	if !answer.Replayed {
		s.deps.Tasks.DispatchCreated(made)
	}
	return reply{answer: answer}, nil
}

// taskBatchOutcome writes a result for each task; one that is refused makes it an error.
func taskBatchOutcome(made []tasks.Created) command.Outcome {
	var refusal batchRefusal
	var found []fault.Problem
	refused, old := 0, 0
	body := append(make([]byte, 0, 80*len(made)), `{"tasks":[`...)
	for i := range made {
		if made[i].Err != nil {
			if refused++; len(found) < problemsMax {
				f := faultOf(inBody(made[i].Err))
				refusal.faults = append(refusal.faults, f)
				found = append(found, fault.Problem{Param: "/tasks/" + strconv.Itoa(i) + f.Param, Detail: f.Detail})
			}
			continue
		}
		if i > 0 {
			body = append(body, ',')
		}
		if made[i].Deduplicated {
			old++
		}
		body = appendCreated(body, &made[i].Enqueued)
	}
	if refused > 0 {
		detail := fmt.Sprintf("%d of %d tasks were refused, so none was queued; the first: %s", refused, len(made), found[0].Detail)
		f := fault.New(fault.Conflict, "batch_rejected", "%s", detail)
		f.Params = found
		return command.Outcome{Err: f.Because(refusal)}
	}
	body = appendInt(append(body, ']'), `,"created":`, int64(len(made)-old))
	body = append(appendInt(body, `,"deduplicated":`, int64(old)), '}')
	return command.Outcome{Answer: command.Answer{Status: http.StatusOK, Body: body}}
}

// GetTask answers GET /v1/tasks/{task_id}.
func (s *Server) GetTask(ctx context.Context, r GetTaskRequestObject) (GetTaskResponseObject, error) {
	id, err := ids.Parse(tasks.Prefix, r.TaskID)
	if err != nil {
		return nil, tasks.ErrNotFound
	}
	t, w, waits, err := s.deps.Tasks.Explain(ctx, org(ctx), id)
	if err != nil {
		return nil, err
	}
	return ok(encoded(explainTask(&t, w, waits))), nil
}

// ListTasks answers GET /v1/tasks.
func (s *Server) ListTasks(ctx context.Context, r ListTasksRequestObject) (ListTasksResponseObject, error) {
	p := r.Params
	after, limit, err := position(listOfTasks, p.Cursor, p.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Tasks.List(ctx, s.deps.DB.Pool(), org(ctx), tasks.Filter{
		State: string(valueOf(p.State)), Queue: valueOf(p.Queue), Destination: valueOf(p.Destination), Kind: valueOf(p.Kind),
		SubjectType: valueOf(p.SubjectType), SubjectID: valueOf(p.SubjectID), Tag: valueOf(p.Tag),
		CreatedFrom: moment(p.CreatedFrom), CreatedTo: moment(p.CreatedTo),
	}, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showTask(&list[i]))...) }, next, listOfTasks), nil
}

// ListTaskAttempts answers GET /v1/tasks/{task_id}/attempts.
func (s *Server) ListTaskAttempts(ctx context.Context, r ListTaskAttemptsRequestObject) (ListTaskAttemptsResponseObject, error) {
	after, limit, err := position(listOfAttempts, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	id, err := ids.Parse(tasks.Prefix, r.TaskID)
	if err != nil {
		return nil, tasks.ErrNotFound
	}
	pool := s.deps.DB.Pool()
	list, next, err := s.deps.Tasks.Attempts(ctx, pool, org(ctx), id, after, limit)
	if err == nil && len(list) == 0 {
		_, err = s.deps.Tasks.Get(ctx, pool, org(ctx), id)
	}
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showAttempt(&list[i]))...) }, next, listOfAttempts), nil
}

// CancelTask answers POST /v1/tasks/{task_id}/cancel.
func (s *Server) CancelTask(ctx context.Context, r CancelTaskRequestObject) (CancelTaskResponseObject, error) {
	return s.changeTask(ctx, r.TaskID, s.deps.Tasks.CancelOne)
}

// RunTask answers POST /v1/tasks/{task_id}/run.
func (s *Server) RunTask(ctx context.Context, r RunTaskRequestObject) (RunTaskResponseObject, error) {
	return s.changeTask(ctx, r.TaskID, s.deps.Tasks.RunNow)
}

// changeTask does something to the task that the path names.
func (s *Server) changeTask(ctx context.Context, shown string, change func(ctx context.Context, tx postgres.Tx, org, id ids.ID) (tasks.Shown, error)) (reply, error) {
	id, err := ids.Parse(tasks.Prefix, shown)
	if err != nil {
		return reply{}, tasks.ErrNotFound
	}
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		t, err := change(ctx, tx, org(ctx), id)
		return showTask(&t), err
	})
}
