package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// received is one webhook as it came.
type received struct {
	id    string
	event sandbox.Event
}

// listen verifies what comes with the public library and passes it on; answer decides what the sender is told.
func listen(t *testing.T, answer func(r received) int) (url string, came chan received) {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	came = make(chan received, 1000)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		got := received{id: r.Header.Get("webhook-id")}
		if err == nil {
			err = json.Unmarshal(body, &got.event)
		}
		if err != nil {
			t.Errorf("webhook: %v", err)
		}
		w.WriteHeader(answer(got))
		came <- got
	}))
	t.Cleanup(target.Close)
	return target.URL, came
}

func take(t *testing.T, came chan received) received {
	t.Helper()
	select {
	case r := <-came:
		return r
	case <-time.After(waitMax):
		t.Fatal("no webhook came")
		return received{}
	}
}

func accept(received) int { return http.StatusNoContent }

func TestEachEventIsTold(t *testing.T) {
	t.Parallel()
	url, came := listen(t, accept)
	now := newHandClock()
	b := open(t, sandbox.ServerConfig{WebhookURL: url, WebhookSecret: secret, Clock: now.now})
	want := func(event, reference string, status sandbox.ChargeStatus) {
		t.Helper()
		got := take(t, came)
		d := got.event.Data
		if got.event.Type != event || d.Operation.Reference != reference || d.Charge.Status != status || got.id == "" {
			t.Errorf("came %s %+v, want %s %s %s", got.event.Type, d, event, reference, status)
		}
	}
	b.charge("captured", "tok_approved", true)
	want("charge.captured", "captured", sandbox.ChargeCaptured)
	b.charge("declined", "tok_declined", true)
	want("charge.declined", "declined", sandbox.ChargeDeclined)
	id := b.charge("a", "tok_approved", false).charge(t).ID
	want("charge.authorised", "a", sandbox.ChargeAuthorised)
	b.do("POST", "/v1/charges/"+id+"/captures", `{"reference":"c","amount":400}`)
	want("charge.captured", "c", sandbox.ChargeAuthorised)
	b.do("POST", "/v1/charges/"+id+"/voids", `{"reference":"v"}`)
	want("charge.voided", "v", sandbox.ChargeCaptured)
	b.do("POST", "/v1/charges/"+id+"/refunds", `{"reference":"f","amount":400}`)
	want("charge.refunded", "f", sandbox.ChargeCaptured)
	b.charge("later", "tok_requires_time", false)
	want("charge.pending", "later", sandbox.ChargePending)
	now.turn(sandbox.SettleDelayDefault) // nobody asks: the ticker settles it
	want("charge.authorised", "later", sandbox.ChargeAuthorised)
	b.do("POST", "/witness/webhooks", `{"url":"","secret":""}`)
	b.charge("untold", "tok_approved", true)
	eventually(t, "every receipt", func() bool { return b.server.Summary().Webhooks == sandbox.WebhookCounts{Delivered: 8} })
}

func TestExpiryIsTold(t *testing.T) {
	t.Parallel()
	url, came := listen(t, accept)
	b := open(t, sandbox.ServerConfig{AuthorisationTTL: 20 * time.Millisecond})
	if a := b.do("POST", "/witness/webhooks", `{"url":"`+url+`","secret":"`+secret+`"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	b.charge("r", "tok_approved", false)
	seen := map[string]sandbox.ChargeStatus{}
	for range 2 {
		got := take(t, came)
		seen[got.event.Type] = got.event.Data.Charge.Status
	}
	if seen["charge.authorised"] != sandbox.ChargeAuthorised || seen["charge.expired"] != sandbox.ChargeExpired {
		t.Errorf("%v", seen)
	}
}

func TestWebhookIsRepeatedUntilTaken(t *testing.T) {
	t.Parallel()
	attempts := make(chan struct{}, 10)
	url, came := listen(t, func(received) int {
		attempts <- struct{}{}
		if len(attempts) < 3 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	b := open(t, sandbox.ServerConfig{WebhookURL: url, WebhookSecret: secret})
	b.charge("r", "tok_approved", true)
	first := take(t, came)
	for range 2 {
		if again := take(t, came); again.id != first.id {
			t.Errorf("repeated as %s, was %s", again.id, first.id)
		}
	}
	eventually(t, "the receipt", func() bool { return b.server.Summary().Webhooks == sandbox.WebhookCounts{Delivered: 1} })
}

func TestWebhooksTwiceAndOutOfOrder(t *testing.T) {
	t.Parallel()
	url, came := listen(t, accept)
	b := open(t, sandbox.ServerConfig{WebhookURL: url, WebhookSecret: secret, Faults: sandbox.Faults{
		WebhookTwice: 1, WebhookLate: 0.5, WebhookLateFor: 50 * time.Millisecond, WebhookShuffle: true,
	}})
	const n = 40
	var want []string
	for i := range n {
		reference := fmt.Sprintf("r%02d", i)
		want = append(want, reference)
		b.charge(reference, "tok_approved", true)
	}
	times := map[string]int{}
	var order []string
	for range 2 * n {
		got := take(t, came)
		if times[got.id]++; times[got.id] == 1 {
			order = append(order, got.event.Data.Operation.Reference)
		}
	}
	if slices.Equal(order, want) {
		t.Error("in order")
	}
	if slices.Sort(order); !slices.Equal(order, want) {
		t.Errorf("came %v", order)
	}
	injected := b.server.Summary().FaultsInjected
	if injected["webhook_twice"] != n || injected["webhook_shuffled"] != n || injected["webhook_late"] == 0 {
		t.Errorf("%v", injected)
	}
}

func TestBadTargetsAreRefused(t *testing.T) {
	t.Parallel()
	b := open(t, sandbox.ServerConfig{})
	for _, body := range []string{
		`{"url":"ftp://h/","secret":"whsec_c2VjcmV0"}`, `{"url":"http://h/","secret":""}`,
		`{"url":"http://h/","secret":"whsec_"}`, `{"url":"http://h/","secret":"whsec_%"}`,
	} {
		if a := b.do("POST", "/witness/webhooks", body); a.status != 422 {
			t.Errorf("%s: %d", body, a.status)
		}
	}
	s := sandbox.NewServer(sandbox.ServerConfig{WebhookURL: "http://h/"})
	if err := s.Run(t.Context()); err == nil {
		t.Error("ran without a secret")
	}
}
