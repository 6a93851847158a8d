// Package tasks is durable work: queued in the transaction that wants it, run at least once by some node, its outcome
// recorded once. It owns the tables task, task_live, task_attempt, task_queue, task_key,
// task_dead_letter, task_replay and task_replay_item, and publishes queue.created, .updated, .paused, .resumed, .draining and .deleted.
//
// A node works on a task only while it holds the task's lease: a token that it must show to finish the task or to prolong
// the lease. A node that dies stops prolonging; when the lease has run out another node takes the task over, with
// Interrupted set, because nobody knows how far the first one came. A node that was only slow finds its token
// refused and its handler's context ended. All times that matter are the database's; a node trusts its own clock only to
// stop early.
//
// States of a task, all in task_live; a task that has ended has no row there, and its last attempt says how it ended.
//
//	scheduled ──┐                          ┌──> ended
//	            v                          │
//	blocked ─> available ──> running ──────┤
//	            ^              │ lease     │
//	            ├──────────────┘ ran out   v
//	            └───────────────────── retryable
//
// A task is dispatched by the node that queues it, at once, where nothing stands in the way. All others are found by pollers: a
// round stages what is due, sees which lines have available tasks, asks pauses, holds and limits how many of each may be
// begun, and only then claims that many. Nothing is claimed that then has to wait.
package tasks

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// Config sizes a node. Zero fields take the defaults named beside them.
type Config struct {
	Node      string        // names this process in leases and in the history; required, unlike any other's
	Workers   int           // handlers at once; 256
	Lease     time.Duration // how long a dead node's tasks stay with it; 30 s
	Heartbeat time.Duration // how often a held lease is prolonged; 10 s, at most a third of Lease
	PollMin   time.Duration // between two looks for due tasks, while there are some; 5 ms
	PollMax   time.Duration // between two looks for due tasks, while there are none; 1 s
	Drain     time.Duration // how long Run waits for running handlers once its context has ended; 15 s
}

func (c Config) withDefaults() Config {
	orDuration := func(value, other time.Duration) time.Duration {
		if value == 0 {
			return other
		}
		return value
	}
	if c.Workers == 0 {
		c.Workers = 256
	}
	c.Lease = orDuration(c.Lease, 30*time.Second)
	c.Heartbeat = min(orDuration(c.Heartbeat, 10*time.Second), c.Lease/3)
	c.PollMin = orDuration(c.PollMin, 5*time.Millisecond)
	c.PollMax = max(orDuration(c.PollMax, time.Second), c.PollMin)
	c.Drain = orDuration(c.Drain, 15*time.Second)
	return c
}

// Tasks queues tasks and, between Run's beginning and end, works on them. Safe for concurrent use, but for Handle and
// Every, which come before Run.
type Tasks struct {
	cfg          Config
	db           *postgres.DB
	source       *ids.Source
	log          *slog.Logger
	metrics      *metrics
	tracer       trace.Tracer // nil: no spans
	finish       *lane.Lane[Completion, bool]
	enqueue      *lane.Lane[[]Spec, []Enqueued]
	limits       *limits.Limits
	destinations *destinations.Destinations
	events       *events.Events
	queues       *queues
	kinds        map[string]handling
	sweeps       []sweep
	hurry        chan struct{} // asks the poller to look sooner
	giving       chan struct{} // asks for leases to be handed back
	lookSoon     atomic.Bool   // a nudge may have made tasks available

	mu        sync.Mutex
	phase     phase
	base      context.Context     // of every attempt; made by Run, ended when it has waited long enough
	promises  map[ids.ID]*promise // leases asked for in transactions that have not been told to have ended
	held      map[leaseKey]*held  // every lease of this node that has been dispatched
	ready     []*held             // those that wait for a worker, oldest first; dropped ones are passed over
	waiting   int                 // those in ready that are not dropped
	running   int                 // workers at work
	loads     loads               // what the lines hold of the workers
	crowded   bool                // tasks wait for nothing but workers
	keeping   bool                // and not for those that are reserved
	parked    []worker            // workers that wait
	waking    bool                // one of them has been woken and has not taken anything yet
	reporting int                 // ends of attempts that are yet to be recorded
	returned  []giveBack          // leases to be handed back
	idle      chan struct{}       // closed when draining and no worker is left
	hints     map[ids.ID]hint     // lines with tasks that this node has queued and did not take
	backlog   map[ids.ID]struct{} // lines in which tasks wait
	turns     map[ids.ID]struct{} // ordering keys whose next task is to get its turn

	// The poller's own.
	lines      map[ids.ID]*queueing
	staged     looks
	roundAt    time.Time
	foundAt    time.Time // when a round last began tasks
	behind     bool      // the last round that claimed has left tasks behind
	stageAt    time.Time
	lookAt     time.Time
	lookDue    bool
	lookedUpTo ids.ID
	turnFrom   ids.ID // the line whose turn it is
	turnsAt    time.Time
	turnsFrom  ids.ID
}

