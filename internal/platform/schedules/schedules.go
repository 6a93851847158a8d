// Package schedules is work that comes again and again: a cron rule in a time zone, and the task that each of its ticks makes.
// It owns the tables schedule and schedule_tick, and publishes events about the aggregate schedule.
//
// A tick is a moment that the rule names. Every node with workers makes the ticks that are due, by the database's clock, in
// one transaction with their tasks. What keeps a tick from being made twice, or lost, is that the schedule's row says how
// far its ticks have been accounted for (ticks_after): who makes ticks holds the row's lock and moves it on. The key of schedule_tick
// is the second guard. A schedule lives in the database alone: a deployment, a crash or any number of nodes
// change nothing about when it ticks.
//
//	active ──> paused: ticks pass unmade
//	  ^          │
//	  └──────────┘   the next tick is the first after now
package schedules

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// Prefix is that of schedule ids as people see them.
const Prefix = "sch"

// Config sizes a node. Zero fields take the defaults named beside them.
type Config struct {
	LookMax      time.Duration // between two looks for the next tick: how late a new schedule is noticed; 2 s
	SchedulesMax int           // schedules in one transaction; 500
	TicksMax     int           // ticks in one transaction; 1000
}

func (c Config) withDefaults() Config {
	if c.LookMax == 0 {
		c.LookMax = 2 * time.Second
	}
	if c.SchedulesMax == 0 {
		c.SchedulesMax = 500
	}
	if c.TicksMax == 0 {
		c.TicksMax = 1000
	}
	return c
}

// Schedules keeps schedules and, while Run runs, makes their ticks. Safe for concurrent use.
type Schedules struct {
	cfg     Config
	db      *postgres.DB
	tasks   *tasks.Tasks
	events  *events.Events
	source  *ids.Source
	log     *slog.Logger
	metrics *metrics
}

// New makes a node that ticks only within Run.
func New(db *postgres.DB, cfg Config, queue *tasks.Tasks, log *events.Events, source *ids.Source, registry prometheus.Registerer,
	logger *slog.Logger,
) *Schedules {
	return &Schedules{
		cfg: cfg.withDefaults(), db: db, tasks: queue, events: log, source: source, log: logger, metrics: newMetrics(registry),
	}
}

// fireTimeout bounds one look, with all that was due.
const fireTimeout = 30 * time.Second

// busyPause is how long to wait when what is due is held by another node.
const busyPause = 50 * time.Millisecond

// Run makes ticks until ctx ends. It sleeps until the next one is due, and looks at least every LookMax, because other
// nodes make schedules too: one statement a look. It never fails; what goes wrong is logged and tried again.
func (s *Schedules) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		pause, err := s.look(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			pause = s.cfg.LookMax
			s.log.Error("the ticks that are due could not be made; it is tried again", "error", err)
		}
		timer.Reset(pause)
	}
}

// look makes what is due and tells how long nothing else is.
func (s *Schedules) look(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fireTimeout)
	defer cancel()
	for {
		delay, err := s.untilNext(ctx)
		if err != nil || delay > 0 {
			return min(delay, s.cfg.LookMax), err
		}
		fired, err := s.fireDue(ctx)
		if err != nil {
			return 0, err
		}
		if fired == 0 {
			return busyPause, nil
		}
	}
}
