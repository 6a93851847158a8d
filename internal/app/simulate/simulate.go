// Package simulate proves Kontor's promise by trying to break it: real nodes, real processes, a provider that misbehaves,
// clients that give up and come again, and kill -9 for nodes and for PostgreSQL. At the end everything that was asked for,
// everything that Kontor has recorded and everything that the provider really did must agree to the last cent.
//
// It owns no tables. What it makes belongs to an organisation of its own.
//
// # The files
//
// script.go draws what each client will ask for, and knows what must come of it; client.go, intent.go and drive.go ask for it over
// HTTP; nonsense.go asks for what must be refused; process.go and cluster.go run the nodes and kill them; witness.go runs the
// provider and reads its record; settle.go waits until all is quiet; compare.go and books.go are the check, verify.go
// asks Kontor's own; report.go says what came of it.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/pgserver"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/progress"
	"github.com/kontorhq/kontor/internal/platform/access"
)

// Options say what is simulated. Check refuses impossible ones.
type Options struct {
	Payments     int            // how many are asked for
	Concurrency  int            // clients at once
	Faults       sandbox.Faults // how the provider misbehaves
	Nodes        int
	KillEvery    time.Duration // between two kills of a random node, give or take a third; 0: none is killed
	KillDatabase bool          // crash PostgreSQL once, in the middle
	Seed         int64         // of scripts, kills and what clients do; which request a fault befalls also depends on the ids that Kontor makes
	DatabaseURL  string        // empty: a private PostgreSQL
	Keep         bool          // keep the directory, the database included

	Executable string             // the program that serves; empty: this one
	Environ    []string           // what the nodes inherit; Kontor's own variables are left out
	Progress   *progress.Progress // may be nil

	// beforeCheck lets a test change something when all is quiet, to see that the check notices.
	beforeCheck func(ctx context.Context, s *simulation) error
}

// Check refuses impossible options, all of them at once.
func (o *Options) Check() error {
	var errs []error
	refuse := func(unless bool, format string, args ...any) {
		if !unless {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(o.Payments >= 1 && o.Payments <= 1_000_000, "--payments must be 1 to 1000000, not %d", o.Payments)
	refuse(o.Concurrency >= 1 && o.Concurrency <= 1000, "--concurrency must be 1 to 1000, not %d", o.Concurrency)
	refuse(o.Nodes >= 1 && o.Nodes <= 16, "--nodes must be 1 to 16, not %d", o.Nodes)
	refuse(o.KillEvery == 0 || o.KillEvery >= 500*time.Millisecond, "--kill-every must be 500ms or more, or 0 for no kills, not %s", o.KillEvery)
	refuse(!o.KillDatabase || o.DatabaseURL == "", "--kill-database needs a private PostgreSQL: leave --database-url out")
	return errors.Join(errs...)
}

// The bounds of setting up and of taking down.
const (
	databaseName  = "kontor"
	providerName  = "sandbox"
	settleDelay   = time.Second // how long a payment that takes its time is pending at the provider
	stopTimeout   = 20 * time.Second
	connectionsOf = 150 // all nodes together; the private PostgreSQL takes 200
)

// simulation is one run.
type simulation struct {
	Options
	fail     context.CancelCauseFunc // ends the run with what makes it pointless to go on
	dir      string
	postgres *pgserver.Server // nil: somebody else's
	url      string           // of the database
	db       *postgres.DB
	org      ids.ID
	witness  *witness
	cluster  *cluster
	journal  *journal
	findings findings
	outcomes []outcome // by the number of the script
	counts   counts
	times    times
	report   Report
}

// Run simulates. It returns an error when that was not possible, or was broken off; what came of it otherwise, good or bad, is in the
// report. Nothing it has started is left running.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	if o.Faults.Seed == 0 {
		o.Faults.Seed = o.Seed
	}
	if o.Executable == "" {
		if o.Executable, err = self(); err != nil {
			return Report{}, fmt.Errorf("find this program: %w", err)
		}
	}
	s := &simulation{Options: o, outcomes: make([]outcome, o.Payments)}
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	defer func() { err = s.close(ctx, &report, err) }()
	if err := s.run(ctx); ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	} else if err != nil {
		return Report{}, err
	}
	return s.conclude(), nil
}

// run is the whole of it, from the first start to the last comparison.
func (s *simulation) run(ctx context.Context) error {
	if err := s.setUp(ctx); err != nil {
		return err
	}
	s.drive(ctx)
	if err := s.settle(ctx); err != nil {
		return err
	}
	if s.beforeCheck != nil {
		if err := s.beforeCheck(ctx, s); err != nil {
			return err
		}
	}
	s.cluster.stop()
	return s.check(ctx)
}

