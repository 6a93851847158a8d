package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/schedules"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// node is a whole server on a database of its own.
type node struct {
	t        *testing.T
	db       *postgres.DB
	deps     Deps
	server   *Server
	http     *httptest.Server
	sandbox  *httptest.Server
	slots    *limits.Limits
	key      string // of the organisation "acme"
	otherKey string // of another
	contract *contract
	keys     atomic.Int64
}

func startNode(t *testing.T) *node {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{ConnectionsMax: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	n := &node{t: t, db: db, contract: testContract(t)}
	n.sandbox = httptest.NewServer(sandbox.NewServer(sandbox.ServerConfig{SettleDelay: time.Hour}))
	t.Cleanup(n.sandbox.Close)
	worker := n.wire(db)
	n.key, n.otherKey = n.newKey("acme"), n.newKey("other")
	if n.server, err = New(n.deps); err != nil {
		t.Fatal(err)
	}
	n.run(n.slots.Run, n.deps.Destinations.Run, n.deps.Schedules.Run, n.deps.Payments.Run, n.server.Run, worker.Run)
	n.http = httptest.NewServer(n.server.Handler())
	t.Cleanup(n.http.Close)
	return n
}

// wire makes the modules under the server.
func (n *node) wire(db *postgres.DB) *tasks.Tasks {
	source, registry := ids.NewSource(clock.System), prometheus.NewRegistry()
	lanes, logger := lane.NewMetrics(registry), slog.New(slog.NewTextHandler(testLog{n.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	log := events.New(db, source)
	books := ledger.New(db, log, source)
	n.slots = limits.New(db, limits.Config{Node: "test"}, source, registry, logger)
	others := destinations.New(destinations.Config{DB: db, IDs: source, Clock: clock.System, Events: log, Registry: registry, Log: logger})
	worker := tasks.New(tasks.Deps{
		DB: db, Limits: n.slots, Destinations: others,
		Events: log, IDs: source, Registry: registry, Lanes: lanes, Logger: logger,
	}, tasks.Config{Node: n.t.Name(), PollMin: time.Millisecond, PollMax: 20 * time.Millisecond})
	n.deps = Deps{
		DB: db, Access: access.New(db, clock.System, source), Ledger: books, Events: log, Tasks: worker, Destinations: others,
		Schedules: schedules.New(db, schedules.Config{}, worker, log, source, registry, logger),
		Payments: payments.New(payments.Deps{
			DB: db, Ledger: books, Events: log, Tasks: worker, IDs: source,
			Providers: []payments.Provider{sandbox.NewProvider(sandbox.ProviderConfig{BaseURL: n.sandbox.URL, APIKey: "key"})},
			Lanes:     lanes, Registry: registry, Logger: logger,
		}, payments.Config{}),
		Clock: clock.System, IDs: source, Lanes: lanes, Registry: registry, Logger: logger,
		RequestTimeout: 30 * time.Second, PaymentWait: 10 * time.Second,
	}
	return worker
}

// run runs what has to run beside the server, and ends it from the last to the first.
func (n *node) run(parts ...func(context.Context) error) {
	for _, part := range parts {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- part(ctx) }()
		n.t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				n.t.Error(err)
			}
		})
	}
}

// testLog shows what the server logs as an error with the test that caused it.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	_, _ = os.Stderr.WriteString(l.t.Name() + ": " + string(b))
	return len(b), nil
}

func (n *node) newKey(organisation string) string {
	n.t.Helper()
	shown, _, err := n.deps.Access.CreateKey(n.t.Context(), organisation, "test", false, time.Time{})
	if err != nil {
		n.t.Fatal(err)
	}
	return shown
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// code is the code of a problem.
func (a answer) code() string { return text(a.json, "code") }

// text finds a value by its path, as text: "balances.0.posted".
func text(value any, path string) string {
	for token := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i >= len(v) {
				return "<none>"
			}
			value = v[i]
		default:
			return "<none>"
		}
	}
	return fmt.Sprint(value)
}

// send makes a request and holds the answer against the contract.
func (n *node) send(method, path, body string, headers ...string) answer {
	n.t.Helper()
	a := n.ask(method, path, body, headers...)
	n.checkAnswer(method, path, a)
	return a
}

