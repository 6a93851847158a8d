package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const queuesPath = "/v1/queues/"

// once carries out a command that is not worth a lane: body returns what its caller is told.
func (s *Server) once(ctx context.Context, status int, body func(ctx context.Context, tx postgres.Tx) (any, error)) (reply, error) {
	answer, err := s.runner.Once(ctx, callOf(ctx).meta(), func(ctx context.Context, tx postgres.Tx) command.Outcome {
		made, err := body(ctx, tx)
		if err != nil {
			return command.Outcome{Err: inBody(err)}
		}
		return command.Outcome{Answer: command.Answer{Status: status, Body: encoded(made)}}
	})
	return reply{answer: answer}, err
}

// org is whose key the request came with.
func org(ctx context.Context) ids.ID { return callOf(ctx).principal.OrgID }

// shownQueue is a Queue of the contract.
type shownQueue struct {
	Name                    string          `json:"name"`
	State                   string          `json:"state"`
	PausedUntil             stamp           `json:"paused_until"`
	PauseReason             nullable        `json:"pause_reason"`
	MaxDispatchesPerSecond  tasks.Rate      `json:"max_dispatches_per_second"`
	EffectiveDispatchRate   tasks.Rate      `json:"effective_dispatch_rate"`
	MaxBurstSize            int             `json:"max_burst_size"`
	MaxConcurrentDispatches int             `json:"max_concurrent_dispatches"`
	RetryConfig             json.RawMessage `json:"retry_config"`
	TaskTTLSeconds          int64           `json:"task_ttl_seconds"`
	TombstoneTTLSeconds     int64           `json:"tombstone_ttl_seconds"`
	Version                 int64           `json:"version"`
	CreatedAt               stamp           `json:"created_at"`
	UpdatedAt               stamp           `json:"updated_at"`
	Tasks                   *shownCounts    `json:"tasks,omitempty"`
}

type shownCounts struct {
	Scheduled int  `json:"scheduled"`
	Available int  `json:"available"`
	Blocked   int  `json:"blocked"`
	Running   int  `json:"running"`
	Retryable int  `json:"retryable"`
	More      bool `json:"more"`
	// DrainEstimateSeconds is nil where nobody knows.
	DrainEstimateSeconds *int64 `json:"drain_estimate_seconds"`
}

func showQueue(q *tasks.Queue) shownQueue {
	return shownQueue{
		Name: q.Name, State: q.State, PausedUntil: stamp(q.PausedUntil), PauseReason: nullable(q.PauseReason),
		MaxDispatchesPerSecond: q.MaxDispatchesPerSecond, EffectiveDispatchRate: q.EffectiveRate(), MaxBurstSize: q.MaxBurstSize, MaxConcurrentDispatches: q.MaxConcurrentDispatches,
		RetryConfig: q.RetryConfig, TaskTTLSeconds: q.TaskTTLSeconds, TombstoneTTLSeconds: q.TombstoneTTLSeconds, Version: q.Version,
		CreatedAt: stamp(q.CreatedAt), UpdatedAt: stamp(q.UpdatedAt),
	}
}

// queueCommand carries out a command whose answer is the queue.
func (s *Server) queueCommand(ctx context.Context, status int, body func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error)) (reply, error) {
	return s.once(ctx, status, func(ctx context.Context, tx postgres.Tx) (any, error) {
		q, err := body(ctx, tx)
		return showQueue(&q), err
	})
}

// retryOf writes a retry configuration as the tasks have it: what is left out stays so.
func retryOf(c *RetryConfig) []byte {
	if c == nil {
		return nil
	}
	out := struct {
		Preset                  *RetryConfigPreset `json:"preset,omitempty"`
		MaxAttempts             *int32             `json:"max_attempts,omitempty"`
		MinBackoffSeconds       *int32             `json:"min_backoff_seconds,omitempty"`
		MaxBackoffSeconds       *int32             `json:"max_backoff_seconds,omitempty"`
		MaxDoublings            *int32             `json:"max_doublings,omitempty"`
		MaxRetryDurationSeconds *int32             `json:"max_retry_duration_seconds,omitempty"`
		Jitter                  *float64           `json:"jitter,omitempty"`
		ScheduleSeconds         *[]int32           `json:"schedule_seconds,omitempty"`
	}{c.Preset, c.MaxAttempts, c.MinBackoffSeconds, c.MaxBackoffSeconds, c.MaxDoublings, c.MaxRetryDurationSeconds, nil, c.ScheduleSeconds}
	if c.JitterPercent != nil {
		jitter := float64(*c.JitterPercent) / 100
		out.Jitter = &jitter
	}
	return encoded(out)
}

func intOf(n *int32) *int {
	if n == nil {
		return nil
	}
	wide := int(*n)
	return &wide
}

func rateOf(n *float64) *tasks.Rate {
	if n == nil {
		return nil
	}
	rate := tasks.RateOf(*n)
	return &rate
}

