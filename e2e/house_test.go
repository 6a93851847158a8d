// Package e2e runs the whole house: nodes as app.New makes them, on a database of the test's own, with a sandbox provider
// beside them. Tests speak to them only as users do: through package client, the command line, and the provider's own
// record of what it really did. What one node can show by itself is tested nearer to the code; here are the stories
// that need a restart, a second node, or all parts at once. After each, kontor verify must find nothing.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// house is a database, a provider, and an API key of one organisation.
type house struct {
	*testing.T
	cfg         app.Config
	provider    *sandbox.Server
	providerURL string
	key         string
}

func newHouse(t *testing.T, provider sandbox.ServerConfig) *house {
	t.Helper()
	t.Parallel()
	return newHouseOn(t, postgrestest.DB(t).URL, provider)
}

// newHouseOn is newHouse on a database that the test has made.
func newHouseOn(t *testing.T, databaseURL string, provider sandbox.ServerConfig) *house {
	t.Helper()
	h := &house{T: t, cfg: app.DefaultConfig()}
	h.cfg.DatabaseURL = databaseURL
	h.cfg.Listen, h.cfg.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	h.cfg.DatabaseConnectionsMax, h.cfg.ShutdownTimeoutSeconds, h.cfg.ProviderTimeoutSeconds = 10, 5, 2
	h.cfg.LogOutput = t.Output()
	h.provider = sandbox.NewServer(provider)
	server := httptest.NewServer(h.provider)
	t.Cleanup(server.CloseClientConnections)
	h.providerURL, h.cfg.SandboxURL = server.URL, server.URL
	t.Cleanup(h.verify) // once the nodes have stopped
	h.key = strings.TrimSpace(h.kontor("keys", "create", "--database-url", h.cfg.DatabaseURL))
	return h
}

// kontor runs a command line that must succeed, and gives what it printed.
func (h *house) kontor(args ...string) string {
	h.Helper()
	var out, complaints bytes.Buffer
	ctx := context.WithoutCancel(h.Context()) // also when the test is over
	if code := app.Main(ctx, app.Process{Args: args, Out: &out, Err: &complaints}); code != 0 {
		h.Errorf("kontor %s: exit code %d\n%s%s", strings.Join(args[:1], " "), code, &out, &complaints)
	}
	return out.String()
}

// verify recomputes everything from the records, and holds the provider's sums against the books'.
func (h *house) verify() {
	h.kontor("verify", "--database-url", h.cfg.DatabaseURL)
	if truth := h.provider.Summary(); truth.DoubleCharges != 0 {
		h.Errorf("the provider moved money twice: %+v", truth)
	}
}

// node is one Kontor process's worth.
type node struct {
	*house
	api  *client.ClientWithResponses
	url  string
	stop func()
}

func (h *house) start(name string) *node {
	h.Helper()
	cfg := h.cfg
	cfg.Node = name
	made, err := app.New(h.Context(), cfg)
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.Context())
	ended := make(chan error, 1)
	go func() { ended <- made.Run(ctx) }()
	n := &node{house: h, url: made.URL(), stop: sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			h.Errorf("%s stopped with %v", name, err)
		}
	})}
	h.Cleanup(n.stop)
	if n.api, err = client.New(n.url, h.key); err != nil {
		h.Fatal(err)
	}
	return n
}

// answer is what a node said, as it said it.
type answer struct {
	status   int
	body     string
	replayed bool
	location string
	code     string // of a problem
}

// read takes the parts of a client's response, which has another type for each request.
func (n *node) read(response *http.Response, body []byte, err error) answer {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
	a := answer{
		status: response.StatusCode, body: string(body), replayed: response.Header.Get("Idempotent-Replayed") == "true",
		location: response.Header.Get("Location"),
	}
	if a.status >= http.StatusBadRequest {
		a.code = decode[client.Problem](n.house, a).Code
	}
	return a
}

// decode reads an answer as what it ought to be.
func decode[T any](h *house, a answer) T {
	h.Helper()
	var value T
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		h.Fatalf("%v in %d %s", err, a.status, a.body)
	}
	return value
}

// want fails the test unless the answer has the status and, if it is a problem, the code.
func (h *house) want(a answer, status int, code string) answer {
	h.Helper()
	if a.status != status || a.code != code {
		h.Fatalf("want %d %s, got %d %s", status, code, a.status, a.body)
	}
	return a
}

// same fails the test unless b is a's answer again.
func (h *house) same(a, b answer) {
	h.Helper()
	if !b.replayed || a.status != b.status || a.body != b.body || a.location != b.location {
		h.Errorf("answered\n%+v\nand then\n%+v", a, b)
	}
}

