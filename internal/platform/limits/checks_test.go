package limits

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

func TestDamagedLimitsAreReported(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	key := b.key("destination/api")
	node.Define(key, 1, []Window{{10, time.Hour}, {Limit: 3}})
	node.Take([]Key{key}, 1, 2)
	b.refresh(node)
	grants, _, _ := node.Take([]Key{key}, 1, 2)
	grants[0].Sent()
	node.stopped = true
	node.keys[key].tickAt = 0
	b.refresh(node)
	for _, c := range []struct {
		name, damage string
		want         []string
	}{
		{"none", "", nil},
		{"a key that is swept too soon", `update limit_key set quiet_at = now() + interval '30 minutes'`, []string{"limits.slots.kept"}},
		{"a lease that lasts too long", `update limit_lease set ends_at = now() + interval '1 day' where period = 0`, []string{"limits.slots.kept"}},
		{"slots that cool too long", `update limit_cooling set free_at = now() + interval '1 day'`, []string{"limits.slots.kept"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			err := b.db.DryRun(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				if c.damage != "" {
					if tag, err := tx.Exec(ctx, c.damage); err != nil || tag.RowsAffected() != 1 {
						return fmt.Errorf("it damages %d rows: %w", tag.RowsAffected(), err)
					}
				}
				report, err := proof.RunIn(ctx, tx, clock.System, []proof.Part{Proof()}, nil)
				for _, f := range report.Failed() {
					got = append(got, f.Name)
				}
				return err
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v; %v", got, c.want, err)
			}
		})
	}
}
