package tasks

import (
	"context"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func TestWhatIsSeenThroughIsNotCancelled(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("kept", Policy{LostMax: -1}, func(context.Context, Task) Verdict { return Succeeded() })
	for _, kind := range []string{"kept", kindReplay} {
		task := b.queue(node, Spec{OrgID: b.org, Kind: kind, After: time.Hour})[0]
		b.refused(ErrNotCancellable, func(ctx context.Context, tx postgres.Tx) error {
			_, err := node.CancelOne(ctx, tx, b.org, task.ID)
			return err
		})
		if s := b.shown(node, task.ID); s.State != StateScheduled {
			t.Errorf("%s: %+v", kind, s)
		}
	}
	// Work of somebody's own program, which handles it elsewhere.
	task := b.queue(node, Spec{OrgID: b.org, Kind: "unknown here", After: time.Hour})[0]
	s := do(b, func(ctx context.Context, tx postgres.Tx) (Shown, error) {
		return node.CancelOne(ctx, tx, b.org, task.ID)
	})
	if s.State != StateCancelled {
		t.Errorf("%+v", s)
	}
}
