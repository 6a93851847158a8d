package tasks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// Created is the task that was asked for, the one that has its name or unique key, or why there is none.
type Created struct {
	Enqueued
	Err error
}

// hot
const acceptingQueuesSQL = `
	select w.n, q.state, q.task_ttl_seconds, q.tombstone_ttl_seconds
	from unnest($1::uuid[], $2::text[]) with ordinality as w (org_id, name, n)
	join task_queue q on q.org_id = w.org_id and q.name = w.name
	order by q.org_id, q.name
	for key share of q`

// Create queues work that somebody asks for from outside, one Created each, in order; one that is refused does not disturb the
// others. Unlike EnqueueTx it wants the queue and the destination to be there, and gives the task its queue's times. After the
// commit, and only then, hand the result to DispatchCreated.
func (t *Tasks) Create(ctx context.Context, tx postgres.Tx, specs []Spec) ([]Created, error) {
	accepted, refusals, err := t.accept(ctx, tx, specs)
	if err != nil {
		return nil, err
	}
	out := make([]Created, len(specs))
	chosen, fresh := make([]int, 0, len(specs)), make([]Spec, 0, len(specs))
	for i := range specs {
		if out[i].Err = refusals[i]; out[i].Err == nil {
			chosen, fresh = append(chosen, i), append(fresh, accepted[i])
		}
	}
	queued, err := t.EnqueueTx(ctx, tx, fresh)
	if err != nil {
		return nil, err
	}
	for n, i := range chosen {
		out[i].Enqueued, out[i].Err = queued[n], queued[n].Conflict
	}
	return out, nil
}

// Check tells why Create would refuse a task, as things are now; nil if it would not.
func (t *Tasks) Check(ctx context.Context, tx postgres.Tx, spec Spec) error {
	_, refusals, err := t.accept(ctx, tx, []Spec{spec})
	if err != nil {
		return err
	}
	return refusals[0]
}

// accept tells of each spec why it cannot be queued, or how it is queued.
func (t *Tasks) accept(ctx context.Context, tx postgres.Tx, specs []Spec) ([]Spec, []error, error) {
	queues, err := t.acceptingQueues(ctx, tx, specs)
	if err != nil {
		return nil, nil, err
	}
	there, err := t.reserve(ctx, tx, specs)
	if err != nil {
		return nil, nil, err
	}
	accepted, refusals := make([]Spec, len(specs)), make([]error, len(specs))
	for i := range specs {
		s := specs[i]
		q := queues[queueKey{s.OrgID, queueOf(&s)}]
		invalid := s.validate()
		switch {
		case invalid != nil:
			refusals[i] = invalid
		case !q.exists && queueOf(&s) != DefaultQueue:
			refusals[i] = ErrQueueNotFound.At("queue")
		case q.state == QueueDraining:
			refusals[i] = ErrQueueDraining.At("queue")
		case s.Destination != "" && !there[destinations.Ref{OrgID: s.OrgID, Name: s.Destination}]:
			refusals[i] = destinations.ErrNotFound.At("destination")
		default:
			accepted[i] = q.times(s)
		}
	}
	return accepted, refusals, nil
}

// DispatchCreated is Dispatch for what Create has queued.
func (t *Tasks) DispatchCreated(list []Created) {
	own := make([]Task, 0, len(list))
	for i := range list {
		if list[i].Err == nil && !list[i].Deduplicated {
			own = append(own, list[i].Task)
		}
	}
	t.Dispatch(own)
}

func queueOf(s *Spec) string {
	if s.Queue == "" {
		return DefaultQueue
	}
	return s.Queue
}

// accepting is what counts of a queue for a task that comes in.
type accepting struct {
	exists         bool
	state          string
	ttl, tombstone time.Duration
}

