package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/prooftest"
)

// changedQueues makes, changes and deletes queues.
func changedQueues(b *bench, node *Tasks) {
	b.Helper()
	b.makeQueue(node, "emails", QueueSettings{})
	for _, change := range []func(ctx context.Context, tx postgres.Tx) (Queue, error){
		func(ctx context.Context, tx postgres.Tx) (Queue, error) {
			return node.UpdateQueue(ctx, tx, b.org, "emails", 0, QueueSettings{MaxDispatchesPerSecond: at(RateOf(0.5))})
		},
		func(ctx context.Context, tx postgres.Tx) (Queue, error) {
			return node.PauseQueue(ctx, tx, b.org, "emails", time.Time{}, "audit")
		},
		func(ctx context.Context, tx postgres.Tx) (Queue, error) {
			return node.DrainQueue(ctx, tx, b.org, "emails")
		},
		func(ctx context.Context, tx postgres.Tx) (Queue, error) {
			return node.ResumeQueue(ctx, tx, b.org, "emails")
		},
	} {
		do(b, change)
	}
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		return node.DeleteQueue(ctx, tx, b.org, "emails", nobody)
	})
	b.makeQueue(node, "emails", QueueSettings{})
}

func TestEveryChangeOfAQueueHasItsEvent(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	changedQueues(b, node)
	broken := errors.New("broken")
	b.refused(broken, func(ctx context.Context, tx postgres.Tx) error {
		if _, err := node.DrainQueue(ctx, tx, b.org, "emails"); err != nil {
			return err
		}
		return broken
	})
	rows, err := b.db.Pool().Query(t.Context(), `
		select dense_rank() over (order by min), type, payload ->> 'name', payload ->> 'max_dispatches_per_second', coalesce(payload ->> 'pause_reason', '')
		from (select *, min(id::text) over (partition by aggregateid) from event where aggregatetype = 'queue') e order by xid, id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var which int
		var kind, name, rate, reason string
		err := row.Scan(&which, &kind, &name, &rate, &reason)
		return fmt.Sprintf("%d %s %s %s %s", which, kind, name, rate, reason), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{
		"1 queue.created emails 50 ", "1 queue.updated emails 0.5 ", "1 queue.paused emails 0.5 audit", "1 queue.draining emails 0.5 ",
		"1 queue.resumed emails 0.5 ", "1 queue.deleted emails 0.5 ", "2 queue.created emails 50 ",
	}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAQueueWithoutItsEventsIsReported(t *testing.T) {
	b := setup(t)
	changedQueues(b, b.node("a", Config{}))
	for name, damage := range map[string]string{
		"a creation":       `delete from event where type = 'queue.created' and aggregateid = (select id from task_queue)`,
		"a change":         `delete from event where type = 'queue.updated'`,
		"an end":           `delete from event where type = 'queue.deleted'`,
		"a change by hand": `update task_queue set version = version + 1`,
		"an end by hand":   `delete from task_queue`,
	} {
		if got := prooftest.Failing(t, b.db, Proof(), damage); !slices.Equal(got, []string{"tasks.queues.told"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := prooftest.Failing(t, b.db, Proof(), ""); len(got) != 0 {
		t.Error(got)
	}
}
