package api

import (
	"context"
	"net/http"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const (
	replaysPath = "/v1/replays/"
	keyPrefix   = "key" // of the ids of API keys
)

// by names who asks, for the record.
func by(ctx context.Context) string { return ids.Format(keyPrefix, callOf(ctx).principal.KeyID) }

// ListDeadLetters answers GET /v1/dead-letters.
func (s *Server) ListDeadLetters(ctx context.Context, r ListDeadLettersRequestObject) (ListDeadLettersResponseObject, error) {
	p := r.Params
	after, limit, err := position(listOfLetters, p.Cursor, p.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Tasks.DeadLetters(ctx, s.deps.DB.Pool(), org(ctx), tasks.LetterFilter{
		Resolution: string(valueOf(p.Resolution)), Reason: string(valueOf(p.Reason)), Fingerprint: valueOf(p.Fingerprint), Queue: valueOf(p.Queue),
		Destination: valueOf(p.Destination), Kind: valueOf(p.Kind), SubjectType: valueOf(p.SubjectType), SubjectID: valueOf(p.SubjectID),
		DeadFrom: moment(p.DeadFrom), DeadTo: moment(p.DeadTo),
	}, after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showLetter(&list[i]))...) }, next, listOfLetters), nil
}

// ListDeadLetterGroups answers GET /v1/dead-letters/groups.
func (s *Server) ListDeadLetterGroups(ctx context.Context, r ListDeadLetterGroupsRequestObject) (ListDeadLetterGroupsResponseObject, error) {
	after, limit, err := position(listOfGroups, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Tasks.DeadLetterGroups(ctx, s.deps.DB.Pool(), org(ctx), after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte {
		g := &list[i]
		return append(out, encoded(struct {
			Fingerprint string      `json:"fingerprint"`
			Count       int         `json:"count"`
			More        bool        `json:"more"`
			First       shownLetter `json:"first"`
			Latest      shownLetter `json:"latest"`
		}{g.Fingerprint, g.Count, g.More, showLetter(&g.First), showLetter(&g.Latest)})...)
	}, next, listOfGroups), nil
}

// GetDeadLetter answers GET /v1/dead-letters/{task_id}.
func (s *Server) GetDeadLetter(ctx context.Context, r GetDeadLetterRequestObject) (GetDeadLetterResponseObject, error) {
	id, err := ids.Parse(tasks.Prefix, r.TaskID)
	if err != nil {
		return nil, tasks.ErrLetterNotFound
	}
	d, err := s.deps.Tasks.DeadLetter(ctx, s.deps.DB.Pool(), org(ctx), id)
	if err != nil {
		return nil, err
	}
	return ok(encoded(showLetter(&d))), nil
}

// DiscardDeadLetter answers POST /v1/dead-letters/{task_id}/discard.
func (s *Server) DiscardDeadLetter(ctx context.Context, r DiscardDeadLetterRequestObject) (DiscardDeadLetterResponseObject, error) {
	id, err := ids.Parse(tasks.Prefix, r.TaskID)
	if err != nil {
		return nil, tasks.ErrLetterNotFound
	}
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		d, err := s.deps.Tasks.DiscardDeadLetter(ctx, tx, org(ctx), id, by(ctx), valueOf(r.Body.Note))
		return showLetter(&d), err
	})
}

// ReplayDeadLetter answers POST /v1/dead-letters/{task_id}/replay.
func (s *Server) ReplayDeadLetter(ctx context.Context, r ReplayDeadLetterRequestObject) (ReplayDeadLetterResponseObject, error) {
	id, err := ids.Parse(tasks.Prefix, r.TaskID)
	if err != nil {
		return nil, tasks.ErrLetterNotFound
	}
	return s.again(ctx, id, r.Body, s.deps.Tasks.ReplayDeadLetter)
}

type replaying func(ctx context.Context, tx postgres.Tx, org, id ids.ID, again tasks.Again, by string) (tasks.Enqueued, error)

// again has a task done once more.
func (s *Server) again(ctx context.Context, id ids.ID, b *TaskReplayRequest, replay replaying) (reply, error) {
	again := tasks.Again{NewKey: isTrue(b.NewKey)}
	if b.HTTPRequest != nil {
		request, found := requestOf("/http_request", b.HTTPRequest)
		if len(found) > 0 {
			return reply{}, invalid(found)
		}
		again.Request, again.NewKey = &request, b.NewKey == nil || *b.NewKey
	}
	var queued tasks.Enqueued
	answer, err := s.runner.Once(ctx, callOf(ctx).meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		var err error
		if queued, err = replay(ctx, tx, org(ctx), id, again, by(ctx)); err != nil {
			return command.Outcome{Err: inBody(err)}
		}
		return command.Outcome{Answer: command.Answer{Status: http.StatusCreated, SubjectID: queued.ID, Body: appendCreated(nil, &queued)}}
	})
	if err != nil {
		return reply{}, err
	}
	if !answer.Replayed {
		s.deps.Tasks.DispatchEnqueued([]tasks.Enqueued{queued})
	}
	return createdTask(answer), nil
}

