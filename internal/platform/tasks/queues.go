package tasks

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/limits"
)

// queueKey names a queue.
type queueKey struct {
	org  ids.ID
	name string
}

// settings are what the workers need to know of a queue.
type settings struct {
	exists      bool
	pausedUntil time.Time    // by this node's monotonic clock; the zero time: not paused
	retry       *RetryConfig // nil: as the kind says
	version     int64
	read        time.Time
	used        time.Time
}

// queues are the queues whose tasks this node works on, as they were at most a second ago. Safe for concurrent use.
type queues struct {
	db     *postgres.DB
	limits *limits.Limits
	mu     sync.Mutex
	known  map[queueKey]*settings
}

func newQueues(db *postgres.DB, limits *limits.Limits) *queues {
	return &queues{db: db, limits: limits, known: map[queueKey]*settings{}}
}

const (
	queuesFresh = time.Second // how old what is known of a queue may be
	queuesKept  = time.Minute // how long a queue is asked about that no task comes from
	forever     = 1000 * time.Hour
)

// hot
const readQueuesSQL = `
	select n.n, q.state, extract(epoch from q.paused_until - statement_timestamp())::float8, (q.max_dispatches_per_second * 1000)::bigint,
		q.max_burst_size, q.max_concurrent_dispatches, q.retry_config, q.version
	from unnest($1::uuid[], $2::text[]) with ordinality as n (org_id, name, n)
	join task_queue q on q.org_id = n.org_id and q.name = n.name`

// refresh reads the queues of lines, and those lately asked for, that are not known well enough: all in one statement.
func (s *queues) refresh(ctx context.Context, now time.Time, lines map[ids.ID]*queueing) error {
	stale := s.stale(now, lines)
	if len(stale) == 0 {
		return nil
	}
	orgs, names := make([]ids.ID, len(stale)), make([]string, len(stale))
	for i, k := range stale {
		orgs[i], names[i] = k.org, k.name
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := s.db.Pool().Query(ctx, readQueuesSQL, orgs, names)
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	fresh := make([]settings, len(stale))
	var at int64
	var q Queue
	var seconds *float64
	_, err = pgx.ForEachRow(rows, []any{
		&at, &q.State, &seconds, &q.MaxDispatchesPerSecond, &q.MaxBurstSize, &q.MaxConcurrentDispatches, &q.RetryConfig, &q.Version,
	}, func() error {
		f := &fresh[at-1]
		f.exists, f.version = true, q.Version
		if retry, problems, err := ReadRetry(q.RetryConfig, DefaultRetry()); err == nil && len(problems) == 0 {
			f.retry = &retry
		}
		if q.State == QueuePaused {
			f.pausedUntil = now.Add(forever)
			if seconds != nil {
				f.pausedUntil = now.Add(time.Duration(*seconds * float64(time.Second)))
			}
		}
		s.limits.Define(limitKey(stale[at-1]), q.Version, q.windows())
		return nil
	})
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range stale {
		f := fresh[i]
		f.read, f.used = now, now
		if before := s.known[k]; before != nil {
			f.used = before.used
		}
		s.known[k] = &f
	}
	for k, f := range s.known {
		if now.Sub(f.used) > queuesKept {
			delete(s.known, k)
		}
	}
	return nil
}

func (s *queues) stale(now time.Time, lines map[ids.ID]*queueing) []queueKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stale []queueKey
	seen := map[queueKey]bool{}
	ask := func(k queueKey) {
		if f := s.known[k]; !seen[k] && (f == nil || now.Sub(f.read) >= queuesFresh) {
			stale = append(stale, k)
		}
		seen[k] = true
	}
	for _, q := range lines {
		k := queueKey{q.org, q.queue}
		if f := s.known[k]; f != nil {
			f.used = now
		}
		ask(k)
	}
	for k := range s.known {
		ask(k)
	}
	return stale
}

func limitKey(k queueKey) limits.Key { return limits.Key{OrgID: k.org, Name: "queue/" + k.name} }

func (s *queues) get(org ids.ID, name string) (settings, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.known[queueKey{org, name}]
	if f == nil {
		return settings{}, false
	}
	return *f, true
}

// free tells whether tasks of a queue count against nothing: it is known to have no settings, and was asked for a moment ago.
func (s *queues) free(now time.Time, org ids.ID, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.known[queueKey{org, name}]
	if f == nil {
		return false
	}
	f.used = now
	return !f.exists && now.Sub(f.read) < 3*queuesFresh
}

func (s *queues) heldUntil(now time.Time, org ids.ID, name string) time.Time {
	f, known := s.get(org, name)
	if !known {
		return now.Add(queuesFresh)
	}
	return f.pausedUntil
}

func (s *queues) limitKeys(org ids.ID, name string) []limits.Key {
	if f, _ := s.get(org, name); !f.exists {
		return nil
	}
	return []limits.Key{limitKey(queueKey{org, name})}
}
