package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/schedules"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const schedulesPath = "/v1/schedules/"

// shownSchedule is a Schedule of the contract.
type shownSchedule struct {
	ID            shownID            `json:"id"`
	Name          string             `json:"name"`
	State         string             `json:"state"`
	PauseReason   nullable           `json:"pause_reason"`
	Cron          string             `json:"cron"`
	TimeZone      string             `json:"time_zone"`
	MisfirePolicy string             `json:"misfire_policy"`
	MisfireMax    int                `json:"misfire_max"`
	GraceSeconds  int64              `json:"misfire_grace_seconds"`
	Task          schedules.Template `json:"task"`
	LastTickAt    stamp              `json:"last_tick_at"`
	NextTickAt    stamp              `json:"next_tick_at"`
	Version       int64              `json:"version"`
	CreatedAt     stamp              `json:"created_at"`
	UpdatedAt     stamp              `json:"updated_at"`
}

func showSchedule(s *schedules.Schedule) shownSchedule {
	return shownSchedule{
		ID: shownID{schedules.Prefix, s.ID}, Name: s.Name, State: string(s.State), PauseReason: nullable(s.PauseReason), Cron: s.Cron,
		TimeZone: s.TimeZone, MisfirePolicy: string(s.Misfire.Policy), MisfireMax: s.Misfire.Max, GraceSeconds: int64(s.Misfire.Grace / time.Second),
		Task: s.Task, LastTickAt: stamp(s.LastTickAt), NextTickAt: stamp(s.NextTickAt), Version: s.Version, CreatedAt: stamp(s.CreatedAt),
		UpdatedAt: stamp(s.UpdatedAt),
	}
}

// templateOf reads what a schedule's ticks make: it is a task without its times.
func templateOf(b *ScheduleTask) (schedules.Template, []fault.Problem) {
	spec, found := specOf(ids.ID{}, &TaskRequest{
		Queue: b.Queue, Destination: b.Destination, HTTPRequest: b.HTTPRequest, Verify: b.Verify, OnUnknown: b.OnUnknown,
		RetryConfig: b.RetryConfig,
	})
	for i := range found {
		found[i].Param = "/task" + found[i].Param
	}
	return schedules.Template{
		Queue: spec.Queue, Destination: spec.Destination, HTTPRequest: spec.Args,
		Terms: schedules.Terms{
			Priority: int(valueOf(b.Priority)), LimitKey: valueOf(b.LimitKey), Units: int(valueOf(b.Units)), OrderingKey: valueOf(b.OrderingKey),
			FairnessKey: valueOf(b.FairnessKey), FairnessWeight: float32(valueOf(b.FairnessWeight)), Tags: valueOf(b.Tags),
			TimeoutSeconds: int(valueOf(b.TimeoutSeconds)), ExpireAfterSeconds: int(valueOf(b.ExpireAfterSeconds)), RetryConfig: spec.Retry,
		},
	}, found
}

// withinBody has an error name places in a request's body as the body has them.
func withinBody(err error) error {
	f, isFault := errors.AsType[*fault.Fault](err)
	if !isFault {
		return err
	}
	place := func(param string) string {
		if param == "" || param[0] == '/' {
			return param
		}
		return "/" + strings.ReplaceAll(param, ".", "/")
	}
	placed := *f
	placed.Param, placed.Params = place(f.Param), make([]fault.Problem, len(f.Params))
	for i, p := range f.Params {
		placed.Params[i] = fault.Problem{Param: place(p.Param), Detail: p.Detail}
	}
	return &placed
}

