package payments

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Final is what a caller is told about an attempt: the final answer once there is one (it never changes again), or, with Status 202,
// the payment as it stands.
type Final struct {
	Status      int    // 200, 201; 202 while it is not final; 402 for a change that the provider declined
	Body        []byte // the payment as JSON
	PaymentID   ids.ID
	Kind        Kind
	FailureCode string // with 402
}

// final writes the answer of a finished attempt.
func (w *work) final() Final {
	f := Final{Status: http.StatusOK, Body: w.encode(), PaymentID: w.payment.ID, Kind: w.attempt.Kind, FailureCode: w.attempt.FailureCode}
	switch {
	case w.attempt.Kind == KindAuthorise: // a declined payment exists, and says so
		f.Status = http.StatusCreated
	case w.attempt.State == AttemptDeclined:
		f.Status = http.StatusPaymentRequired
	case w.attempt.Kind == KindRefund:
		f.Status = http.StatusCreated
	}
	return f
}

// flight is an attempt begun on this node whose caller may still be waiting.
type flight struct {
	work   work
	landed chan struct{}
	final  Final
}

// flights spares the callers of this node from asking the database what it has just told this node.
type flights struct {
	mu        sync.Mutex
	byAttempt map[ids.ID]*flight
}

// lingering is how long a landed flight is remembered: a caller has its answer at once, a repeat on this node gets it cheaply.
const lingering = 2 * time.Second

func (f *flights) takeOff(w work) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byAttempt[w.attempt.ID] = &flight{work: w, landed: make(chan struct{})}
}

func (f *flights) begun(id ids.ID) (work, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.byAttempt[id]; fl != nil {
		return fl.work, true
	}
	return work{}, false
}

func (f *flights) find(id ids.ID) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byAttempt[id]
}

func (f *flights) land(id ids.ID, final Final) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.byAttempt[id]
	if fl == nil {
		return
	}
	fl.final = final
	close(fl.landed)
	time.AfterFunc(lingering, func() { f.forget(id) })
}

func (f *flights) forget(id ids.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byAttempt, id)
}

// Start carries out on this node what has just been committed. It does not block.
func (p *Payments) Start(list []Begun) {
	started := make([]tasks.Task, 0, len(list))
	for i := range list {
		if list[i].Err != nil {
			continue
		}
		id := list[i].AttemptID
		p.flights.takeOff(list[i].work)
		// Whatever becomes of the attempt, memory is not kept for it for ever; who still waits then asks the database.
		time.AfterFunc(time.Minute, func() { p.flights.forget(id) })
		started = append(started, list[i].Task)
	}
	p.Tasks.Dispatch(started)
}

// Await waits for the final answer of an attempt, at most for the given time, and returns what there is then. Any number may wait, on any
// node. This node's own attempts land in memory; in case another node carries the attempt out, the database is asked as well, 20 ms
// after the last time at first and 250 ms later on, and every 250 ms where it is expected to land here.
func (p *Payments) Await(ctx context.Context, orgID, attemptID ids.ID, wait time.Duration) (Final, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var landed chan struct{} // nil: never
	pause := 20 * time.Millisecond
	own := p.flights.find(attemptID)
	ask := own == nil
	if own != nil {
		landed, pause = own.landed, awaitPollMax
	}
	for ; ; pause = min(2*pause, awaitPollMax) {
		if ask {
			f, err := p.answer(context.WithoutCancel(ctx), orgID, attemptID)
			if err != nil || f.Status != http.StatusAccepted {
				return f, err
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-landed:
			timer.Stop()
			return own.final, nil
		case <-ctx.Done():
			timer.Stop()
			return p.answer(context.WithoutCancel(ctx), orgID, attemptID)
		case <-timer.C:
			ask = true // an attempt of ours may be elsewhere by now
		}
	}
}

const awaitPollMax = 250 * time.Millisecond

// hot
const answerSQL = `
	select a.payment_id, a.kind, a.failure_code, a.answer_status, a.answer
	from payment_attempt a where a.org_id = $1 and a.id = $2`

// answer reads what is known of an attempt now.
func (p *Payments) answer(ctx context.Context, orgID, attemptID ids.ID) (Final, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var f Final
	var failure *string
	var status *int16
	err := p.DB.Pool().QueryRow(ctx, answerSQL, orgID, attemptID).Scan(&f.PaymentID, &f.Kind, &failure, &status, &f.Body)
	if errors.Is(err, pgx.ErrNoRows) {
		return Final{}, ErrNotFound
	}
	if err != nil {
		return Final{}, fmt.Errorf("read an attempt's answer: %w", err)
	}
	if status != nil {
		f.Status, f.FailureCode = int(*status), given(failure)
		return f, nil
	}
	w, err := p.read(ctx, orgID, attemptID)
	if err != nil {
		return Final{}, err
	}
	f.Status, f.Body = http.StatusAccepted, w.encode()
	return f, nil
}
