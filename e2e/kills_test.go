package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// resumeWithin is how long after its node's death a task may wait for another: 45 s at the default lease of 30 s.
func (w *witness) resumeWithin() time.Duration {
	return time.Duration(w.cfg.TaskLeaseSeconds)*time.Second + 15*time.Second
}

const heldSQL = `select count(*) from task_live where leased_by = $1`

// A node is killed while it works: another takes its tasks over in time, and only those that were under way are in doubt.
func TestAKilledNodesTasksAreDoneByAnother(t *testing.T) {
	w := newWitness(t, careless(200*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	const calls = 500
	a := w.serve("a")
	w.serve("b")
	w.calls(w.program, calls)
	w.amid(calls / 5)
	w.eventually("a works", func() bool { return w.count(heldSQL, "a") > 0 })
	a.kill()
	var killed time.Time
	if err := w.db.Pool().QueryRow(t.Context(), `select clock_timestamp()`).Scan(&killed); err != nil {
		t.Fatal(err)
	}
	w.settled()
	unclear := w.agree(calls)
	if lost := w.count(`select count(*) from task_attempt where outcome = 'lease_lost' and node = 'a'`); unclear == 0 || lost != unclear {
		t.Errorf("a had %d tasks under way, and %d attempts are in doubt", lost, unclear)
	}
	var late time.Time
	err := w.db.Pool().QueryRow(t.Context(), `
		select max(n.started_at)
		from task_attempt a
		join task_attempt n on n.org_id = a.org_id and n.task_id = a.task_id and n.number = a.number + 1
		where a.outcome = 'lease_lost'`).Scan(&late)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tasks were under way; all were taken up again %v after the kill", unclear, late.Sub(killed))
	if waited := late.Sub(killed); waited > w.resumeWithin() {
		t.Errorf("a task waited %v", waited)
	}
}

// A node is stopped for longer than its leases and then goes on: what it has to say comes too late, and is not taken.
func TestANodeThatWasStoppedComesTooLate(t *testing.T) {
	w := newWitness(t, careless(400*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	const calls, more = 300, 50
	a := w.serve("a")
	b := w.serve("b")
	w.calls(w.program, calls)
	w.amid(calls / 5)
	w.eventually("a works", func() bool { return w.count(heldSQL, "a") > 0 })
	a.signal(syscall.SIGSTOP)
	w.settled()
	unclear := w.agree(calls)
	if unclear == 0 {
		t.Error("nothing was under way")
	}
	a.signal(syscall.SIGCONT)
	w.eventually("a is refused", func() bool { return strings.Contains(a.said(), "lease was lost before its end could be recorded") })
	b.stop()
	w.calls(w.program, more) // and the node is of use again
	w.settled()
	if again := w.agree(calls + more); again != unclear {
		t.Errorf("%d attempts in doubt became %d", unclear, again)
	}
	a.stop()
}

// A node is asked to stop while it works: it ends what it has begun, and hands the rest over without an attempt.
func TestANodeThatStopsHandsItsTasksOver(t *testing.T) {
	w := newWitness(t, careless(300*time.Millisecond))
	w.reachedAt(w.mock.URL(), 10)
	const calls = 300
	a := w.serve("a")
	w.serve("b")
	w.calls(w.program, calls)
	w.amid(calls / 5)
	w.eventually("a works", func() bool { return w.count(heldSQL, "a") > 0 })
	a.stop()
	if n := w.count(heldSQL, "a"); n != 0 {
		t.Errorf("it has kept %d tasks", n)
	}
	w.settled()
	if unclear := w.agree(calls); unclear != 0 {
		t.Errorf("%d attempts are in doubt", unclear)
	}
	if n := w.count(`select count(*) from task_attempt`); n != calls {
		t.Errorf("%d attempts for %d tasks", n, calls)
	}
}

// A terminal, make and timeout may signal twice what they mean once: that is no reason to drop what is under way.
func TestASignalThatEchoesIsOneSignal(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	p := h.serve("a")
	echo := time.NewTicker(2 * time.Millisecond)
	defer echo.Stop()
	for range 20 {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
		<-echo.C
	}
	<-p.exited
	if !p.cmd.ProcessState.Success() {
		t.Errorf("it stopped with %s:\n%s", p.cmd.ProcessState, p.said())
	}
}
