package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

const secret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"

// scripted makes hooks whose receiver does as the test says.
func scripted(receive receiver) http.Handler {
	return newHooks(receive, ids.NewSource(clock.System), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).Handler()
}

func ask(t *testing.T, h http.Handler, method, target string, body io.Reader) (int, map[string]any, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, body)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var problem map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
			t.Fatalf("answered %q", w.Body)
		}
	}
	return w.Code, problem, w.Header()
}

func TestAnswersToProviders(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{name: "taken in", status: 204},
		{name: "a bad signature", err: fault.New(fault.Unauthenticated, "webhook_signature_invalid", "No."), status: 401, code: "webhook_signature_invalid"},
		{name: "not ours", err: fault.New(fault.Invalid, "webhook_malformed", "No."), status: 400, code: "webhook_malformed"},
		{name: "no such provider", err: fault.New(fault.NotFound, "provider_unknown", "No."), status: 404, code: "provider_unknown"},
		{name: "a full queue", err: fault.New(fault.Unavailable, "overloaded", "Full."), status: 503, code: "overloaded"},
		{name: "too slow", err: context.DeadlineExceeded, status: 503, code: "timeout"},
		{name: "a driver's error", err: errors.New("secret"), status: 500, code: "internal"},
	} {
		status, problem, header := ask(t, scripted(func(context.Context, string, http.Header, []byte) error { return test.err }),
			http.MethodPost, "/hooks/sandbox", strings.NewReader("{}"))
		if status != test.status || test.code != "" && problem["code"] != test.code || strings.Contains(fmt.Sprint(problem), "secret") {
			t.Errorf("%s: %d %v", test.name, status, problem)
		}
		if (status == http.StatusServiceUnavailable) != (header.Get("Retry-After") == "1") || header.Get("Request-Id") == "" {
			t.Errorf("%s: headers %v", test.name, header)
		}
	}
}

func TestWhatNeverReachesAProvider(t *testing.T) {
	t.Parallel()
	h := scripted(func(context.Context, string, http.Header, []byte) error {
		t.Error("reached")
		return nil
	})
	for target, want := range map[string]int{"GET /hooks/sandbox": 405, "POST /hooks": 404, "POST /hooks/a/b": 404} {
		method, path, _ := strings.Cut(target, " ")
		status, problem, header := ask(t, h, method, path, strings.NewReader("{}"))
		if id := header.Get("Request-Id"); status != want || id == "" || problem["request_id"] != id {
			t.Errorf("%s: %d %v, named %q", target, status, problem, id)
		}
	}
	if status, problem, _ := ask(t, h, http.MethodPost, "/hooks/sandbox", bytes.NewReader(make([]byte, bodyBytesMax+1))); status != 413 || problem["code"] != "request_too_large" {
		t.Errorf("a large one: %d %v", status, problem)
	}
}

func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	h := scripted(func(context.Context, string, http.Header, []byte) error { panic("secret") })
	if status, problem, _ := ask(t, h, http.MethodPost, "/hooks/sandbox", strings.NewReader("{}")); status != 500 || problem["code"] != "internal" {
		t.Errorf("%d %v", status, problem)
	}
}

// node is payments on a database of its own, with the sandbox as provider and these hooks for its webhooks.
type node struct {
	db       *postgres.DB
	payments *payments.Payments
	ids      *ids.Source
	url      string
}

func startNode(t *testing.T) *node {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	hooks := http.NewServeMux()
	server := httptest.NewServer(hooks)
	t.Cleanup(server.Close)
	provider := sandbox.NewServer(sandbox.ServerConfig{SettleDelay: 50 * time.Millisecond, WebhookURL: server.URL + "/hooks/sandbox", WebhookSecret: secret})
	providerServer := httptest.NewServer(provider)
	t.Cleanup(providerServer.Close)

	source, registry, logger := ids.NewSource(clock.System), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	lanes, log := lane.NewMetrics(registry), events.New(db, source)
	worker := tasks.New(tasks.Deps{
		DB: db, Limits: limits.New(db, limits.Config{Node: "test"}, source, registry, logger),
		Events: log, IDs: source, Registry: registry, Lanes: lanes, Logger: logger,
	}, tasks.Config{Node: t.Name()})
	n := &node{db: db, ids: source, url: server.URL}
	n.payments = payments.New(payments.Deps{
		DB: db, Ledger: ledger.New(db, log, source), Events: log, Tasks: worker, IDs: source,
		Providers: []payments.Provider{sandbox.NewProvider(sandbox.ProviderConfig{BaseURL: providerServer.URL, APIKey: "key", WebhookSecret: secret})},
		Lanes:     lanes, Registry: registry, Logger: logger,
	}, payments.Config{})
	hooks.Handle("/hooks/", New(n.payments, source, registry, logger).Handler())
	for _, part := range []func(context.Context) error{n.payments.Run, worker.Run, provider.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- part(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return n
}

const inboxSQL = `select count(*), coalesce(sum(repeats), 0) from inbox_record where message_id = $1`

func TestWebhooksAreRecordedOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	signer, err := standardwebhooks.NewWebhook(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	org := n.ids.New()
	body := []byte(fmt.Sprintf(`{"type":"charge.captured","timestamp":"2027-01-05T12:00:00Z","data":{"operation":{"id":"op_1","kind":"authorise","reference":%q,"amount":1,"status":"succeeded"},"charge":{"id":"ch_1","metadata":{"org":%q,"payment":%q}}}}`,
		ids.Format("att", n.ids.New()), ids.Format("org", org), ids.Format("pay", n.ids.New())))
	send := func(signed []byte) int {
		now := time.Now()
		signature, err := signer.Sign("msg_1", now, signed)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/hooks/sandbox", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Webhook-Id", "msg_1")
		r.Header.Set("Webhook-Timestamp", fmt.Sprint(now.Unix()))
		r.Header.Set("Webhook-Signature", signature)
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		return w.StatusCode
	}
	if status := send([]byte(`{}`)); status != http.StatusUnauthorized {
		t.Errorf("a webhook signed for another body: %d", status)
	}
	for i := range 3 {
		if status := send(body); status != http.StatusNoContent {
			t.Errorf("time %d: %d", i, status)
		}
	}
	var records, repeats int64
	if err := n.db.Pool().QueryRow(t.Context(), inboxSQL, "msg_1").Scan(&records, &repeats); err != nil {
		t.Fatal(err)
	}
	if records != 1 || repeats != 2 {
		t.Errorf("%d records, %d repeats", records, repeats)
	}
}

// TestAWebhookFinishesAPayment says that the way from the provider's word to the caller's answer is whole.
func TestAWebhookFinishesAPayment(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	var begun []payments.Begun
	err := n.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var err error
		begun, err = n.payments.Create(ctx, tx, []payments.Create{{
			OrgID: n.ids.New(), Provider: "sandbox", Currency: "EUR", Amount: 1000, CaptureMethod: payments.CaptureAutomatic, PaymentMethod: "tok_requires_time",
		}})
		return err
	})
	if err != nil || begun[0].Err != nil {
		t.Fatal(err, begun)
	}
	n.payments.Start(begun)
	final, err := n.payments.Await(t.Context(), begun[0].Task.OrgID, begun[0].AttemptID, 20*time.Second)
	if err != nil || final.Status != http.StatusCreated || !bytes.Contains(final.Body, []byte(`"status":"captured"`)) {
		t.Errorf("%d %s, %v", final.Status, final.Body, err)
	}
}
