package tasks

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// otherSide is a third party's API with a record of what it was asked.
type otherSide struct {
	*httptest.Server
	mu     sync.Mutex
	record []http.Header
}

func (o *otherSide) seen() []http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.record)
}

// other starts an API and makes a destination of it; answer is called with the number of the request, from 1.
func (b *bench) other(node *Tasks, s destinations.Settings, answer func(n int, w http.ResponseWriter, r *http.Request)) *otherSide {
	b.Helper()
	o := &otherSide{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.record = append(o.record, r.Header.Clone())
		n := len(o.record)
		o.mu.Unlock()
		answer(n, w, r)
	}))
	b.Cleanup(o.Close)
	s.BaseURL, s.AllowPrivateNetworks = o.URL, true
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.destinations.Create(ctx, tx, destinations.Create{OrgID: b.org, Name: "api", Settings: s})
		return err
	})
	return o
}

func (b *bench) request(args HTTPArgs) Spec {
	b.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		b.Fatal(err)
	}
	return Spec{OrgID: b.org, Kind: KindHTTP, Destination: "api", Args: text, Retry: []byte(`{"min_backoff_seconds":0.001,"max_backoff_seconds":0.001}`)}
}

func post(url string) HTTPArgs {
	return HTTPArgs{Request: HTTPRequest{Method: http.MethodPost, URL: url, Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{"a":1}`)}}
}

func TestATaskSendsItsRequest(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	o := b.other(node, destinations.Settings{}, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	b.run(node)
	task := b.queue(node, b.request(post("/x")))[0]
	b.untilFinished(task)
	if h := b.history(task); !slices.Equal(h, []past{{1, "a", "succeeded", "", true}}) {
		t.Fatal(h)
	}
	headers := o.seen()
	if len(headers) != 1 || headers[0].Get("Idempotency-Key") == "" || headers[0].Get("X-Kontor-TaskRetryCount") != "0" {
		t.Fatal(headers)
	}
	if n := b.count(`select count(*) from task_attempt where status = 201 and exchange -> 'request' ->> 'method' = 'POST'`); n != 1 {
		t.Fatal("the exchange is not kept")
	}
}

func TestARefusedRequestLeavesADeadLetter(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.other(node, destinations.Settings{}, func(_ int, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such thing", http.StatusNotFound)
	})
	b.run(node)
	task := b.queue(node, b.request(post("/x")))[0]
	b.untilFinished(task)
	if n := b.count(`select count(*) from task_dead_letter where reason = 'non_retryable' and status = 404 and resolution = 'open' and destination = 'api'
		and spec ->> 'kind' = 'http' and attempts = 1`); n != 1 {
		t.Fatal("there is no dead letter")
	}
}

// The other side asks for a pause: the destination waits, the task's attempt does not count, and no other request is sent
// meanwhile.
func TestAPauseThatIsAskedForIsKeptByAllTasks(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	var began, again time.Time
	o := b.other(node, destinations.Settings{}, func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 1:
			began = time.Now()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			again = time.Now()
		}
	})
	b.run(node)
	first := b.queue(node, b.request(post("/x")))[0]
	b.until("the first is turned away", func() bool { return len(b.history(first)) == 1 })
	second := b.queue(node, b.request(post("/y")))[0]
	b.untilFinished(first, second)
	if len(o.seen()) != 3 || again.Sub(began) < time.Second {
		t.Fatalf("%d requests, the second after %v", len(o.seen()), again.Sub(began))
	}
	if h := b.history(first); len(h) != 2 || h[0].Outcome != "rate_limited" || h[1].Outcome != "succeeded" {
		t.Fatal(h)
	}
}

// The answer to the first request is lost. It had been carried out, and is not sent again.
func TestALostAnswerIsAskedForBeforeAnythingIsSentAgain(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	var mu sync.Mutex
	done := 0
	b.other(node, destinations.Settings{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet {
			if done == 0 {
				w.WriteHeader(http.StatusNotFound)
			}
			return
		}
		done++
		panic(http.ErrAbortHandler)
	})
	b.run(node)
	args := post("/charges")
	args.Verify = &HTTPRequest{Method: http.MethodGet, URL: "/charges/42"}
	task := b.queue(node, b.request(args))[0]
	b.untilFinished(task)
	h := b.history(task)
	if done != 1 || len(h) != 2 || h[0].Outcome != "unknown" || h[1].Outcome != "succeeded" {
		t.Fatalf("carried out %d times: %v", done, h)
	}
}

// It had not been carried out: the look-up says so, and the next attempt sends it.
func TestWhatWasNotCarriedOutIsSentAgain(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	var mu sync.Mutex
	posts, done := 0, 0
	b.other(node, destinations.Settings{}, func(_ int, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if posts++; posts == 1 {
			panic(http.ErrAbortHandler) // before it is carried out
		}
		done++
	})
	b.run(node)
	args := post("/charges")
	args.Verify = &HTTPRequest{Method: http.MethodGet, URL: "/charges/42"}
	task := b.queue(node, b.request(args))[0]
	b.untilFinished(task)
	h := b.history(task)
	if done != 1 || len(h) != 3 || h[1].Outcome != "snoozed" || h[2].Outcome != "succeeded" {
		t.Fatalf("carried out %d times: %v", done, h)
	}
}

// Refused credentials hold the destination, and burn no attempt.
func TestRefusedCredentialsBurnNothing(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	o := b.other(node, destinations.Settings{}, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	b.run(node)
	task := b.queue(node, b.request(post("/x")))[0]
	b.until("it is turned away, and all nodes know", func() bool {
		return len(b.history(task)) == 1 && b.count(`select count(*) from destination_state where auth_held_at is not null`) == 1
	})
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := node.destinations.Resume(ctx, tx, b.org, "api", false)
		return err
	})
	b.untilFinished(task)
	if h := b.history(task); len(o.seen()) != 2 || h[0].Outcome != "held" || h[len(h)-1].Outcome != "succeeded" {
		t.Fatal(h)
	}
}
