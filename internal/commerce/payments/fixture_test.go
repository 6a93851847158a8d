package payments_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// world is Kontor's payments against a sandbox, without the edge.
type world struct {
	t        *testing.T
	url      string
	org      ids.ID
	source   *ids.Source
	witness  *sandbox.Server
	provider *sandbox.Provider
	first    *node
}

// node is one process's worth of the module.
type node struct {
	db       *postgres.DB
	ledger   *ledger.Ledger
	payments *payments.Payments
	stop     func()
}

type worldConfig struct {
	faults          string
	providerTimeout time.Duration
	lease           time.Duration
}

func newWorld(t *testing.T, cfg worldConfig) *world {
	t.Helper()
	if cfg.faults == "" {
		cfg.faults = "none"
	}
	if cfg.providerTimeout == 0 {
		cfg.providerTimeout = 2 * time.Second
	}
	faults, err := sandbox.ParseFaults(cfg.faults)
	if err != nil {
		t.Fatal(err)
	}
	witness := sandbox.NewServer(sandbox.ServerConfig{Faults: faults, SettleDelay: 300 * time.Millisecond, Clock: clock.System, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = witness.Run(ctx) })
	server := httptest.NewServer(witness)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); cancel(); running.Wait() })
	provider := sandbox.NewProvider(sandbox.ProviderConfig{BaseURL: server.URL, APIKey: "test", WebhookSecret: "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", Timeout: cfg.providerTimeout})
	source := ids.NewSource(clock.System)
	w := &world{t: t, url: postgrestest.DB(t).URL, org: source.New(), source: source, witness: witness, provider: provider}
	w.first = w.node("first", cfg)
	return w
}

func (w *world) node(name string, cfg worldConfig) *node {
	w.t.Helper()
	db, err := postgres.Open(w.t.Context(), w.url, postgres.Options{ConnectionsMax: 8})
	if err != nil {
		w.t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	lanes := lane.NewMetrics(registry)
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	source := ids.NewSource(clock.System)
	ev := events.New(db, source)
	books := ledger.New(db, ev, source)
	work := tasks.New(tasks.Deps{
		DB: db, Limits: limits.New(db, limits.Config{Node: name}, source, registry, log), Events: ev, IDs: source,
		Registry: registry, Lanes: lanes, Logger: log,
	}, tasks.Config{Node: name, Workers: 32, Lease: cfg.lease, PollMax: 50 * time.Millisecond, Drain: 3 * time.Second})
	pay := payments.New(payments.Deps{
		DB: db, Ledger: books, Events: ev, Tasks: work, IDs: source, Providers: []payments.Provider{w.provider},
		Lanes: lanes, Registry: registry, Logger: log,
	}, payments.Config{ProviderTimeout: cfg.providerTimeout})
	ctx, cancel := context.WithCancel(context.Background())
	lanesCtx, cancelLanes := context.WithCancel(context.Background())
	var workers, modules sync.WaitGroup
	workers.Go(func() { _ = work.Run(ctx) })
	modules.Go(func() { _ = pay.Run(lanesCtx) })
	var once sync.Once
	n := &node{db: db, ledger: books, payments: pay, stop: func() {
		once.Do(func() { cancel(); workers.Wait(); cancelLanes(); modules.Wait(); db.Close() })
	}}
	w.t.Cleanup(n.stop)
	return n
}

// shown is the payment as callers see it, as far as these tests look.
type shown struct {
	ID               string `json:"id"`
	Status           string `json:"status"`
	Amount           int64  `json:"amount"`
	AmountCapturable int64  `json:"amount_capturable"`
	AmountCaptured   int64  `json:"amount_captured"`
	AmountRefunded   int64  `json:"amount_refunded"`
	AmountFee        int64  `json:"amount_fee"`
	FailureCode      string `json:"failure_code"`
	LatestAttempt    struct {
		Kind  string `json:"kind"`
		State string `json:"state"`
	} `json:"latest_attempt"`
}

func (w *world) create(token, capture string) (int, shown) {
	w.t.Helper()
	return w.begin(func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
		return w.first.payments.Create(ctx, tx, []payments.Create{{
			OrgID: w.org, Provider: "sandbox", Currency: "EUR", Amount: 1000, CaptureMethod: capture, PaymentMethod: token,
		}})
	})
}

func (w *world) change(kind payments.Kind, id string, amount int64, final bool) (int, shown) {
	w.t.Helper()
	payment, err := ids.Parse(payments.PaymentPrefix, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.begin(func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error) {
		return w.first.payments.Change(ctx, tx, []payments.Change{{OrgID: w.org, PaymentID: payment, Kind: kind, Amount: amount, Final: final}})
	})
}

// begin commits, starts and awaits one attempt.
func (w *world) begin(body func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error)) (int, shown) {
	w.t.Helper()
	begun, err := w.commit(body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.first.payments.Start(begun)
	return w.await(w.first, begun[0].AttemptID)
}

func (w *world) commit(body func(ctx context.Context, tx postgres.Tx) ([]payments.Begun, error)) ([]payments.Begun, error) {
	var begun []payments.Begun
	err := w.first.db.InTx(w.t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		var err error
		begun, err = body(ctx, tx)
		if err == nil {
			err = begun[0].Err
		}
		return err
	})
	return begun, err
}

func (w *world) await(n *node, attempt ids.ID) (int, shown) {
	w.t.Helper()
	final, err := n.payments.Await(w.t.Context(), w.org, attempt, 20*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	var s shown
	if err := json.Unmarshal(final.Body, &s); err != nil {
		w.t.Fatalf("%s: %v", final.Body, err)
	}
	return final.Status, s
}

// balance reads an account's posted balance and what is pending on it.
func (w *world) balance(code string) (posted, pending int64) {
	w.t.Helper()
	list, _, err := w.first.ledger.ListAccounts(w.t.Context(), w.org, ledger.AccountFilter{Code: code}, pagingStart, 1)
	if err != nil || len(list) != 1 {
		w.t.Fatalf("%s: %d accounts, %v", code, len(list), err)
	}
	b := list[0].Balance
	return b.Posted(list[0].Type), b.DebitsPending + b.CreditsPending
}