// CreateQueue answers POST /v1/queues.
func (s *Server) CreateQueue(ctx context.Context, r CreateQueueRequestObject) (CreateQueueResponseObject, error) {
	b := r.Body
	made, err := s.queueCommand(ctx, http.StatusCreated, func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error) {
		return s.deps.Tasks.CreateQueue(ctx, tx, org(ctx), b.Name, tasks.QueueSettings{
			MaxDispatchesPerSecond: rateOf(b.MaxDispatchesPerSecond), MaxBurstSize: intOf(b.MaxBurstSize),
			MaxConcurrentDispatches: intOf(b.MaxConcurrentDispatches), RetryConfig: retryOf(b.RetryConfig),
			TaskTTLSeconds: b.TaskTTLSeconds, TombstoneTTLSeconds: b.TombstoneTTLSeconds,
		})
	})
	made.location = queuesPath + b.Name
	return made, err
}

// UpdateQueue answers PATCH /v1/queues/{queue}.
func (s *Server) UpdateQueue(ctx context.Context, r UpdateQueueRequestObject) (UpdateQueueResponseObject, error) {
	b := r.Body
	return s.queueCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error) {
		return s.deps.Tasks.UpdateQueue(ctx, tx, org(ctx), r.Queue, valueOf(b.Version), tasks.QueueSettings{
			MaxDispatchesPerSecond: rateOf(b.MaxDispatchesPerSecond), MaxBurstSize: intOf(b.MaxBurstSize),
			MaxConcurrentDispatches: intOf(b.MaxConcurrentDispatches), RetryConfig: retryOf(b.RetryConfig),
			TaskTTLSeconds: b.TaskTTLSeconds, TombstoneTTLSeconds: b.TombstoneTTLSeconds,
		})
	})
}

// gone is the answer to a deletion.
type gone struct {
	Name    string `json:"name"`
	Deleted bool   `json:"deleted"`
}

// DeleteQueue answers DELETE /v1/queues/{queue}.
func (s *Server) DeleteQueue(ctx context.Context, r DeleteQueueRequestObject) (DeleteQueueResponseObject, error) {
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		spare := func(ctx context.Context, tx postgres.Tx) error {
			return s.deps.Schedules.SpareQueue(ctx, tx, org(ctx), r.Queue)
		}
		return gone{r.Queue, true}, s.deps.Tasks.DeleteQueue(ctx, tx, org(ctx), r.Queue, spare)
	})
}

// PauseQueue answers POST /v1/queues/{queue}/pause.
func (s *Server) PauseQueue(ctx context.Context, r PauseQueueRequestObject) (PauseQueueResponseObject, error) {
	return s.queueCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error) {
		return s.deps.Tasks.PauseQueue(ctx, tx, org(ctx), r.Queue, moment(r.Body.PausedUntil), valueOf(r.Body.Reason))
	})
}

// ResumeQueue answers POST /v1/queues/{queue}/resume.
func (s *Server) ResumeQueue(ctx context.Context, r ResumeQueueRequestObject) (ResumeQueueResponseObject, error) {
	return s.queueCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error) {
		return s.deps.Tasks.ResumeQueue(ctx, tx, org(ctx), r.Queue)
	})
}

// DrainQueue answers POST /v1/queues/{queue}/drain.
func (s *Server) DrainQueue(ctx context.Context, r DrainQueueRequestObject) (DrainQueueResponseObject, error) {
	return s.queueCommand(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (tasks.Queue, error) {
		return s.deps.Tasks.DrainQueue(ctx, tx, org(ctx), r.Queue)
	})
}

// GetQueue answers GET /v1/queues/{queue}.
func (s *Server) GetQueue(ctx context.Context, r GetQueueRequestObject) (GetQueueResponseObject, error) {
	pool := s.deps.DB.Pool()
	q, err := s.deps.Tasks.Queue(ctx, pool, org(ctx), r.Queue)
	if err != nil {
		return nil, err
	}
	counts, err := s.deps.Tasks.CountQueue(ctx, pool, org(ctx), r.Queue)
	if err != nil {
		return nil, err
	}
	shown, n := showQueue(&q), counts.ByState
	shown.Tasks = &shownCounts{
		n[tasks.StateScheduled], n[tasks.StateAvailable], n[tasks.StateBlocked], n[tasks.StateRunning], n[tasks.StateRetryable], counts.More, nil,
	}
	if took, known := counts.Drain(&q); known {
		seconds := int64((took + time.Second - 1) / time.Second)
		shown.Tasks.DrainEstimateSeconds = &seconds
	}
	return ok(encoded(shown)), nil
}

// ListQueues answers GET /v1/queues.
func (s *Server) ListQueues(ctx context.Context, r ListQueuesRequestObject) (ListQueuesResponseObject, error) {
	after, limit, err := position(listOfQueues, r.Params.Cursor, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	list, next, err := s.deps.Tasks.Queues(ctx, s.deps.DB.Pool(), org(ctx), after, limit)
	if err != nil {
		return nil, err
	}
	return page(len(list), func(out []byte, i int) []byte { return append(out, encoded(showQueue(&list[i]))...) }, next, listOfQueues), nil
}