func (n *node) pay(key string, r client.PaymentRequest, prefer ...string) answer {
	n.Helper()
	p := &client.CreatePaymentParams{IdempotencyKey: key}
	if len(prefer) > 0 {
		p.Prefer = &prefer[0]
	}
	w, err := n.api.CreatePaymentWithResponse(n.Context(), p, r)
	if err != nil {
		return n.read(nil, nil, err)
	}
	return n.read(w.HTTPResponse, w.Body, nil)
}

func (n *node) capture(key, payment string, r client.CaptureRequest) answer {
	n.Helper()
	w, err := n.api.CapturePaymentWithResponse(n.Context(), payment, &client.CapturePaymentParams{IdempotencyKey: key}, r)
	if err != nil {
		return n.read(nil, nil, err)
	}
	return n.read(w.HTTPResponse, w.Body, nil)
}

func (n *node) refund(key, payment string, r client.RefundRequest) answer {
	n.Helper()
	w, err := n.api.RefundPaymentWithResponse(n.Context(), payment, &client.RefundPaymentParams{IdempotencyKey: key}, r)
	if err != nil {
		return n.read(nil, nil, err)
	}
	return n.read(w.HTTPResponse, w.Body, nil)
}

func (n *node) enter(key string, r client.EntryRequest) answer {
	n.Helper()
	w, err := n.api.CreateEntryWithResponse(n.Context(), &client.CreateEntryParams{IdempotencyKey: key}, r)
	if err != nil {
		return n.read(nil, nil, err)
	}
	return n.read(w.HTTPResponse, w.Body, nil)
}

func (n *node) batch(key string, r client.EntryBatchRequest) answer {
	n.Helper()
	w, err := n.api.CreateEntryBatchWithResponse(n.Context(), &client.CreateEntryBatchParams{IdempotencyKey: key}, r)
	if err != nil {
		return n.read(nil, nil, err)
	}
	return n.read(w.HTTPResponse, w.Body, nil)
}

func (n *node) payment(id string) client.Payment {
	n.Helper()
	w, err := n.api.GetPaymentWithResponse(n.Context(), id)
	if err != nil || w.JSON200 == nil {
		n.Fatalf("get %s: %+v, %v", id, w, err)
	}
	return *w.JSON200
}

// account makes an account in EUR, or finds it.
func (n *node) account(code string, kind client.AccountType, min *int64) client.Account {
	n.Helper()
	w, err := n.api.CreateAccountWithResponse(n.Context(), &client.CreateAccountParams{IdempotencyKey: client.NewKey()},
		client.AccountRequest{Code: code, Type: kind, Asset: "EUR", AvailableMin: min})
	if err != nil || w.JSON201 == nil {
		n.Fatalf("make %s: %+v, %v", code, w, err)
	}
	return *w.JSON201
}

// balances are the accounts whose codes begin so, by code.
func (n *node) balances(prefix string) map[string]client.Account {
	n.Helper()
	limit := int32(100)
	w, err := n.api.ListAccountsWithResponse(n.Context(), &client.ListAccountsParams{CodePrefix: &prefix, Limit: &limit})
	if err != nil || w.JSON200 == nil || w.JSON200.HasMore {
		n.Fatalf("list accounts: %+v, %v", w, err)
	}
	all := map[string]client.Account{}
	for _, a := range w.JSON200.Data {
		all[a.Code] = a
	}
	return all
}

// eventsAbout are the types of all events about a payment, in their order.
func (n *node) eventsAbout(subject string) []string {
	n.Helper()
	limit := int32(100)
	w, err := n.api.ListEventsWithResponse(n.Context(), &client.ListEventsParams{Subject: &subject, Limit: &limit})
	if err != nil || w.JSON200 == nil {
		n.Fatalf("list events: %+v, %v", w, err)
	}
	var types []string
	for _, e := range w.JSON200.Data {
		types = append(types, e.Type)
	}
	return types
}

// eventually asks until it is so.
func (h *house) eventually(what string, so func() bool) {
	h.Helper()
	h.within(time.Minute, what, so)
}

// within is eventually with a patience of its own.
func (h *house) within(patience time.Duration, what string, so func() bool) {
	h.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-deadline.C:
			h.Fatalf("waited too long for %s", what)
		case <-ticker.C:
		}
	}
}

// at runs functions at the same instant and waits for all.
func at(instant ...func()) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for _, f := range instant {
		all.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	all.Wait()
}

func approved(amount int64) client.PaymentRequest {
	return client.PaymentRequest{Amount: amount, Currency: "EUR", PaymentMethod: "tok_approved"}
}

func manual(amount int64) client.PaymentRequest {
	r, method := approved(amount), client.CaptureMethodManual
	r.CaptureMethod = &method
	return r
}

func transfer(from, to string, amount int64) []client.Posting {
	return []client.Posting{{DebitAccount: from, CreditAccount: to, Amount: amount}}
}

func ptr[T any](v T) *T { return &v }