// phase is what the node does with tasks.
type phase int

const (
	phaseStopped  phase = iota // Run has not begun, or has ended: tasks are left to other nodes
	phaseRunning               // takes tasks
	phaseDraining              // takes no more
)

// Deps are what Tasks works with.
type Deps struct {
	DB           *postgres.DB
	Limits       *limits.Limits
	Destinations *destinations.Destinations
	Events       *events.Events
	IDs          *ids.Source
	Registry     prometheus.Registerer
	Lanes        *lane.Metrics
	Logger       *slog.Logger
	Tracers      trace.TracerProvider // nil: no spans
}

// New makes a node that does not work yet: without Run it only queues.
func New(d Deps, cfg Config) *Tasks {
	t := &Tasks{
		cfg: cfg.withDefaults(), db: d.DB, source: d.IDs, log: d.Logger,
		limits: d.Limits, destinations: d.Destinations, events: d.Events, queues: newQueues(d.DB, d.Limits),
		kinds: map[string]handling{}, promises: map[ids.ID]*promise{}, held: map[leaseKey]*held{},
		hints: map[ids.ID]hint{}, backlog: map[ids.ID]struct{}{},
		turns: map[ids.ID]struct{}{}, lines: map[ids.ID]*queueing{},
		hurry: make(chan struct{}, 1), giving: make(chan struct{}, 1),
	}
	t.loads = loads{workers: t.cfg.Workers, period: lately, lines: map[ids.ID]*load{}}
	t.metrics = newMetrics(d.Registry, t)
	if d.Tracers != nil {
		t.tracer = d.Tracers.Tracer(tracerName)
	}
	t.kinds[KindHTTP] = handling{
		policy: Policy{Timeout: httpTimeoutMax}.withDefaults(), retry: DefaultRetry(), handle: t.sendHTTP, sends: true, figures: t.metrics.ofKind(KindHTTP),
	}
	t.Handle(kindReplay, Policy{MaxAttempts: -1, LostMax: -1, MaxBackoff: replayLookLong, Timeout: replayTimeout}, t.carryOutReplay)
	t.finish = lane.New(lane.Config{
		Name: "task_finish", BatchMax: 1000, QueueMax: 2*t.cfg.Workers + 16384, Workers: 2, Timeout: t.cfg.Lease,
	}, d.Lanes, t.finishBatch)
	t.enqueue = lane.New(lane.Config{
		Name: "task_enqueue", BatchMax: 512, QueueMax: 8192, Workers: 3, Timeout: t.cfg.Lease, Eager: true,
	}, d.Lanes, t.enqueueBatch)
	t.Every("tasks.forget_keys", time.Minute, t.forgetKeys)
	return t
}

type handling struct {
	policy  Policy
	retry   RetryConfig
	handle  Handler
	sends   bool // the handler itself says when what it does counts against limits
	figures *kindFigures
}

// Handle says who works on a kind of tasks. Call it before Run. A node leaves kinds it does not know to others.
func (t *Tasks) Handle(kind string, p Policy, h Handler) {
	p = p.withDefaults()
	t.kinds[kind] = handling{policy: p, retry: p.retry(), handle: h, figures: t.metrics.ofKind(kind)}
}
