package limits

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// refresh has a node that does not run ask the database for what is due.
func (b *bench) refresh(node *Limits) {
	b.Helper()
	list, _ := node.due(node.now().mono)
	if err := node.refresh(b.Context(), list); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) until(what string, holds func() bool) {
	b.Helper()
	deadline := time.NewTimer(patienceOfTests)
	defer deadline.Stop()
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline.C:
			b.Fatal("in vain waited until " + what)
		}
	}
}

func TestADeadNodesSlotsComeBackAfterItsLeaseAndThePeriod(t *testing.T) {
	b := setup(t)
	cfg := Config{Lease: time.Second}
	key, windows := b.key("destination/api"), []Window{{5, time.Second}, {Limit: 4}}
	dead := b.node("dead", cfg)
	dead.Define(key, 1, windows)
	dead.Take([]Key{key}, 1, 5)
	b.refresh(dead)
	grants, _, _ := dead.Take([]Key{key}, 1, 5)
	if len(grants) != 4 {
		t.Fatal(len(grants))
	}
	for _, g := range grants {
		g.Sent()
	}
	last := time.Now() // and nothing more is heard of it

	heir := b.node("heir", cfg)
	b.run(heir)
	heir.Define(key, 1, windows)
	b.take(heir, 1, key) // of the five, one was not taken
	b.take(heir, 2, key)
	if waited := time.Since(last); waited < 2150*time.Millisecond {
		t.Fatalf("the slots of a dead node were used again after %v", waited)
	}
	state, err := heir.State(t.Context(), key)
	if err != nil || len(state.Windows) != 2 || len(state.Windows[1].Nodes) != 1 || state.Windows[1].Nodes[0].Node != "heir" {
		t.Fatalf("%+v, %v", state, err)
	}
}