// CreateSchedule answers POST /v1/schedules.
func (s *Server) CreateSchedule(ctx context.Context, r CreateScheduleRequestObject) (CreateScheduleResponseObject, error) {
	b := r.Body
	template, found := templateOf(&b.Task)
	if len(found) > 0 {
		return nil, invalid(found)
	}
	answer, err := s.runner.Once(ctx, callOf(ctx).meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		made, err := s.deps.Schedules.Create(ctx, tx, org(ctx), schedules.Input{
			Name: b.Name, Cron: b.Cron, TimeZone: valueOf(b.TimeZone), MisfirePolicy: schedules.MisfirePolicy(valueOf(b.MisfirePolicy)),
			MisfireMax: int(valueOf(b.MisfireMax)), MisfireGraceSeconds: int(valueOf(b.MisfireGraceSeconds)), Task: template,
		})
		if err != nil {
			return command.Outcome{Err: withinBody(err)}
		}
		return command.Outcome{Answer: command.Answer{Status: http.StatusCreated, SubjectID: made.ID, Body: encoded(showSchedule(&made))}}
	})
	out := reply{answer: answer}
	if answer.Status == http.StatusCreated {
		out.location = schedulesPath + ids.Format(schedules.Prefix, answer.SubjectID)
	}
	return out, err
}

// UpdateSchedule answers PATCH /v1/schedules/{schedule_id}.
func (s *Server) UpdateSchedule(ctx context.Context, r UpdateScheduleRequestObject) (UpdateScheduleResponseObject, error) {
	b := r.Body
	var template schedules.Template
	if b.Task != nil {
		var found []fault.Problem
		if template, found = templateOf(b.Task); len(found) > 0 {
			return nil, invalid(found)
		}
	}
	edit := func(said *schedules.Input) {
		put(&said.Name, b.Name)
		put(&said.Cron, b.Cron)
		put(&said.TimeZone, b.TimeZone)
		put(&said.MisfireMax, intOf(b.MisfireMax))
		put(&said.MisfireGraceSeconds, intOf(b.MisfireGraceSeconds))
		if b.MisfirePolicy != nil {
			said.MisfirePolicy = schedules.MisfirePolicy(*b.MisfirePolicy)
		}
		if b.Task != nil {
			said.Task = template
		}
	}
	return s.changeSchedule(ctx, r.ScheduleID, func(ctx context.Context, tx postgres.Tx, org, id ids.ID) (schedules.Schedule, error) {
		return s.deps.Schedules.Update(ctx, tx, org, id, valueOf(b.Version), edit)
	})
}

// put writes what was given.
func put[T any](place, given *T) {
	if given != nil {
		*place = *given
	}
}

// PauseSchedule answers POST /v1/schedules/{schedule_id}/pause.
func (s *Server) PauseSchedule(ctx context.Context, r PauseScheduleRequestObject) (PauseScheduleResponseObject, error) {
	return s.changeSchedule(ctx, r.ScheduleID, func(ctx context.Context, tx postgres.Tx, org, id ids.ID) (schedules.Schedule, error) {
		return s.deps.Schedules.Pause(ctx, tx, org, id, 0, valueOf(r.Body.Reason))
	})
}

// ResumeSchedule answers POST /v1/schedules/{schedule_id}/resume.
func (s *Server) ResumeSchedule(ctx context.Context, r ResumeScheduleRequestObject) (ResumeScheduleResponseObject, error) {
	return s.changeSchedule(ctx, r.ScheduleID, func(ctx context.Context, tx postgres.Tx, org, id ids.ID) (schedules.Schedule, error) {
		return s.deps.Schedules.Resume(ctx, tx, org, id, 0)
	})
}

// changeSchedule does something to the schedule that the path names.
func (s *Server) changeSchedule(ctx context.Context, shown string,
	change func(ctx context.Context, tx postgres.Tx, org, id ids.ID) (schedules.Schedule, error),
) (reply, error) {
	id, err := ids.Parse(schedules.Prefix, shown)
	if err != nil {
		return reply{}, schedules.ErrNotFound
	}
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		changed, err := change(ctx, tx, org(ctx), id)
		return showSchedule(&changed), withinBody(err)
	})
}

