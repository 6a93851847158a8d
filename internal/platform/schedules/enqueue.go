package schedules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// readRequest reads the template of an HTTP request, which is what tasks of that kind have as arguments.
func readRequest(raw []byte) (tasks.HTTPArgs, error) {
	var args tasks.HTTPArgs
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&args)
	return args, err
}

// spec is the task of a tick. after keeps a task from being leased to this node as it is queued, where nobody can
// hand it to the node after the commit.
func (s *Schedule) spec(taskID ids.ID, at time.Time, after time.Duration) (tasks.Spec, error) {
	kind, args := s.Task.Kind, s.fill(s.Task.Args, at)
	if kind == "" {
		var err error
		kind = tasks.KindHTTP
		if args, err = s.fillRequest(at); err != nil {
			return tasks.Spec{}, err
		}
	}
	return s.Task.Terms.onto(tasks.Spec{
		OrgID: s.OrgID, ID: taskID, Queue: s.Task.Queue, Destination: s.Task.Destination, Kind: kind, Args: args,
		SubjectType: aggregate, SubjectID: ids.Format(Prefix, s.ID), After: after,
	}, at), nil
}

// fill puts the tick in the place of the words that stand for it. What it puts in needs no escapes, in JSON or in a URL.
func (s *Schedule) fill(text []byte, at time.Time) []byte {
	text = bytes.ReplaceAll(text, []byte("{{tick_at}}"), []byte(at.UTC().Format(time.RFC3339)))
	return bytes.ReplaceAll(text, []byte("{{schedule_id}}"), []byte(ids.Format(Prefix, s.ID)))
}

// fillRequest fills the bodies apart: in JSON they are encoded.
func (s *Schedule) fillRequest(at time.Time) ([]byte, error) {
	args, err := readRequest(s.fill(s.Task.HTTPRequest, at))
	if err != nil {
		return nil, err
	}
	args.Request.Body = s.fill(args.Request.Body, at)
	if args.Verify != nil {
		args.Verify.Body = s.fill(args.Verify.Body, at)
	}
	return json.Marshal(args)
}

// acceptable tells why the schedule's tasks could not be queued as things are now.
func (s *Schedules) acceptable(ctx context.Context, tx postgres.Tx, c *Schedule, now time.Time) error {
	spec, err := c.spec(c.ID, now, 0)
	if err != nil {
		return err
	}
	err = s.tasks.Check(ctx, tx, spec)
	refusal, isFault := errors.AsType[*fault.Fault](err)
	if !isFault {
		return err
	}
	within := *refusal
	within.Params = nil
	if within.Param != "" {
		within.Param = "task." + within.Param
	}
	for _, p := range refusal.Params {
		within.Params = append(within.Params, fault.Problem{Param: "task." + p.Param, Detail: p.Detail})
	}
	return &within
}
