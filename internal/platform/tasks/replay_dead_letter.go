package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Again says what is different when a task is done once more.
type Again struct {
	// NewKey gives the other side a new idempotency key: it is to be done whatever became of the first one. Without it the other side can
	// tell that it is the same.
	NewKey  bool
	Request *HTTPRequest // in place of what the first one sent; nil: the same
}

// ReplayDeadLetter queues the task of a dead letter again, as a new task, and resolves the letter. After the commit, and only then,
// hand the result to DispatchEnqueued.
func (t *Tasks) ReplayDeadLetter(ctx context.Context, tx postgres.Tx, org, taskID ids.ID, again Again, by string) (Enqueued, error) {
	d, err := openLetter(ctx, tx, org, taskID)
	if err != nil {
		return Enqueued{}, err
	}
	letters := []DeadLetter{d}
	specs, refusals, err := t.readmit(ctx, tx, letters, again)
	if err == nil {
		err = refusals[0]
	}
	if err != nil {
		return Enqueued{}, err
	}
	list, err := t.replay(ctx, tx, org, letters, specs, by)
	if err != nil {
		return Enqueued{}, err
	}
	return list[0], nil
}

// readmit tells of each letter how its task is queued again, or why it cannot be: it is asked for from outside once more, and what Create
// wants has to be there still. Kontor's own work needs no queue, as it did when it was queued first.
func (t *Tasks) readmit(ctx context.Context, tx postgres.Tx, letters []DeadLetter, again Again) ([]Spec, []error, error) {
	specs := make([]Spec, len(letters))
	for i := range letters {
		var err error
		if specs[i], err = letters[i].again(again); err != nil {
			return nil, nil, err
		}
	}
	accepted, refusals, err := t.accept(ctx, tx, specs)
	if err != nil {
		return nil, nil, err
	}
	for i := range specs {
		switch refusal := refusals[i]; {
		case refusal == nil:
		case !t.mayEnd(specs[i].Kind):
			accepted[i], refusals[i] = specs[i], nil
		case errors.Is(refusal, ErrQueueNotFound):
			refusals[i] = ErrQueueDeleted
		default:
			refusals[i] = fault.From(refusal).At("") // who asks did not name what is at fault
		}
	}
	return accepted, refusals, nil
}

// replay queues the tasks of open dead letters that are locked, and resolves the letters.
func (t *Tasks) replay(ctx context.Context, tx postgres.Tx, org ids.ID, letters []DeadLetter, specs []Spec, by string) ([]Enqueued, error) {
	was, now := make([]ids.ID, len(letters)), make([]*ids.ID, len(letters))
	for i := range letters {
		specs[i].ID = t.source.New()
		was[i], now[i] = letters[i].TaskID, &specs[i].ID
	}
	list, err := t.EnqueueTx(ctx, tx, specs)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, resolveLettersSQL, org, LetterReplayed, by, "", was, now); err != nil {
		return nil, fmt.Errorf("resolve dead letters: %w", err)
	}
	return list, nil
}

// again is the task of the letter, to be queued once more. It has no name and no unique key: they were the first one's.
func (d *DeadLetter) again(again Again) (Spec, error) {
	var was struct {
		Queue          string          `json:"queue"`
		Destination    string          `json:"destination"`
		Kind           string          `json:"kind"`
		Args           json.RawMessage `json:"args"`
		SubjectType    string          `json:"subject_type"`
		SubjectID      string          `json:"subject_id"`
		LimitKey       string          `json:"limit_key"`
		Units          int             `json:"units"`
		OrderingKey    string          `json:"ordering_key"`
		FairnessKey    string          `json:"fairness_key"`
		FairnessWeight float32         `json:"fairness_weight"`
		Priority       int             `json:"priority"`
		TimeoutSeconds int             `json:"timeout_seconds"`
		RetryConfig    json.RawMessage `json:"retry_config"`
		IdempotencyKey string          `json:"idempotency_key"`
		Tags           []string        `json:"tags"`
	}
	if err := json.Unmarshal(d.spec, &was); err != nil {
		return Spec{}, fmt.Errorf("read the task of a dead letter: %w", err)
	}
	s := Spec{
		OrgID: d.OrgID, Queue: was.Queue, Destination: was.Destination, Kind: was.Kind, Args: was.Args, SubjectType: was.SubjectType,
		SubjectID: was.SubjectID, LimitKey: was.LimitKey, Units: was.Units, OrderingKey: was.OrderingKey, FairnessKey: was.FairnessKey,
		FairnessWeight: was.FairnessWeight, Priority: was.Priority, Timeout: time.Duration(was.TimeoutSeconds) * time.Second,
		IdempotencyKey: was.IdempotencyKey, Tags: was.Tags, ReplayOf: d.TaskID,
	}
	if len(was.RetryConfig) > 0 && string(was.RetryConfig) != "null" {
		s.Retry = was.RetryConfig
	}
	if again.Request != nil {
		if err := s.edit(*again.Request); err != nil {
			return Spec{}, err
		}
	}
	switch {
	case again.NewKey:
		s.IdempotencyKey = ""
	case s.IdempotencyKey == "":
		s.IdempotencyKey = ids.Format(Prefix, d.TaskID)
	}
	return s, nil
}

// edit has the task send another request.
func (s *Spec) edit(r HTTPRequest) error {
	if s.Kind != KindHTTP {
		return ErrNotReplayable
	}
	var args HTTPArgs
	if err := json.Unmarshal(s.Args, &args); err != nil {
		return fmt.Errorf("read the request of a task: %w", err)
	}
	args.Request = r
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("write the request of a task: %w", err)
	}
	s.Args = raw
	return nil
}
