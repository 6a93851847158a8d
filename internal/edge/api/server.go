// Package api is Kontor's HTTP API: the contract in api/openapi.yaml, served.
//
// A request passes the gate (who asks, is it as the contract has it, its fingerprint), then a handler. A write becomes a
// command: it waits in a lane for its batch, and what the batch recorded is what the caller gets, byte for byte, now and
// at every repeat. No handler opens a transaction, and no error that is not a fault is ever shown.
//
// It owns no tables. server_gen.go is generated from the contract.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/access"
	"github.com/kontorhq/kontor/internal/platform/command"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/schedules"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Deps is what the API stands on. All fields are required.
type Deps struct {
	DB       *postgres.DB
	Access   *access.Access
	Ledger   *ledger.Ledger
	Payments *payments.Payments
	Events   *events.Events
	Tasks    *tasks.Tasks
	Clock    clock.Clock
	IDs      *ids.Source
	// Destinations are those that tasks go to.
	Destinations *destinations.Destinations
	Schedules    *schedules.Schedules
	Lanes        *lane.Metrics
	Registry     prometheus.Registerer
	Logger       *slog.Logger

	RequestTimeout time.Duration // bound on a whole request
	PaymentWait    time.Duration // how long a request waits for a provider, unless it says otherwise
}

// Server answers the contract's requests. Safe for concurrent use.
type Server struct {
	deps      Deps
	gate      *gate
	runner    *command.Runner
	entries   *command.Lane[ledger.Entry]
	creations *command.Lane[payments.Create]
	changes   *command.Lane[payments.Change]
	creating  *command.Lane[tasks.Spec]
}

// New makes the server; Run starts it.
func New(d Deps) (*Server, error) {
	g, err := newGate(d.Access.Authenticate, d.Clock, d.IDs, d.RequestTimeout, d.Registry, d.Logger)
	if err != nil {
		return nil, err
	}
	s := &Server{deps: d, gate: g, runner: command.NewRunner(d.DB, g.contract.answer)}
	s.runner.Register(d.Registry)
	batches := lane.Config{BatchMax: 512, QueueMax: 8192, Workers: 2, Timeout: 10 * time.Second}
	batches.Name = "ledger_entries"
	s.entries = command.NewLane(s.runner, batches, d.Lanes, s.postEntries)
	batches.Name, batches.BatchMax = "payment_creations", 256
	s.creations = command.NewLane(s.runner, batches, d.Lanes, s.createPayments).AfterCommit(s.startPayments)
	batches.Name = "payment_changes"
	s.changes = command.NewLane(s.runner, batches, d.Lanes, s.changePayments).AfterCommit(s.startPayments)
	batches.Name, batches.BatchMax = "task_creations", 512
	s.creating = command.NewLane(s.runner, batches, d.Lanes, s.createTasks).AfterCommit(s.startTasks)
	return s, nil
}

// Handler serves every path of the contract, /docs, and problems for all other paths. Run must be running.
func (s *Server) Handler() http.Handler {
	return s.gate.handler(s)
}

// Run carries out commands until ctx ends, finishes those it has taken in, and returns. Stop the HTTP server first, so
// that nobody waits for a command that is turned away.
func (s *Server) Run(ctx context.Context) error {
	lanes := []func(context.Context) error{s.entries.Run, s.creations.Run, s.changes.Run, s.creating.Run}
	errs := make([]error, len(lanes))
	var running sync.WaitGroup
	for i, run := range lanes {
		running.Go(func() { errs[i] = run(ctx) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// GetContract answers GET /v1/openapi.json.
func (s *Server) GetContract(context.Context, GetContractRequestObject) (GetContractResponseObject, error) {
	return ok(s.gate.contract.json), nil
}
