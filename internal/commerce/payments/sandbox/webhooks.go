package sandbox

import (
	"container/heap"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

// The bounds of webhook delivery.
const (
	webhooksQueuedMax  = 100_000
	webhookWorkers     = 8
	webhookAttemptsMax = 10
	webhookTimeout     = 5 * time.Second
	webhookRetryFirst  = 100 * time.Millisecond // doubled each time
	webhookRetryMax    = 30 * time.Second
	webhookShuffleMax  = 200 * time.Millisecond
)

// ErrWebhookTarget is what a target that cannot work is refused with.
var ErrWebhookTarget = errors.New("webhook target")

// webhooks is the queue of notifications. Entering it never waits: when it is full, the message that is due first
// gives way and is counted.
type webhooks struct {
	clock  clock.Clock
	log    *slog.Logger
	newID  func(prefix string) string
	faults *atomic.Pointer[Faults]
	tally  *tally
	client *http.Client
	work   chan message
	wake   chan struct{} // buffered by one: a new message, or a target

	mu       sync.Mutex
	target   *webhookTarget // nil: nobody is told
	waiting  messageHeap
	sequence uint64
	inFlight int64
	counted  WebhookCounts
}

// webhookTarget is where messages go, and who signs them.
type webhookTarget struct {
	url    string
	signer *standardwebhooks.Webhook
}

// message is one notification on its way.
type message struct {
	id       string
	event    Event
	due      time.Time
	attempt  int // how often it was sent
	sequence uint64
}

func newWebhooks(
	now clock.Clock, log *slog.Logger, newID func(string) string, faults *atomic.Pointer[Faults], counts *tally,
) *webhooks {
	return &webhooks{
		clock: now, log: log, newID: newID, faults: faults, tally: counts,
		client: &http.Client{
			Timeout:   webhookTimeout,
			Transport: &http.Transport{MaxIdleConnsPerHost: webhookWorkers, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a redirect is not a receipt
			},
		},
		work: make(chan message),
		wake: make(chan struct{}, 1),
	}
}

// aim sets the target of every message from now on; an empty address ends the webhooks.
func (q *webhooks) aim(address, secret string) error {
	var target *webhookTarget
	if address != "" {
		at, err := url.Parse(address)
		if err != nil || at.Host == "" || (at.Scheme != "http" && at.Scheme != "https") {
			return fmt.Errorf("%w: %q is no http or https address", ErrWebhookTarget, address)
		}
		signer, err := newSigner(secret)
		if err != nil {
			return err
		}
		target = &webhookTarget{url: address, signer: signer}
	}
	q.mu.Lock()
	q.target = target
	q.mu.Unlock()
	q.nudge()
	return nil
}

// newSigner reads a secret of the Standard Webhooks form.
func newSigner(secret string) (*standardwebhooks.Webhook, error) {
	if strings.TrimPrefix(secret, "whsec_") == "" {
		return nil, fmt.Errorf("%w: the secret is missing", ErrWebhookTarget)
	}
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: the secret must be whsec_ and base64: %w", ErrWebhookTarget, err)
	}
	return signer, nil
}

// enqueue takes an event with the faults that will befall it, which depend on the seed, its reference and its type.
func (q *webhooks) enqueue(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.target == nil {
		return
	}
	faults := q.faults.Load()
	c := draw(faults.Seed, verbWebhook, e.Type+" "+e.Data.Operation.Reference, 1)
	m := message{id: q.newID("msg"), event: e, due: q.clock()}
	if c.Share() < faults.WebhookLate {
		m.due = m.due.Add(c.UpTo(faults.WebhookLateFor))
		q.tally.add(webhookLate)
	}
	if faults.WebhookShuffle {
		m.due = m.due.Add(c.UpTo(webhookShuffleMax))
		q.tally.add(webhookShuffled)
	}
	q.push(m)
	if c.Share() < faults.WebhookTwice {
		m.due = m.due.Add(c.UpTo(faults.WebhookLateFor))
		q.tally.add(webhookTwice)
		q.push(m)
	}
	q.nudge()
}

// push adds a message, in place of the first one when the queue is full.
func (q *webhooks) push(m message) {
	if len(q.waiting) >= webhooksQueuedMax {
		heap.Pop(&q.waiting)
		q.counted.Dropped++
	}
	q.sequence++
	m.sequence = q.sequence
	heap.Push(&q.waiting, m)
}

// nudge lets the dispatcher look at the queue again.
func (q *webhooks) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// counts tells where the messages are.
func (q *webhooks) counts() WebhookCounts {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.counted
	out.Waiting = int64(len(q.waiting)) + q.inFlight
	return out
}

// messageHeap orders messages by when they are due, then by when they came, for container/heap.
type messageHeap []message

func (h messageHeap) Len() int { return len(h) }

func (h messageHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].sequence < h[j].sequence
	}
	return h[i].due.Before(h[j].due)
}

func (h messageHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *messageHeap) Push(x any) { *h = append(*h, x.(message)) }

// Pop is for container/heap.
func (h *messageHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = message{}
	*h = old[:len(old)-1]
	return last
}