// ask makes a request. Headers come in pairs; a write gets a key of its own unless one is among them.
func (n *node) ask(method, path, body string, headers ...string) answer {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.http.URL+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+n.key)
	if method != http.MethodGet {
		r.Header.Set("Idempotency-Key", fmt.Sprintf("key-%d", n.keys.Add(1)))
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: raw}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&a.json); err != nil {
		n.t.Fatalf("%s %s answers %q: %v", method, path, raw, err)
	}
	return a
}

func (n *node) post(path, body string, headers ...string) answer {
	n.t.Helper()
	return n.send(http.MethodPost, path, body, headers...)
}

func (n *node) get(path string, headers ...string) answer {
	n.t.Helper()
	return n.send(http.MethodGet, path, "", headers...)
}

// must fails the test unless the answer has the status.
func (n *node) must(status int, a answer) answer {
	n.t.Helper()
	if a.status != status {
		n.t.Fatalf("want %d, got %s", status, a)
	}
	return a
}

// refused fails the test unless the answer is a problem of this code, with the status the contract has for it.
func (n *node) refused(code string, a answer) answer {
	n.t.Helper()
	if a.code() != code || a.status != n.contract.statuses[code] {
		n.t.Errorf("want %s (%d), got %s", code, n.contract.statuses[code], a)
	}
	return a
}

// checkAnswer holds every answer of every test against the contract.
func (n *node) checkAnswer(method, path string, a answer) {
	n.t.Helper()
	if a.header.Get("Request-Id") == "" {
		n.t.Errorf("%s %s: no request id", method, path)
	}
	path, _, _ = strings.Cut(path, "?")
	problem := a.status >= http.StatusBadRequest
	if problem != (a.header.Get("Content-Type") == "application/problem+json") {
		n.t.Errorf("%s %s: %d as %s", method, path, a.status, a.header.Get("Content-Type"))
	}
	schema := n.answerSchema(method, path, a.status)
	if schema == nil {
		n.t.Errorf("%s %s: the contract has no answer %d", method, path, a.status)
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	if err != nil {
		n.t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		n.t.Errorf("%s %s: the answer %s is not as the contract has it: %v", method, path, a, err)
	}
	if problem {
		if _, known := n.contract.statuses[a.code()]; !known {
			n.t.Errorf("%s %s: the contract does not know the code %s", method, path, a.code())
		}
	}
}

// answerSchema finds the schema of an answer; nil if the contract has none.
func (n *node) answerSchema(method, path string, status int) *jsonschema.Schema {
	n.t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(contractURL, n.contract.source); err != nil {
		n.t.Fatal(err)
	}
	place := "#/components/schemas/Problem"
	if status < http.StatusBadRequest {
		place = ""
		for route, item := range object(n.contract.source, "paths") {
			details, _ := item.(map[string]any)
			responses := object(object(details, strings.ToLower(method)), "responses")
			response := object(responses, strconv.Itoa(status))
			if response == nil || !matchesRoute(route, path) {
				continue
			}
			place = "#/paths/" + pointerEscape(route) + "/" + strings.ToLower(method) + "/responses/" + strconv.Itoa(status)
			if ref, ok := response["$ref"].(string); ok {
				place = ref
			}
			place += "/content/" + pointerEscape("application/json") + "/schema"
			break
		}
	}
	if place == "" {
		return nil
	}
	schema, err := compiler.Compile(contractURL + place)
	if err != nil {
		n.t.Fatal(err)
	}
	return schema
}

func matchesRoute(route, path string) bool {
	a, b := strings.Split(route, "/"), strings.Split(path, "/")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && (!strings.HasPrefix(a[i], "{") || b[i] == "batch" || b[i] == "groups" || b[i] == "preview") {
			return false
		}
	}
	return true
}

// account makes a EUR account that must not fall below min, or one without bounds.
func (n *node) account(code, kind, bounds string) string {
	n.t.Helper()
	a := n.must(http.StatusCreated, n.post("/v1/ledger/accounts", fmt.Sprintf(`{"code":%q,"type":%q,"asset":"EUR"%s}`, code, kind, bounds)))
	return text(a.json, "id")
}

func posting(debit, credit string, amount int64) string {
	return fmt.Sprintf(`{"debit_account":%q,"credit_account":%q,"amount":%d}`, debit, credit, amount)
}

func entry(more string, postings ...string) string {
	return fmt.Sprintf(`{"code":"test","postings":[%s]%s}`, strings.Join(postings, ","), more)
}

// fetch reads somebody else's JSON.
func fetch(t *testing.T, r *http.Request, into any) {
	t.Helper()
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Body.Close() }()
	if err := json.NewDecoder(w.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}
