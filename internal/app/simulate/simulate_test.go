package simulate

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/kit/progress"
)

// builder makes the program that serves once for all tests of this package.
type builder struct {
	dir  string
	once sync.Once
	err  error
}

func (b *builder) executable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(b.dir, "kontor")
	b.once.Do(func() {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, "github.com/kontorhq/kontor/cmd/kontor").CombinedOutput()
		if err != nil {
			b.err = errors.New(err.Error() + ": " + string(out))
		}
	})
	if b.err != nil {
		t.Fatalf("build the program: %v", b.err)
	}
	return path
}

var built builder

func TestMain(m *testing.M) {
	var err error
	if built.dir, err = os.MkdirTemp("", "kontor-simulate-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

// simulateHere runs a simulation whose progress is the test's log.
func simulateHere(t *testing.T, o Options) Report {
	t.Helper()
	o.Seed = 1 + rand.Int64N(1_000_000)
	o.Executable, o.Environ = built.executable(t), os.Environ()
	o.Progress = progress.New(progress.Config{Out: t.Output()})
	defer o.Progress.Close()
	t.Logf("seed %d", o.Seed)
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report.WriteText(t.Output())
	if report.Kept != "" {
		if report.OK {
			t.Errorf("kept %s though all is well", report.Kept)
		}
		for _, name := range []string{"simulate.log", "node-1.log", "report.txt"} {
			if _, err := os.Stat(filepath.Join(report.Kept, name)); err != nil {
				t.Error(err)
			}
		}
		t.Cleanup(func() {
			if !t.Failed() {
				_ = os.RemoveAll(report.Kept)
			}
		})
	}
	return report
}

func heavy(t *testing.T) sandbox.Faults {
	t.Helper()
	faults, err := sandbox.ParseFaults("heavy")
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

// The real thing, in short: whatever breaks, every effect happens once.
func TestEveryEffectHappensOnce(t *testing.T) {
	t.Parallel()
	r := simulateHere(t, Options{
		Payments: 300, Concurrency: 48, Faults: heavy(t), Nodes: 2, KillEvery: 1500 * time.Millisecond, KillDatabase: true,
	})
	if !r.OK || r.PaymentsFinal != 300 {
		t.Errorf("not well: %+v", r)
	}
	if r.NodeKills == 0 || r.DatabaseRestarts != 1 || r.FaultsInjected == 0 || r.DuplicatesSent == 0 || r.KeysReused == 0 || r.NonsenseRefused == 0 {
		t.Errorf("nothing was put to the test: %+v", r)
	}
	if r.ThroughputPerSecond <= 0 || r.P50MS <= 0 || r.P99MS < r.P50MS || r.ProviderCharges == 0 {
		t.Errorf("the figures make no sense: %+v", r)
	}
}

// planted is a small simulation in which something is changed before the check.
func planted(t *testing.T, plant func(ctx context.Context, s *simulation) error) Report {
	t.Helper()
	return simulateHere(t, Options{
		Payments: 24, Concurrency: 24, Nodes: 1, DatabaseURL: postgrestest.DB(t).URL, beforeCheck: plant,
	})
}

func says(t *testing.T, r Report, words string) {
	t.Helper()
	if r.OK || r.ProblemsFound == 0 {
		t.Error("all is said to be well")
	}
	if !strings.Contains(strings.Join(r.Problems, "\n"), words) {
		t.Errorf("%q is not among the problems:\n%s", words, strings.Join(r.Problems, "\n"))
	}
}

func TestADoubleChargeIsNoticed(t *testing.T) {
	t.Parallel()
	var payment string
	r := planted(t, func(ctx context.Context, s *simulation) error {
		return s.witness.eachPage(ctx, func(page []sandbox.PaymentTruth) {
			for _, p := range page {
				if payment != "" || !made(&p.Charges[0]) {
					continue
				}
				payment = p.Payment
				var charge sandbox.Charge
				if err := s.witness.call(ctx, http.MethodPost, "/witness/charges/"+p.Charges[0].Reference+"/duplicate", &charge); err != nil {
					t.Error(err)
				}
			}
		})
	})
	says(t, r, payment+": the provider made 2 charges for it")
	if r.DoubleCharges != 1 {
		t.Errorf("%d double charges are counted", r.DoubleCharges)
	}
}

func TestAChangedBalanceIsNoticed(t *testing.T) {
	t.Parallel()
	r := planted(t, func(ctx context.Context, s *simulation) error {
		_, err := s.db.Pool().Exec(ctx, `update ledger_account set credits_posted = credits_posted + 1 where org_id = $1 and code = 'payments/received/EUR'`, s.org)
		return err
	})
	says(t, r, "account payments/received/EUR has ")
	says(t, r, "verify: ")
	if r.LedgerViolations < 2 {
		t.Errorf("%d violations are counted", r.LedgerViolations)
	}
}

func TestALostPaymentIsNoticed(t *testing.T) {
	t.Parallel()
	r := planted(t, func(ctx context.Context, s *simulation) error {
		_, err := s.db.Pool().Exec(ctx, `
			with victim as (
				select p.org_id, p.id from payment p where p.org_id = $1 and p.status <> 'declined' order by p.id limit 1
			), attempts as (
				delete from payment_attempt a using victim v where a.org_id = v.org_id and a.payment_id = v.id
			)
			delete from payment p using victim v where p.org_id = v.org_id and p.id = v.id`, s.org)
		return err
	})
	says(t, r, "a client was told of it, and it is not in the database")
	says(t, r, "the provider charged it, and the database does not know it")
	if r.LostPayments != 1 {
		t.Errorf("%d lost payments are counted", r.LostPayments)
	}
}

func TestANodeThatEndsByItselfIsNoticed(t *testing.T) {
	t.Parallel()
	r := planted(t, func(ctx context.Context, s *simulation) error {
		s.cluster.mu.Lock()
		again := s.cluster.up
		s.cluster.mu.Unlock()
		n := s.cluster.nodes[0]
		n.mu.Lock()
		err := n.process.os.Signal(syscall.SIGKILL)
		n.mu.Unlock()
		select {
		case <-again:
		case <-ctx.Done():
		}
		return err
	})
	says(t, r, "node-1 ended by itself")
}

// Breaking it off leaves neither processes nor files behind.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var dir string
	var processes []*process
	_, err := Run(ctx, Options{
		Payments: 4, Concurrency: 4, Nodes: 2, Executable: built.executable(t), Environ: os.Environ(), DatabaseURL: postgrestest.DB(t).URL,
		beforeCheck: func(_ context.Context, s *simulation) error {
			dir = s.dir
			for _, n := range s.cluster.nodes {
				processes = append(processes, n.process)
			}
			cancel()
			return nil
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was left behind: %v", dir, err)
	}
	for _, p := range processes {
		select {
		case <-p.exited:
		default:
			t.Errorf("process %d was left running", p.os.Pid)
		}
	}
}

// A program that does not serve makes the simulation fail at once, and the error says why.
func TestNodesThatDoNotStart(t *testing.T) {
	t.Parallel()
	nothing := filepath.Join(t.TempDir(), "nothing")
	if err := os.WriteFile(nothing, []byte("#!/bin/sh\necho it is broken >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := &node{name: "node-1", log: filepath.Join(t.TempDir(), "log")}
	c := &cluster{simulation: &simulation{Options: Options{Executable: nothing}}, http: http.DefaultClient}
	err := c.bringUpOnce(t.Context(), n)
	if !errors.Is(err, errEndedEarly) || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("got %v", err)
	}
}

// What the contract does not know is a finding, not an answer.
func TestGarbledAnswers(t *testing.T) {
	t.Parallel()
	for status, body := range map[int]string{200: "", 201: "<html>", 202: `{"id":7}`, 400: "no", 502: "Bad Gateway"} {
		_, err := readAnswer(&http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))})
		if !errors.Is(err, errGarbled) {
			t.Errorf("%d %q is taken for an answer: %v", status, body, err)
		}
	}
}
