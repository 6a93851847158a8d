package limits

import (
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/prooftest"
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
			if got := prooftest.Failing(t, b.db, Proof(), c.damage); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
