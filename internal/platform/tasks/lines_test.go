package tasks

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// recorder is a handler that writes down what it was given, in order.
type recorder struct {
	mu   sync.Mutex
	got  []string
	goOn chan struct{} // when it is there, each call takes one
}

func (r *recorder) handle(_ context.Context, task Task) Verdict {
	r.mu.Lock()
	r.got = append(r.got, task.SubjectID)
	r.mu.Unlock()
	if r.goOn != nil {
		<-r.goOn
	}
	return Succeeded()
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (b *bench) named(name string, change func(*Spec)) Spec {
	s := Spec{OrgID: b.org, Kind: "test", SubjectType: "test", SubjectID: name}
	change(&s)
	return s
}

func TestMoreUrgentTasksGoFirst(t *testing.T) {
	b := setup(t)
	api := b.node("api", Config{})
	var specs []Spec
	for i, priority := range []int{4, 2, 3, 1, 1, 4, 2} {
		specs = append(specs, b.named(fmt.Sprint(i), func(s *Spec) { s.Priority = priority }))
	}
	b.queueOnly(api, specs...)
	node := b.node("a", Config{Workers: 1})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	b.run(node)
	b.until("all are done", func() bool { return len(r.seen()) == len(specs) })
	if got := r.seen(); !slices.Equal(got, []string{"3", "4", "1", "6", "2", "0", "5"}) {
		t.Fatal(got)
	}
}

// Tasks with one ordering key are done one at a time and in order, whatever the nodes, and whatever fails in between.
func TestTasksWithOneKeyTakeTurns(t *testing.T) {
	b := setup(t)
	api := b.node("api", Config{})
	const keys, each = 5, 12
	var specs []Spec
	for n := range each {
		for k := range keys {
			specs = append(specs, b.named(fmt.Sprintf("%d/%d", k, n), func(s *Spec) { s.OrderingKey = fmt.Sprint(k) }))
		}
	}
	b.queueOnly(api, specs...)
	var mu sync.Mutex
	order, running := map[string][]string{}, map[string]int{}
	for _, name := range []string{"a", "b"} {
		node := b.node(name, Config{Workers: 16})
		node.Handle("test", Policy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}, func(_ context.Context, task Task) Verdict {
			mu.Lock()
			defer mu.Unlock()
			key := task.SubjectID[:1]
			if running[key]++; running[key] > 1 {
				t.Error("two tasks of one key at the same time")
			}
			defer func() { running[key]-- }()
			if task.Attempt == 1 && len(order[key])%3 == 0 {
				return Retry("again", nil)
			}
			order[key] = append(order[key], task.SubjectID)
			return Succeeded()
		})
		b.run(node)
	}
	b.until("all are done", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	for key, got := range order {
		for n, subject := range got {
			if subject != fmt.Sprintf("%s/%d", key, n) {
				t.Fatalf("%v", got)
			}
		}
		if len(got) != each {
			t.Fatalf("%d of %d", len(got), each)
		}
	}
}

// A tenant with much to do does not keep one with little waiting.
func TestTenantsTakeTurns(t *testing.T) {
	b := setup(t)
	api := b.node("api", Config{})
	var specs []Spec
	for n := range 500 {
		specs = append(specs, b.named(fmt.Sprintf("loud/%d", n), func(s *Spec) { s.FairnessKey = "loud" }))
	}
	b.queueOnly(api, specs...)
	b.queueOnly(api, b.named("quiet/0", func(s *Spec) { s.FairnessKey = "quiet" }), b.named("quiet/1", func(s *Spec) { s.FairnessKey = "quiet" }))
	node := b.node("a", Config{Workers: 8})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	b.run(node)
	b.until("the quiet one is served", func() bool { return slices.Contains(r.seen(), "quiet/1") })
	if at := slices.Index(r.seen(), "quiet/1"); at > 60 {
		t.Fatalf("the quiet tenant's second task came after %d others", at)
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	specs := func() []Spec {
		return []Spec{
			b.named("1", func(s *Spec) { s.Name, s.Tombstone = "one", time.Hour }), b.named("2", func(s *Spec) { s.Name = "two" }),
			b.named("3", func(s *Spec) { s.Name, s.Tombstone = "one", time.Hour }), b.named("4", func(*Spec) {}), b.named("5", func(s *Spec) { s.UniqueKey = "one" }),
		}
	}
	enqueue := func() []Enqueued {
		list, err := node.enqueueList(t.Context(), specs())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	var firsts [4][]Enqueued
	var all sync.WaitGroup
	for i := range firsts {
		all.Go(func() { firsts[i] = enqueue() })
	}
	all.Wait()
	fresh := 0
	for _, list := range firsts {
		for i, e := range list {
			if !e.Deduplicated {
				fresh++
			}
			if i != 3 && e.ID != firsts[0][i].ID || list[2].ID != list[0].ID {
				t.Fatalf("%d: %+v", i, e)
			}
		}
	}
	if fresh != 3+len(firsts) || b.count(`select count(*) from task`) != fresh {
		t.Fatalf("%d were queued", fresh)
	}
	b.run(node)
	b.until("all are done", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	for i, e := range enqueue() { // the name has a tombstone, the others are free
		if e.Deduplicated != (i == 0 || i == 2) {
			t.Fatalf("%d: %+v", i, e)
		}
	}
}

func TestAQueueHoldsItsTasks(t *testing.T) {
	b := setup(t)
	b.exec(`insert into task_queue (org_id, name, state, max_dispatches_per_second, max_burst_size, max_concurrent_dispatches, retry_config,
		task_ttl_seconds, tombstone_ttl_seconds, version, created_at, updated_at) values ($1, 'mail', 'paused', 1000, 1000, 3, '{}', 1000, 0, 1, now(), now())`, b.org)
	api := b.node("api", Config{})
	var specs []Spec
	for i := range 40 {
		specs = append(specs, b.named(fmt.Sprint(i), func(s *Spec) { s.Queue = "mail" }))
	}
	b.queueOnly(api, specs...)
	r := recorder{goOn: make(chan struct{})}
	var running, most atomic.Int32
	for _, name := range []string{"a", "b"} {
		node := b.node(name, Config{Workers: 16})
		node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
			n := running.Add(1)
			defer running.Add(-1)
			for before := most.Load(); n > before && !most.CompareAndSwap(before, n); before = most.Load() {
			}
			return r.handle(ctx, task)
		})
		b.run(node)
		b.queue(node, b.named("own", func(s *Spec) { s.Queue = "mail" })) // no node takes it past the pause
	}
	b.until("the nodes know the queue", func() bool {
		return b.count(`select count(*) from limit_lease`) >= 0 && b.count(`select count(*) from task_live where state = 'available'`) == len(specs)+2
	})
	if len(r.seen()) != 0 {
		t.Fatal("a paused queue dispatches")
	}
	b.exec(`update task_queue set state = 'running', version = 2`)
	b.until("three are at work", func() bool { return len(r.seen()) == 3 })
	for range len(specs) + 2 {
		r.goOn <- struct{}{}
	}
	b.until("all are done", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	if n := most.Load(); n != 3 {
		t.Errorf("%d at work at the same time", n)
	}
}

func TestATaskThatComesTooLateIsADeadLetter(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	node.Handle("test", Policy{}, func(context.Context, Task) Verdict { t.Error("begun"); return Succeeded() })
	api := b.node("api", Config{})
	task := b.queueOnly(api, b.named("late", func(s *Spec) { s.ExpiresAt = time.Now().Add(-time.Second) }))[0]
	b.run(node)
	b.untilFinished(task)
	if n := b.count(`select count(*) from task_dead_letter where reason = 'expired'`); n != 1 {
		t.Fatal("no dead letter")
	}
}

func TestATaskOfWhichNodesDieIsPoison(t *testing.T) {
	b := setup(t)
	dead := b.dead()
	task := b.queueOnly(dead, b.spec(0))[0]
	b.exec(`update task_live set lost = 2, due_at = now()`)
	node := b.node("a", Config{})
	node.Handle("test", Policy{MaxAttempts: -1}, func(context.Context, Task) Verdict { t.Error("begun"); return Succeeded() })
	b.run(node)
	b.untilFinished(task)
	if n := b.count(`select count(*) from task_dead_letter where reason = 'poison'`); n != 1 {
		t.Fatal("no dead letter")
	}
}

// What was lost with a poisonous task twice is not lost with it a third time: it is begun alone.
func TestTasksThatMayBePoisonAreBegunOneByOne(t *testing.T) {
	b := setup(t)
	const suspects, others = 5, 20
	dead := b.dead()
	b.queueOnly(dead, b.specs(suspects)...)
	b.exec(`update task_live set lost = 1, due_at = now()`)
	node := b.node("a", Config{})
	var mu sync.Mutex
	under := 0
	goOn := make(chan struct{})
	node.Handle("test", Policy{}, func(_ context.Context, task Task) Verdict {
		if task.lost == 0 {
			return Succeeded()
		}
		mu.Lock()
		if under++; under > 1 {
			t.Error("two of them are under way")
		}
		mu.Unlock()
		<-goOn
		mu.Lock()
		defer mu.Unlock()
		under--
		return Succeeded()
	})
	b.queueOnly(b.node("api", Config{}), b.specs(others)...)
	b.run(node)
	b.until("the others are done, and all suspects but one are back", func() bool {
		return b.count(`select count(*) from task_attempt where outcome = 'succeeded'`) == others &&
			b.count(`select count(*) from task_live where lost = 2 and attempt = 1 and state = 'scheduled'`) == suspects-1
	})
	close(goOn)
	b.until("all are done", func() bool { return b.count(`select count(*) from task_live`) == 0 })
	if n := b.count(`select count(*) from task_attempt where outcome = 'succeeded' and number = 2`); n != suspects {
		t.Errorf("%d of them have succeeded", n)
	}
}

func TestACancelledTaskIsToldSo(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{Heartbeat: 2 * time.Millisecond})
	began := make(chan Task, 1)
	node.Handle("test", Policy{}, func(ctx context.Context, task Task) Verdict {
		began <- task
		<-ctx.Done()
		return Retry("ended", context.Cause(ctx))
	})
	b.run(node)
	task := b.queue(node, b.spec(0))[0]
	receive(b, began, "it begins")
	b.exec(`update task_live set cancelled = true`)
	b.untilFinished(task)
	if h := b.history(task); len(h) != 1 || h[0].Outcome != "cancelled" || !h[0].Last {
		t.Fatal(h)
	}
}

// Work that another program queues in its own transaction is found without anybody telling.
func TestTasksOfAnotherTransactionAreFound(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	b.run(node)
	api := b.node("api", Config{})
	b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		_, err := api.EnqueueTx(ctx, tx, []Spec{b.named("x", func(*Spec) {}), b.named("y", func(s *Spec) { s.OrderingKey = "o" })})
		return err
	})
	b.until("both are done", func() bool { return len(r.seen()) == 2 })
}