// setUp starts everything, from the bottom to the top.
func (s *simulation) setUp(ctx context.Context) error {
	s.Progress.Begin("starting", 0)
	if err := s.makeDir(); err != nil {
		return err
	}
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	organisation := fmt.Sprintf("simulate-%x", rand.Uint64())
	key, made, err := access.New(s.db, clock.System, ids.NewSource(clock.System)).CreateKey(ctx, organisation, "simulate", false, time.Time{})
	if err != nil {
		return fmt.Errorf("make an API key: %w", err)
	}
	s.org = made.OrgID
	if s.witness, err = startWitness(ctx, s.Faults); err != nil {
		return err
	}
	s.cluster = newCluster(s, key)
	s.witness.nodes = s.cluster
	return s.cluster.start(ctx)
}

// makeDir makes the directory that everything is kept in. Where the database need not survive a crash, memory is fastest.
func (s *simulation) makeDir() error {
	parent := os.TempDir()
	if s.ephemeral() {
		parent = pgserver.ScratchDir()
	}
	var err error
	if s.dir, err = os.MkdirTemp(parent, "kontor-simulate-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { // PostgreSQL's user has to pass; what is secret has modes of its own
		return fmt.Errorf("make a directory: %w", err)
	}
	s.journal, err = openJournal(filepath.Join(s.dir, "simulate.log"))
	return err
}

func (s *simulation) ephemeral() bool { return s.DatabaseURL == "" && !s.KillDatabase }

func (s *simulation) openDatabase(ctx context.Context) (err error) {
	s.url = s.DatabaseURL
	if s.url == "" {
		if s.postgres, err = pgserver.Start(ctx, pgserver.Config{Dir: filepath.Join(s.dir, "postgres"), Ephemeral: s.ephemeral()}); err != nil {
			return err
		}
		if err = s.postgres.CreateDatabase(ctx, databaseName); err != nil {
			return err
		}
		s.url = s.postgres.URL(databaseName)
	}
	if err = postgres.Migrate(ctx, s.url); err != nil {
		return err
	}
	if s.db, err = postgres.Open(ctx, s.url, postgres.Options{ConnectionsMax: 4, Name: "kontor simulate"}); err != nil {
		return err
	}
	return s.checkIdle(ctx)
}

// foreignTaskSQL finds out whether anything is under way.
const foreignTaskSQL = `select exists (select from task_live)`

// checkIdle refuses a database with work under way: our nodes would take it up and put it to our provider.
func (s *simulation) checkIdle(ctx context.Context) error {
	var busy bool
	if err := s.db.Pool().QueryRow(ctx, foreignTaskSQL).Scan(&busy); err != nil {
		return fmt.Errorf("look for tasks under way: %w", err)
	}
	if busy {
		return errors.New("the database has tasks under way, which a simulation would put to its own provider: use a database of its own")
	}
	return nil
}

// close ends everything from the top to the bottom, also after half a start, and removes what need not be kept.
func (s *simulation) close(ctx context.Context, report *Report, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	s.Progress.End()
	if s.cluster != nil {
		s.cluster.kill()
	}
	if s.witness != nil {
		s.witness.stop()
	}
	if s.db != nil {
		s.db.Close()
	}
	errs := []error{cause, s.journal.close()}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop(ctx))
	}
	if s.dir == "" {
		return errors.Join(errs...)
	}
	failed := cause != nil && !errors.Is(cause, context.Canceled) && s.cluster != nil // before that there is no log
	switch {
	case s.Keep:
		report.Kept = s.dir
	case failed || report.Ran && !report.OK: // the logs are what is needed to find out why; the database is large
		report.Kept = s.dir
		errs = append(errs, os.RemoveAll(filepath.Join(s.dir, "postgres")), os.RemoveAll(filepath.Join(s.dir, "postgres.lock")))
		errs = append(errs, s.keepReport(report))
	default:
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if failed {
		errs = append(errs, fmt.Errorf("the logs are in %s", s.dir))
	}
	return errors.Join(errs...)
}

// keepReport leaves everything that was found beside the logs.
func (s *simulation) keepReport(report *Report) error {
	file, err := os.Create(filepath.Join(s.dir, "report.txt"))
	if err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	report.WriteText(file)
	for _, sentence := range s.findings.all() {
		_, _ = fmt.Fprintln(file, sentence) // Close tells
	}
	return file.Close()
}

// pause waits a moment, or until ctx ends; false then.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain reads what is left of a body, so that its connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 1<<20))
	_ = body.Close()
}
