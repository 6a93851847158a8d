package sandbox

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// run sends messages as they become due, until ctx ends.
func (q *webhooks) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range webhookWorkers {
		workers.Go(func() {
			for m := range q.work {
				q.deliver(ctx, m)
			}
		})
	}
	q.dispatch(ctx)
	close(q.work)
	workers.Wait()
	q.client.CloseIdleConnections()
}

// dispatch hands each due message to a free worker, and waits when there is none of either.
func (q *webhooks) dispatch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		m, wait := q.take()
		if wait == 0 {
			select {
			case q.work <- m:
				continue
			case <-ctx.Done():
				return
			}
		}
		timer.Reset(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// take gives the message that is due, or else how long to wait for one.
func (q *webhooks) take() (message, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	const idle = time.Second
	if len(q.waiting) == 0 {
		return message{}, idle
	}
	if wait := q.waiting[0].due.Sub(q.clock()); wait > 0 {
		return message{}, min(wait, idle)
	}
	q.inFlight++
	return heap.Pop(&q.waiting).(message), 0
}

// deliver sends a message once. What was not received is queued again, a bounded number of times.
func (q *webhooks) deliver(ctx context.Context, m message) {
	q.mu.Lock()
	target := q.target
	q.mu.Unlock()
	var err error
	if target != nil {
		err = q.post(ctx, target, m)
	}
	m.attempt++
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight--
	switch {
	case target == nil:
		q.counted.Abandoned++
	case err == nil:
		q.counted.Delivered++
	case m.attempt >= webhookAttemptsMax:
		q.counted.Abandoned++
		q.log.Warn("sandbox: webhook abandoned", "id", m.id, "type", m.event.Type, "error", err)
	default:
		m.due = q.clock().Add(min(webhookRetryFirst<<(m.attempt-1), webhookRetryMax))
		q.push(m)
		q.nudge()
	}
}

// post sends a message, signed for this attempt's moment, and asks for a 2xx.
func (q *webhooks) post(ctx context.Context, target *webhookTarget, m message) error {
	body, err := json.Marshal(m.event)
	if err != nil {
		return fmt.Errorf("encode webhook: %w", err)
	}
	now := q.clock()
	signature, err := target.signer.Sign(m.id, now, body)
	if err != nil {
		return fmt.Errorf("sign webhook: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make webhook: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(standardwebhooks.HeaderWebhookID, m.id)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := q.client.Do(r)
	if err != nil {
		return fmt.Errorf("send webhook: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read as far as it interests
	_, _ = io.CopyN(io.Discard, answer.Body, bodyBytesMax)
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("webhook answered %d", answer.StatusCode)
	}
	return nil
}