// Both statements that queue write the same of a task that has nothing beyond what each has.
func TestBareTasksAreAsOthers(t *testing.T) {
	b := setup(t)
	node := b.node("a", Config{})
	row := func(task Task) (text string) {
		err := b.db.Pool().QueryRow(b.Context(), `
			select (to_jsonb(k) - array['id', 'created_at'])::text || (to_jsonb(l) - array['task_id', 'due_at', 'lease_token', 'leased_at'])::text
			from task k join task_live l on l.org_id = k.org_id and l.task_id = k.id
			where k.org_id = $1 and k.id = $2`, task.OrgID, task.ID).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	bare, special := Spec{OrgID: b.org, Kind: "test"}, Spec{OrgID: b.org, Kind: "test", Tags: []string{"special"}}
	for _, taken := range []bool{false, true} {
		if taken {
			node.Handle("test", Policy{}, func(context.Context, Task) Verdict { return Succeeded() })
			node.phase = phaseRunning
			b.acquaint(node)
		}
		alone, among := b.queueOnly(node, bare)[0], b.queueOnly(node, bare, special)[0]
		if alone.Lease.IsZero() == taken || row(alone) != row(among) {
			t.Errorf("%s\n%s", row(alone), row(among))
		}
	}
}

// As many lines as a node remembers may be held, such as the limit keys of a destination that is down. The others are found all the same.
func TestLinesThatAreHeldLeaveRoomForOthers(t *testing.T) {
	b := setup(t)
	api, node := b.node("api", Config{}), b.node("a", Config{})
	held, asked := &queueing{found: monotonic()}, &queueing{found: monotonic(), asked: true}
	for n := range linesMax {
		node.lines[lineNamed(n)] = held
	}
	node.lines[lineNamed(7)] = asked
	task := b.queueOnly(api, b.spec(0))[0]
	if err := node.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if node.lines[task.line] == nil || node.lines[lineNamed(7)] != asked || len(node.lines) != linesMax {
		t.Fatalf("%d lines; found: %t", len(node.lines), node.lines[task.line] != nil)
	}
	node.await(&task)
	delete(node.lines, task.line)
	node.lines[lineNamed(linesMax)] = held
	if node.takeHints(monotonic()); node.lines[task.line] == nil || len(node.lines) != linesMax {
		t.Fatalf("%d lines; hinted at: %t", len(node.lines), node.lines[task.line] != nil)
	}
}

// A program that has cancelled a task and does not commit keeps that one's turn from being given, and nothing else from going on.
func TestATurnThatSomebodyHasLockedHoldsUpNobody(t *testing.T) {
	b := setup(t)
	api, node := b.node("api", Config{}), b.node("a", Config{})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	ordered := func(name, key string) Spec { return b.named(name, func(s *Spec) { s.OrderingKey = key }) }
	list := b.queueOnly(api, ordered("locked", "1"), ordered("next", "1"), ordered("other", "2"))
	locked, committing := make(chan struct{}), make(chan struct{})
	commit := sync.OnceFunc(func() { close(committing) })
	t.Cleanup(commit)
	var program sync.WaitGroup
	program.Go(func() {
		b.inTx(func(ctx context.Context, tx postgres.Tx) error {
			_, err := api.Cancel(ctx, tx, b.org, []ids.ID{list[0].ID}, "cancelled_on_request")
			close(locked)
			<-committing
			return err
		})
	})
	receive(b, locked, "it is locked")
	b.run(node)
	b.until("the other is done", func() bool { return slices.Equal(r.seen(), []string{"other"}) })
	commit()
	program.Wait()
	b.until("the next is done", func() bool { return slices.Equal(r.seen(), []string{"other", "next"}) })
}