// shownReplay is a Replay of the contract.
type shownReplay struct {
	ID                     shownID            `json:"id"`
	State                  string             `json:"state"`
	Filter                 tasks.LetterFilter `json:"filter"`
	NewKey                 bool               `json:"new_key"`
	MaxDispatchesPerSecond int                `json:"max_dispatches_per_second"`
	Canary                 int                `json:"canary"`
	StopAtFailurePercent   int                `json:"stop_at_failure_percent"`
	RequestedBy            string             `json:"requested_by"`
	Replayed               int                `json:"replayed"`
	Succeeded              int                `json:"succeeded"`
	Failed                 int                `json:"failed"`
	TakenBack              int                `json:"taken_back"`
	Refused                int                `json:"refused"`
	Refusal                nullable           `json:"refusal"`
	CreatedAt              stamp              `json:"created_at"`
	UpdatedAt              stamp              `json:"updated_at"`
	EndedAt                stamp              `json:"ended_at"`
}

func showReplay(r *tasks.Replay) shownReplay {
	return shownReplay{
		ID: shownID{tasks.ReplayPrefix, r.ID}, State: r.State, Filter: r.Filter, NewKey: r.NewKey, MaxDispatchesPerSecond: r.MaxDispatchesPerSecond,
		Canary: r.Canary, StopAtFailurePercent: r.StopAtFailurePercent, RequestedBy: r.RequestedBy, Replayed: r.Replayed, Succeeded: r.Succeeded,
		Failed: r.Failed, TakenBack: r.TakenBack, Refused: r.Refused, Refusal: nullable(r.Refusal), CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt), EndedAt: stamp(r.EndedAt),
	}
}

// stopAtFailureUsual is the share of failures, in percent, at which a replay stops that says nothing about it.
const stopAtFailureUsual = 50

// CreateReplay answers POST /v1/replays.
func (s *Server) CreateReplay(ctx context.Context, r CreateReplayRequestObject) (CreateReplayResponseObject, error) {
	b := r.Body
	f := b.Filter
	asked := tasks.Replay{
		OrgID: org(ctx), NewKey: isTrue(b.NewKey), MaxDispatchesPerSecond: int(valueOf(b.MaxDispatchesPerSecond)), Canary: int(valueOf(b.Canary)),
		StopAtFailurePercent: stopAtFailureUsual, RequestedBy: by(ctx),
		Filter: tasks.LetterFilter{
			Reason: string(valueOf(f.Reason)), Fingerprint: valueOf(f.Fingerprint), Queue: valueOf(f.Queue), Destination: valueOf(f.Destination),
			Kind: valueOf(f.Kind), SubjectType: valueOf(f.SubjectType), SubjectID: valueOf(f.SubjectID), DeadFrom: moment(f.DeadFrom), DeadTo: moment(f.DeadTo),
		},
	}
	if b.StopAtFailurePercent != nil {
		asked.StopAtFailurePercent = int(*b.StopAtFailurePercent)
	}
	if isTrue(b.DryRun) {
		return s.previewReplay(ctx, asked)
	}
	var work []tasks.Task
	answer, err := s.runner.Once(ctx, callOf(ctx).meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		made, list, err := s.deps.Tasks.BeginReplay(ctx, tx, asked)
		if err != nil {
			return command.Outcome{Err: inBody(err)}
		}
		work = list
		return command.Outcome{Answer: command.Answer{Status: http.StatusCreated, SubjectID: made.ID, Body: encoded(showReplay(&made))}}
	})
	if err != nil {
		return nil, err
	}
	if !answer.Replayed {
		s.deps.Tasks.Dispatch(work)
	}
	return reply{answer: answer, location: replaysPath + ids.Format(tasks.ReplayPrefix, answer.SubjectID)}, nil
}

func (s *Server) previewReplay(ctx context.Context, asked tasks.Replay) (reply, error) {
	p, err := s.deps.Tasks.PreviewReplay(ctx, s.deps.DB.Pool(), asked.OrgID, asked.Filter)
	if err != nil {
		return reply{}, err
	}
	sample := make([]shownLetter, len(p.Sample))
	for i := range p.Sample {
		sample[i] = showLetter(&p.Sample[i])
	}
	return ok(encoded(struct {
		Count  int           `json:"count"`
		More   bool          `json:"more"`
		Sample []shownLetter `json:"sample"`
	}{p.Count, p.More, sample})), nil
}

// GetReplay answers GET /v1/replays/{replay_id}.
func (s *Server) GetReplay(ctx context.Context, r GetReplayRequestObject) (GetReplayResponseObject, error) {
	id, err := ids.Parse(tasks.ReplayPrefix, r.ReplayID)
	if err != nil {
		return nil, tasks.ErrReplayNotFound
	}
	found, err := s.deps.Tasks.Replay(ctx, s.deps.DB.Pool(), org(ctx), id)
	if err != nil {
		return nil, err
	}
	return ok(encoded(showReplay(&found))), nil
}

// CancelReplay answers POST /v1/replays/{replay_id}/cancel.
func (s *Server) CancelReplay(ctx context.Context, r CancelReplayRequestObject) (CancelReplayResponseObject, error) {
	id, err := ids.Parse(tasks.ReplayPrefix, r.ReplayID)
	if err != nil {
		return nil, tasks.ErrReplayNotFound
	}
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		found, err := s.deps.Tasks.CancelReplay(ctx, tx, org(ctx), id)
		return showReplay(&found), err
	})
}
