package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/destinations"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// witness is a house with a third party that keeps a record of its own.
type witness struct {
	*house
	*program
	mock *mockapi.Server
}

// api is the destination that all requests go to.
const api = "api"

// careless is a third party that does what it is asked each time, whatever the idempotency key: so its record shows every
// request that was sent twice.
func careless(latency time.Duration) mockapi.Config {
	c := careful(latency)
	c.IgnoreIdempotencyKeys = true
	return c
}

// careful does everything once for its idempotency key.
func careful(latency time.Duration) mockapi.Config {
	return mockapi.Config{Faults: mockapi.Faults{Latency: mockapi.Latency{Low: latency / 2, High: latency}}}
}

func newWitness(t *testing.T, third mockapi.Config) *witness {
	t.Helper()
	t.Parallel()
	return newWitnessOn(t, postgrestest.DB(t).URL, third)
}

// newWitnessOn is newWitness on a database that the test has made.
func newWitnessOn(t *testing.T, databaseURL string, third mockapi.Config) *witness {
	t.Helper()
	w := &witness{house: newHouseOn(t, databaseURL, sandbox.ServerConfig{})}
	w.cfg.TaskWorkers, w.cfg.TaskLeaseSeconds = 16, 3
	var err error
	if w.mock, err = mockapi.Start(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.mock.Close)
	w.program = w.house.program()
	return w
}

// reachedAt makes the destination. Its breaker is off: these are tests of tasks, and they break much.
func (w *witness) reachedAt(url string, timeoutSeconds int64) {
	w.Helper()
	w.destination(w.program, api, destinations.Settings{
		BaseURL: url, TimeoutSeconds: timeoutSeconds, CircuitBreaker: destinations.CircuitBreaker{Disabled: true},
	})
}

// amid waits until so many requests have arrived.
func (w *witness) amid(arrivals int64) {
	w.Helper()
	w.eventually(fmt.Sprint(arrivals, " arrivals"), func() bool { return w.mock.Summary().Arrivals >= arrivals })
}

// settled waits until no task is left to be done; the database may be away meanwhile.
func (w *witness) settled() {
	w.Helper()
	w.within(90*time.Second, "all tasks are done", func() bool {
		var left int
		err := w.db.Pool().QueryRow(w.Context(), `select count(*) from task_live`).Scan(&left)
		return err == nil && left == 0
	})
}

// story is what the database tells of a task.
type story struct {
	key      string // what its requests carry
	attempts int
	unclear  int // attempts of which nobody knows what they did, and the history says so
	end      string
}

const storiesSQL = `
	select t.id, coalesce(t.idempotency_key, ''), count(a.number), count(*) filter (where a.outcome in ('unknown', 'timed_out', 'interrupted', 'lease_lost')),
		coalesce(max(a.outcome) filter (where a.next_due_at is null), '')
	from task t
	join task_attempt a on a.org_id = t.org_id and a.task_id = t.id
	where t.kind = $1
	group by t.org_id, t.id`

func (w *witness) stories() []story {
	w.Helper()
	rows, err := w.db.Pool().Query(w.Context(), storiesSQL, tasks.KindHTTP)
	if err != nil {
		w.Fatal(err)
	}
	var all []story
	var s story
	var id ids.ID
	_, err = pgx.ForEachRow(rows, []any{&id, &s.key, &s.attempts, &s.unclear, &s.end}, func() error {
		if s.key == "" {
			s.key = ids.Format(tasks.Prefix, id)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// agree holds the two records against each other: every one of n tasks was done, and what was done more than once has as many
// attempts of which the history says that nobody knew. It gives the number of those.
func (w *witness) agree(n int) (unclear int) {
	w.Helper()
	stories := w.stories()
	if len(stories) != n {
		w.Errorf("the history knows %d tasks, of %d", len(stories), n)
	}
	for _, s := range stories {
		key := s.key
		truth, came := w.mock.Key(key)
		effects := len(truth.Effects)
		switch {
		case s.end != tasks.OutcomeSucceeded:
			w.Errorf("%s ended as %q: %+v", key, s.end, s)
		case !came || effects == 0:
			w.Errorf("%s is told to have succeeded, and nothing was done: %+v", key, s)
		case effects-1 > s.unclear:
			w.Errorf("%s was done %d times, and the history knows of %d attempts in doubt: %+v", key, effects, s.unclear, s)
		case truth.Arrivals > s.attempts:
			w.Errorf("%s arrived %d times in %d attempts", key, truth.Arrivals, s.attempts)
		}
		unclear += s.unclear
	}
	if keys := int(w.mock.Summary().Keys); keys != len(stories) {
		w.Errorf("the API knows %d tasks, and the database %d", keys, len(stories))
	}
	if left := w.left(w.program); left != 0 {
		w.Errorf("%d tasks are left", left)
	}
	return unclear
}

// count asks the database for a number.
func (w *witness) count(sql string, args ...any) int {
	w.Helper()
	var n int
	if err := w.db.Pool().QueryRow(w.Context(), sql, args...).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}