// DeleteSchedule answers DELETE /v1/schedules/{schedule_id}.
func (s *Server) DeleteSchedule(ctx context.Context, r DeleteScheduleRequestObject) (DeleteScheduleResponseObject, error) {
	id, err := ids.Parse(schedules.Prefix, r.ScheduleID)
	if err != nil {
		return nil, schedules.ErrNotFound
	}
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		was, err := s.deps.Schedules.Delete(ctx, tx, org(ctx), id, 0)
		return gone{was.Name, true}, err
	})
}

// RunSchedule answers POST /v1/schedules/{schedule_id}/run.
func (s *Server) RunSchedule(ctx context.Context, r RunScheduleRequestObject) (RunScheduleResponseObject, error) {
	id, err := ids.Parse(schedules.Prefix, r.ScheduleID)
	if err != nil {
		return nil, schedules.ErrNotFound
	}
	answer, err := s.runner.Once(ctx, callOf(ctx).meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		task, err := s.deps.Schedules.RunNow(ctx, tx, org(ctx), id)
		if err != nil {
			return command.Outcome{Err: err}
		}
		queued := tasks.Enqueued{Task: tasks.Task{ID: task}}
		return command.Outcome{Answer: command.Answer{Status: http.StatusCreated, SubjectID: task, Body: appendCreated(nil, &queued)}}
	})
	if err != nil {
		return nil, err
	}
	return createdTask(answer), nil
}

// GetSchedule answers GET /v1/schedules/{schedule_id}.
func (s *Server) GetSchedule(ctx context.Context, r GetScheduleRequestObject) (GetScheduleResponseObject, error) {
	id, err := ids.Parse(schedules.Prefix, r.ScheduleID)
	if err != nil {
		return nil, schedules.ErrNotFound
	}
	found, err := s.deps.Schedules.Get(ctx, s.deps.DB.Pool(), org(ctx), id)
	if err != nil {
		return nil, err
	}
	return ok(encoded(showSchedule(&found))), nil
}

// ListSchedules answers GET /v1/schedules.
func (s *Server) ListSchedules(ctx context.Context, r ListSchedulesRequestObject) (ListSchedulesResponseObject, error) {
	after, limit, err := position(listOfSchedules, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	filter := schedules.Filter{State: schedules.State(valueOf(r.Params.State)), Name: valueOf(r.Params.Name)}
	list, next, err := s.deps.Schedules.List(ctx, s.deps.DB.Pool(), org(ctx), filter, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showSchedule(&list[i]))...) }, next, listOfSchedules), nil
}

// previewDefault is how many ticks are shown when nobody says.
const previewDefault = 20

func previewLength(limit *int32) int {
	if limit == nil {
		return previewDefault
	}
	return int(*limit)
}

// PreviewSchedule answers GET /v1/schedules/{schedule_id}/ticks.
func (s *Server) PreviewSchedule(ctx context.Context, r PreviewScheduleRequestObject) (PreviewScheduleResponseObject, error) {
	id, err := ids.Parse(schedules.Prefix, r.ScheduleID)
	if err != nil {
		return nil, schedules.ErrNotFound
	}
	list, err := s.deps.Schedules.PreviewOf(ctx, s.deps.DB.Pool(), org(ctx), id, previewLength(r.Params.Limit))
	return showTicks(list), err
}

// PreviewRule answers GET /v1/schedules/preview.
func (s *Server) PreviewRule(ctx context.Context, r PreviewRuleRequestObject) (PreviewRuleResponseObject, error) {
	p := r.Params
	list, err := s.deps.Schedules.Preview(ctx, s.deps.DB.Pool(), p.Cron, valueOf(p.TimeZone), previewLength(p.Limit))
	return showTicks(list), err
}

func showTicks(list []time.Time) reply {
	shown := make([]stamp, len(list))
	for i, at := range list {
		shown[i] = stamp(at.UTC())
	}
	return ok(encoded(struct {
		Ticks []stamp `json:"ticks"`
	}{shown}))
}
