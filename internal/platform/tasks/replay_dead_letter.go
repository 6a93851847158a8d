package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// ReplayDeadLetter queues the task of a dead letter again, as a new task, and resolves the letter. The new one has the idempotency
// key of the old, so that the other side can tell, unless newKey says that it is to be done once more whatever it did. After the
// commit, and only then, hand the result to DispatchEnqueued.
func (t *Tasks) ReplayDeadLetter(ctx context.Context, tx postgres.Tx, org, taskID ids.ID, newKey bool, by string) (Enqueued, error) {
	d, err := openLetter(ctx, tx, org, taskID)
	if err != nil {
		return Enqueued{}, err
	}
	list, err := t.replay(ctx, tx, org, []DeadLetter{d}, newKey, by, nil)
	if err != nil {
		return Enqueued{}, err
	}
	return list[0], nil
}

// replay queues the tasks of open dead letters that are locked, each at its time if there are times, and resolves the letters.
func (t *Tasks) replay(ctx context.Context, tx postgres.Tx, org ids.ID, letters []DeadLetter, newKey bool, by string, at []time.Time) ([]Enqueued, error) {
	specs := make([]Spec, len(letters))
	was, now := make([]ids.ID, len(letters)), make([]*ids.ID, len(letters))
	for i := range letters {
		s, err := letters[i].again(newKey)
		if err != nil {
			return nil, err
		}
		if s.ID = t.source.New(); at != nil {
			s.At = at[i]
		}
		specs[i], was[i], now[i] = s, letters[i].TaskID, &s.ID
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
func (d *DeadLetter) again(newKey bool) (Spec, error) {
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
	switch {
	case newKey:
		s.IdempotencyKey = ""
	case s.IdempotencyKey == "":
		s.IdempotencyKey = ids.Format(Prefix, d.TaskID)
	}
	return s, nil
}
