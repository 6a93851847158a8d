// Package command runs what callers ask for, once: one command, one transaction, one idempotency record.
//
// It owns the table idempotency_record. The record of a command is written in the transaction of its effect, so they
// exist together or not at all; whoever comes again with the same key gets the recorded answer.
package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// Meta is what every command carries. Key and Fingerprint are the idempotency key and a SHA-256 over method, path and
// canonical body; an empty Key asks for no record.
type Meta struct {
	OrgID       ids.ID
	Key         string
	Fingerprint [sha256.Size]byte
	RequestID   string
}

// Answer is what the caller is told. SubjectID names what the command made or changed.
type Answer struct {
	Status    int
	Body      []byte
	SubjectID ids.ID
	Replayed  bool // it is the recorded answer to an earlier request
}

// Item is one command in a batch.
type Item[In any] struct {
	Meta Meta
	In   In
}

// Outcome is what became of one command: an answer, or an error with no effect at all. A fault of kind invalid,
// not_found or conflict that does not say when to come back is final: it is recorded and replayed like an answer, so
// that a repeat that was on its way for long cannot take effect after its sender was refused.
type Outcome struct {
	Answer Answer
	Err    error
	Carry  any // for AfterCommit, in this process only

	refused bool // Once: the effects are rolled back already, only the refusal is left to record
}

// Body carries out a batch in tx: one Outcome an item, in order, or an error to give up the whole transaction. It
// may run twice.
type Body[In any] func(ctx context.Context, tx postgres.Tx, items []Item[In]) ([]Outcome, error)

// Runner opens the transactions of commands. Safe for concurrent use.
type Runner struct {
	db      *postgres.DB
	problem func(err error, requestID string) Answer
	metrics metrics
}

// NewRunner makes a runner. problem writes an error as the answer to record.
func NewRunner(db *postgres.DB, problem func(err error, requestID string) Answer) *Runner {
	return &Runner{db: db, problem: problem, metrics: newMetrics()}
}

// ErrKeyReused is returned when a key comes again with another request.
var ErrKeyReused = fault.New(fault.Conflict, "idempotency_key_reused",
	"This idempotency key was used for a different request. Use a new key for a new request.")

// Lane gathers commands of one kind and runs them by the slice.
type Lane[In any] struct {
	runner      *Runner
	lane        *lane.Lane[Item[In], Answer]
	body        Body[In]
	afterCommit func([]Outcome)
}

// NewLane makes a lane; its Run must be running before Do is called.
func NewLane[In any](r *Runner, cfg lane.Config, metrics *lane.Metrics, body Body[In]) *Lane[In] {
	l := &Lane[In]{runner: r, body: body, afterCommit: func([]Outcome) {}}
	l.lane = lane.New(cfg, metrics, l.run)
	return l
}

// AfterCommit sets what happens in this process once a batch has committed; it gets the outcomes of the commands that
// took effect. It must not block. Call it before Run.
func (l *Lane[In]) AfterCommit(f func([]Outcome)) *Lane[In] {
	l.afterCommit = f
	return l
}

// Do carries out one command. Errors are faults; see lane.Do for a caller that stops waiting.
func (l *Lane[In]) Do(ctx context.Context, meta Meta, in In) (Answer, error) {
	return l.lane.Do(ctx, Item[In]{Meta: meta, In: in})
}

// Run works until ctx ends.
func (l *Lane[In]) Run(ctx context.Context) error { return l.lane.Run(ctx) }

func (l *Lane[In]) run(ctx context.Context, items []Item[In]) ([]lane.Result[Answer], error) {
	metas := make([]Meta, len(items))
	for i := range items {
		metas[i] = items[i].Meta
	}
	var outcomes []Outcome
	var fresh []int
	claimBy := guessKeys
	err := l.runner.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		outcomes = make([]Outcome, len(items))
		c, err := claimBy(ctx, tx, metas, outcomes)
		claimBy = claimKeys
		if err != nil {
			return err
		}
		fresh = c.fresh
		if len(fresh) == 0 {
			return nil
		}
		chosen := make([]Item[In], len(fresh))
		for n, i := range fresh {
			chosen[n] = items[i]
		}
		done, err := l.body(ctx, tx, chosen)
		if err != nil {
			return err
		}
		for n, i := range fresh {
			outcomes[i] = done[n]
		}
		return l.runner.record(ctx, tx, metas, c, outcomes)
	})
	if err != nil {
		return nil, err
	}
	l.runner.metrics.count(metas, outcomes)
	l.notify(fresh, outcomes)
	results := make([]lane.Result[Answer], len(items))
	for i, o := range outcomes {
		results[i] = lane.Result[Answer]{Value: o.Answer, Err: o.Err}
	}
	return results, nil
}

func (l *Lane[In]) notify(fresh []int, outcomes []Outcome) {
	effective := make([]Outcome, 0, len(fresh))
	for _, i := range fresh {
		if outcomes[i].Carry != nil {
			effective = append(effective, outcomes[i])
		}
	}
	if len(effective) > 0 {
		l.afterCommit(effective)
	}
}

// Once carries out one command that is not worth a lane. An error of body rolls its effects back; a final one is
// then recorded alone.
func (r *Runner) Once(ctx context.Context, meta Meta, body func(ctx context.Context, tx postgres.Tx) Outcome) (Answer, error) {
	outcome, err := r.once(ctx, meta, body)
	if err != nil && final(err) {
		refusal := err
		outcome, err = r.once(ctx, meta, func(context.Context, postgres.Tx) Outcome { return Outcome{Err: refusal, refused: true} })
	}
	if err != nil {
		return Answer{}, err
	}
	r.metrics.count([]Meta{meta}, []Outcome{outcome})
	return outcome.Answer, outcome.Err
}

func (r *Runner) once(ctx context.Context, meta Meta, body func(ctx context.Context, tx postgres.Tx) Outcome) (Outcome, error) {
	outcomes := make([]Outcome, 1) // also when no transaction begins at all
	err := r.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		outcomes = make([]Outcome, 1)
		c, err := claimKeys(ctx, tx, []Meta{meta}, outcomes)
		if err != nil || len(c.fresh) == 0 {
			return err
		}
		outcomes[0] = body(ctx, tx)
		if outcomes[0].Err != nil && !outcomes[0].refused {
			return outcomes[0].Err
		}
		return r.record(ctx, tx, []Meta{meta}, c, outcomes)
	})
	return outcomes[0], err
}

// final tells whether an error is the command's answer for good.
func final(err error) bool {
	f := fault.From(err)
	switch f.Kind {
	case fault.Invalid, fault.NotFound, fault.Conflict:
		return f.RetryAfter == 0
	default:
		return false
	}
}

// sameRequest compares two fingerprints.
func sameRequest(recorded []byte, asked [sha256.Size]byte) bool {
	return bytes.Equal(recorded, asked[:])
}

// inKeyOrder sorts positions by organisation and key, so that two batches take the same keys in the same order.
func inKeyOrder(positions []int, metas []Meta) {
	slices.SortFunc(positions, func(a, b int) int {
		if c := ids.Compare(metas[a].OrgID, metas[b].OrgID); c != 0 {
			return c
		}
		switch {
		case metas[a].Key < metas[b].Key:
			return -1
		case metas[a].Key > metas[b].Key:
			return 1
		default:
			return 0
		}
	})
}
