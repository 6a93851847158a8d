package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

// kindFatal is the kind of tasks of which their node dies.
const kindFatal = "fatal"

// beFatal is a process that works on tasks with a handler that ends it at once. It is told the database and its name.
func beFatal(ctx context.Context, args []string) int {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	p, err := newProgram(ctx, args[0], clock.System, log, tasks.Config{Node: args[1], Workers: 16, Lease: 3 * time.Second})
	if err != nil {
		log.Error("not started", "error", err)
		return 1
	}
	defer p.db.Close()
	p.tasks.Handle(kindFatal, tasks.Policy{}, func(context.Context, tasks.Task) tasks.Verdict {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // what follows is not its own choice
	})
	log.Info("started")
	p.run(ctx)
	return 0
}

// A task kills the process of every node that begins it. It is given up after three, all others are done, those that were under
// way beside it as well, and the nodes go on.
func TestATaskThatKillsItsNodesIsPoison(t *testing.T) {
	w := newWitness(t, careless(time.Second))
	w.reachedAt(w.mock.URL(), 10)
	const calls, deaths = 100, 3
	w.calls(w.program, calls)
	w.enqueue(w.program, []tasks.Spec{{OrgID: w.org, Kind: kindFatal}}) // so that it is begun together with some of them
	died := make(chan struct{})
	nodes := map[string]*process{}
	begin := func(name string) {
		p := w.launch(name, playFatal, w.cfg.DatabaseURL, name)
		nodes[name] = p
		go func() { <-p.exited; died <- struct{}{} }()
	}
	begin("a-0")
	begin("b-0")
	for n := range deaths {
		select {
		case <-died:
		case <-time.After(time.Minute):
			t.Fatalf("%d nodes have died", n)
		}
		begin(fmt.Sprint("c-", n))
	}
	w.settled()
	if n := w.count(`select count(*) from task_dead_letter where kind = $1 and reason = 'poison'`, kindFatal); n != 1 {
		t.Error("it was not given up")
	}
	if n := w.count(`select count(*) from task_attempt a join task t on t.org_id = a.org_id and t.id = a.task_id where t.kind = $1 and a.outcome = 'lease_lost'`, kindFatal); n != deaths {
		t.Errorf("%d nodes died of it", n)
	}
	t.Logf("%d attempts in doubt", w.agree(calls))
	select {
	case <-died:
		t.Error("another node died")
	default:
	}
}