func (t *Tasks) acceptingQueues(ctx context.Context, tx postgres.Tx, specs []Spec) (map[queueKey]accepting, error) {
	found := map[queueKey]accepting{}
	var keys []queueKey
	var orgs []ids.ID
	var names []string
	for i := range specs {
		k := queueKey{specs[i].OrgID, queueOf(&specs[i])}
		if _, known := found[k]; !known {
			found[k] = accepting{ttl: taskTTLDefault * time.Second, tombstone: tombstoneTTLDefault * time.Second}
			keys, orgs, names = append(keys, k), append(orgs, k.org), append(names, k.name)
		}
	}
	rows, err := tx.Query(ctx, acceptingQueuesSQL, orgs, names)
	if err != nil {
		return nil, fmt.Errorf("look for queues: %w", err)
	}
	var n, ttl, tombstone int64
	var state string
	_, err = pgx.ForEachRow(rows, []any{&n, &state, &ttl, &tombstone}, func() error {
		found[keys[n-1]] = accepting{true, state, time.Duration(ttl) * time.Second, time.Duration(tombstone) * time.Second}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for queues: %w", err)
	}
	return found, nil
}

// reserve finds the destinations of specs.
func (t *Tasks) reserve(ctx context.Context, tx postgres.Tx, specs []Spec) (map[destinations.Ref]bool, error) {
	found := map[destinations.Ref]bool{}
	var refs []destinations.Ref
	for i := range specs {
		ref := destinations.Ref{OrgID: specs[i].OrgID, Name: specs[i].Destination}
		if _, known := found[ref]; !known && ref.Name != "" {
			found[ref] = false
			refs = append(refs, ref)
		}
	}
	there, err := t.destinations.Reserve(ctx, tx, refs)
	if err != nil {
		return nil, err
	}
	for i, ref := range refs {
		found[ref] = there[i]
	}
	return found, nil
}

// times is the spec with what the queue says of its times.
func (q accepting) times(s Spec) Spec {
	if s.ExpiresAt.IsZero() && s.ExpiresAfter == 0 {
		s.ExpiresAfter = q.ttl
	}
	if s.Name != "" && s.Tombstone == 0 {
		s.Tombstone = q.tombstone
	}
	return s
}

// The bounds of what a task may say about itself.
const (
	textBytesMax   = 500
	keyBytesMax    = 255
	tagsMax        = 20
	tagBytesMax    = 100
	unitsMax       = 1_000_000
	priorityLowest = 4
	timeoutMax     = 30 * time.Minute
	uniqueForMax   = 366 * 24 * time.Hour
	weightMax      = 1000
)

// validate tells everything that is wrong with a spec.
func (s *Spec) validate() error {
	var p problems
	p.short("name", s.Name, textBytesMax)
	p.short("unique_key", s.UniqueKey, textBytesMax)
	for _, text := range []struct{ param, value string }{
		{"limit_key", s.LimitKey},
		{"ordering_key", s.OrderingKey},
		{"fairness_key", s.FairnessKey},
		{"subject_type", s.SubjectType},
		{"subject_id", s.SubjectID},
		{"idempotency_key", s.IdempotencyKey},
		{"traceparent", s.TraceParent},
		{"kind", s.Kind},
	} {
		p.short(text.param, text.value, keyBytesMax)
	}
	if s.Name != "" && s.UniqueKey != "" {
		p.add("unique_key", "A task has a name or a unique key, not both.")
	}
	if s.Kind == "" {
		p.add("kind", "It must be given.")
	}
	if !slices.Contains([]string{"", OnConflictReturn, OnConflictReplace, OnConflictError}, s.OnConflict) {
		p.add("on_conflict", "It is return, replace or error.")
	}
	p.between("units", int64(s.Units), 0, unitsMax)
	p.between("priority", int64(s.Priority), 0, priorityLowest)
	p.between("timeout_seconds", int64(s.Timeout/time.Second), 0, int64(timeoutMax/time.Second))
	p.between("unique_period_seconds", int64(s.UniqueFor/time.Second), 0, int64(uniqueForMax/time.Second))
	if s.FairnessWeight < 0 || s.FairnessWeight > weightMax {
		p.add("fairness_weight", "It must be between 1 and %d.", weightMax)
	}
	if !s.ExpiresAt.IsZero() && s.At.After(s.ExpiresAt) {
		p.add("expires_at", "It must not be before the time at which the task is wanted.")
	}
	if len(s.Retry) > 0 {
		_, found := wholeRetry(s.Retry)
		p = append(p, found...)
	}
	if len(s.Tags) > tagsMax {
		p.add("tags", "There are at most %d.", tagsMax)
	}
	for _, tag := range s.Tags {
		if tag == "" || len(tag) > tagBytesMax {
			p.add("tags", "Each has 1 to %d bytes.", tagBytesMax)
			break
		}
	}
	return p.as(ErrInvalid)
}
