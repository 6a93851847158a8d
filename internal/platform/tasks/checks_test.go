package tasks

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/prooftest"
)

// worked is a database in which tasks have succeeded, failed, been tried again, snoozed and given back, and others wait or
// are leased.
func worked(t *testing.T) *bench {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MinBackoff: time.Hour}, func(_ context.Context, task Task) Verdict {
		switch string(task.Args) {
		case `"failed"`:
			return Failed("no", errors.New("no"))
		case `"retried"`:
			return Retry("later", errors.New("later"))
		case `"snoozed"`:
			return Snooze(time.Millisecond, "wait")
		case `"second"`:
			if task.Attempt == 1 {
				return Snooze(0, "wait")
			}
		}
		return Succeeded()
	})
	stop := b.run(node)
	named := b.spec(time.Hour)
	named.Name = "nightly"
	do(b, func(ctx context.Context, tx postgres.Tx) ([]Enqueued, error) {
		return node.EnqueueTx(ctx, tx, []Spec{named})
	})
	specs := []Spec{b.spec(0), b.spec(time.Hour), b.spec(0), b.spec(0), b.spec(0), b.spec(0), b.spec(0)}
	for i, args := range []string{`"succeeded"`, `"later"`, `"failed"`, `"retried"`, `"second"`, `"succeeded"`, `"failed"`} {
		specs[i].Args = []byte(args)
	}
	b.queue(node, specs...)
	b.until("all have been tried", func() bool {
		return b.count(`select count(*) from task_live`) == 3 && b.count(`select count(*) from task_attempt`) == 7
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	node = b.dead()
	b.queueOnly(node, b.spec(0))                   // leased, and begun
	node.letGo(b.queueOnly(node, b.spec(0))[0], 0) // leased, and given back
	node.giveReturned(t.Context())
	return b
}

func TestDamagedTasksAreReported(t *testing.T) {
	b := worked(t)
	for _, c := range []struct {
		name, damage string
		want         []string
	}{
		{"nothing", ``, nil},
		{
			"a task that is gone while it waits",
			`delete from task where id = (select task_id from task_live where lease_token is not null)`,
			[]string{"tasks.live.known"},
		},
		{
			"a task that is gone after its end",
			`delete from task where id = (select task_id from task_attempt where next_due_at is null limit 1)`,
			[]string{"tasks.live.known"},
		},
		{
			"a task that nobody will do",
			`delete from task_live where task_id = (select task_id from task_live where lease_token is not null)`,
			[]string{"tasks.end.recorded"},
		},
		{
			"a task that nobody will try again",
			`delete from task_live where state = 'retryable'`,
			[]string{"tasks.end.recorded"},
		},
		{
			"a task whose end is gone",
			`delete from task_attempt where task_id = (select task_id from task_attempt where number = 2) and number = 2`,
			[]string{"tasks.end.recorded"},
		},
		{
			"a task that has ended and waits",
			`insert into task_live (org_id, task_id, line, state, due_at, attempt) select org_id, task_id, task_id, 'retryable', now(), 1 from task_attempt where outcome = 'succeeded' and number = 1 limit 1`,
			[]string{"tasks.end.recorded"},
		},
		{
			"attempts numbered with a gap",
			`delete from task_attempt where task_id = (select task_id from task_attempt where number = 2) and number = 1`,
			[]string{"tasks.attempts.numbered"},
		},
		{
			"a count that is ahead of the history",
			`update task_live set attempt = attempt + 1 where state = 'retryable'`,
			[]string{"tasks.attempts.numbered"},
		},
		{
			"a lease that is no attempt",
			`update task_live set attempt = 0 where lease_token is not null`,
			[]string{"tasks.attempts.numbered", "tasks.leases.whole"},
		},
		{
			"a lease that ended before it began",
			`update task_live set leased_at = due_at + interval '1 minute' where lease_token is not null`,
			[]string{"tasks.leases.whole"},
		},
		{
			"a failure that left nothing",
			`delete from task_dead_letter where task_id = (select task_id from task_dead_letter limit 1)`,
			[]string{"tasks.failures.kept"},
		},
		{
			"a dead letter of a task that goes on",
			`update task_dead_letter set task_id = (select task_id from task_live where state = 'retryable') where task_id = (select task_id from task_dead_letter limit 1)`,
			[]string{"tasks.failures.kept"},
		},
		{
			"a name that belongs to a task which has ended",
			`update task_key set task_id = (select task_id from task_attempt where outcome = 'succeeded' limit 1)`,
			[]string{"tasks.keys.held"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := prooftest.Failing(t, b.db, Proof(), c.damage); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