func TestWithoutTheDatabaseANodeGoesOnUntilItsLeaseEnds(t *testing.T) {
	b := setup(t)
	db, err := postgres.Open(t.Context(), b.db.Pool().Config().ConnString(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	node := New(db, Config{Node: "cut off", Lease: time.Second}, b.source, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	key := b.key("destination/api")
	node.Define(key, 1, []Window{{Limit: 10}})
	node.Take([]Key{key}, 1, 10)
	b.refresh(node)
	began := time.Now()
	db.Close()
	granted := 0
	b.until("the node grants nothing", func() bool {
		if list, _ := node.due(node.now().mono); len(list) > 0 && node.refresh(t.Context(), list) == nil {
			t.Error("a refresh without a database")
		}
		grants, _, _ := node.Take([]Key{key}, 1, 1)
		for _, g := range grants {
			granted++
			g.Unused()
		}
		return len(grants) == 0
	})
	if lasted := time.Since(began); granted == 0 || lasted > time.Second {
		t.Fatalf("%d granted within %v", granted, lasted)
	}
}

func TestANodeThatHoldsAndWantsNothingAsksNothing(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.run(node)
	key := b.key("destination/api")
	node.Define(key, 1, []Window{{10, time.Second}, {100, time.Hour}})
	for _, g := range b.take(node, 3, key) {
		g.Sent()
		g.Done()
	}
	b.until("all is given back", func() bool { return b.count(`select count(*) from limit_lease where held > 0 or want > 0`) == 0 })
	b.until("nothing is due", func() bool {
		list, next := node.due(node.now().mono)
		return len(list) == 0 && node.now().mono.until(next) > 10*time.Minute
	})
	if n := b.count(`select sum(units) from limit_cooling where period = 3600e6`); n != 3 {
		t.Fatalf("%d units cool, want 3", n)
	}
	if n := b.count(`select count(*) from limit_key where quiet_at > now() + interval '1 hour'`); n != 1 {
		t.Fatal("the key might be swept before its slots have cooled")
	}
}

func TestTheNewestDefinitionWinsEverywhereWithinASecond(t *testing.T) {
	b := setup(t)
	old, young := b.node("old", Config{}), b.node("young", Config{})
	b.run(old)
	b.run(young)
	key := b.key("queue/emails")
	old.Define(key, 1, []Window{{Limit: 10}})
	held := b.take(old, 8, key)
	young.Define(key, 2, []Window{{Limit: 3}})
	young.Take([]Key{key}, 1, 1)
	b.until("the old node obeys", func() bool {
		old.mu.Lock()
		defer old.mu.Unlock()
		k := old.keys[key]
		return k.version == 2 && len(k.windows) == 1 && k.windows[0].limit == 3
	})
	old.Define(key, 1, []Window{{Limit: 10}}) // is too late
	if more, _, _ := old.Take([]Key{key}, 1, 1); len(more) != 0 {
		t.Fatal("a use above the lowered limit")
	}
	if more, _, _ := young.Take([]Key{key}, 1, 1); len(more) != 0 {
		t.Fatal("a use while more than the limit are under way")
	}
	for _, g := range held {
		g.Sent()
		g.Done()
	}
	b.take(young, 1, key)
	if n := b.count(`select max(version) from limit_key`); n != 2 {
		t.Fatalf("version %d", n)
	}
	old.Define(key, 3, []Window{{Limit: 30}})
	b.take(old, 20, key)
}

func TestWhatNobodyUsesIsForgotten(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Forget: time.Minute})
	name := b.key("destination/api/tenant-7")
	node.Define(name, 1, []Window{{Limit: 10}})
	node.Take([]Key{name}, 1, 1)
	b.refresh(node)
	for range 2 {
		if _, err := b.db.Pool().Exec(t.Context(), `update limit_key set quiet_at = now() - interval '1 second'`); err != nil {
			t.Fatal(err)
		}
		node.sweep(t.Context(), node.now().mono)
		if n := b.count(`select count(*) from limit_key`) + b.count(`select count(*) from limit_lease`); n != 0 {
			t.Fatal("it is still in the database")
		}
		// The node does not know, and finds out.
		list := []*key{node.keys[name]}
		if err := node.refresh(t.Context(), list); err == nil {
			t.Fatal("a key that is gone was found")
		}
		if err := node.refresh(t.Context(), list); err != nil || b.count(`select count(*) from limit_key`) != 1 {
			t.Fatal(err)
		}
	}
	real := node.now
	node.now = func() instant { return real().plus(time.Hour) }
	b.until("it is given back", func() bool {
		list, _ := node.due(node.now().mono)
		return len(list) == 0 || node.refresh(t.Context(), list) != nil
	})
	node.sweep(t.Context(), node.now().mono)
	if len(node.keys) != 0 {
		t.Fatal("it is still in memory")
	}
}

func TestCallsMadeElsewhereCount(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	b.run(node)
	key := b.key("destination/api")
	windows := []Window{{10, 2 * time.Second}, {100, time.Hour}, {Limit: 1}}
	consume := func(units int64) (bool, time.Duration) {
		var granted bool
		var retry time.Duration
		err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) (err error) {
			granted, retry, err = node.Consume(ctx, tx, key, units)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return granted, retry
	}
	node.Define(key, 1, windows)
	if granted, _ := consume(4); !granted {
		t.Fatal("free slots were refused")
	}
	if granted, retry := consume(7); granted || retry <= 0 || retry > 2600*time.Millisecond {
		t.Fatal(granted, retry)
	}
	if n := b.count(`select coalesce(sum(units), 0) from limit_cooling where period = 2e6`); n != 4 {
		t.Fatalf("%d cool, want 4", n)
	}
	// The node holds what is left, and gives it back because somebody else wants it.
	for range 6 {
		g := b.take(node, 1, key)[0]
		g.Sent()
		g.Done()
	}
	b.until("the node gives slots back", func() bool { granted, _ := consume(3); return granted })
	state, err := node.State(t.Context(), key)
	if err != nil || len(state.Windows) != 3 || state.Windows[2].Period != time.Hour || state.Windows[2].Cooling < 7 {
		t.Fatalf("%+v, %v", state, err)
	}
	if _, err := node.State(t.Context(), b.key("unheard")); !errors.Is(err, ErrUndefined) {
		t.Fatal(err)
	}
}
