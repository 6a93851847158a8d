package app

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/app/simulate"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/progress"
)

func newSimulateCommand(c *cli) *cobra.Command {
	var o simulate.Options
	var faults string
	cmd := &cobra.Command{
		Use: "simulate", Short: "Try to break the promise, and prove that it held", Args: takes(0), GroupID: groupProve,
		Example: "  kontor simulate --payments 1000\n  kontor simulate --payments 5000 --nodes 3 --kill-every 1s --kill-database --seed 7",
		Long: "Starts real nodes on a private PostgreSQL, and a provider that misbehaves and remembers what it really charged. Drives\n" +
			"them as impatient clients do: timeouts, repeats, duplicates at the same instant, captures, voids, partial refunds,\n" +
			"nonsense. Kills nodes with SIGKILL meanwhile. Then everything that was asked for, recorded and really charged must\n" +
			"agree. Exit code 0 only if it does.",
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Payments, "payments", 1000, "how many are asked for")
	flags.IntVar(&o.Concurrency, "concurrency", 64, "clients at once")
	flags.StringVar(&faults, "faults", "heavy", "how the provider misbehaves: none, light, heavy, then ,key=value; see kontor sandbox")
	flags.IntVar(&o.Nodes, "nodes", 2, "processes that serve")
	flags.DurationVar(&o.KillEvery, "kill-every", 3*time.Second, "between two kills of a random node, give or take a third; 0 kills none")
	flags.BoolVar(&o.KillDatabase, "kill-database", false, "crash PostgreSQL once, in the middle")
	flags.Int64Var(&o.Seed, "seed", 0, "what is asked for, and which faults there are, is drawn from it; 0 takes any")
	flags.StringVar(&o.DatabaseURL, "database-url", "",
		"an empty database to use instead of a private PostgreSQL; the variable is ignored, for this is no verb for a database in use")
	flags.BoolVar(&o.Keep, "keep", false, "keep logs and database, and say where")
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Faults, err = sandbox.ParseFaults(faults); err != nil {
			return fmt.Errorf("%w: --faults: %w", errUsage, err)
		}
		if err := o.Check(); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return c.simulate(cmd, o)
	})
	return cmd
}

func (c *cli) simulate(cmd *cobra.Command, o simulate.Options) error {
	for o.Seed == 0 {
		o.Seed = rand.Int64N(1_000_000)
	}
	o.Environ = c.process.Environ
	o.Progress = progress.New(progress.Config{Out: c.process.Err}) // with --json too: it takes minutes
	o.Progress.Print("seed %d", o.Seed)
	report, err := simulate.Run(cmd.Context(), o)
	o.Progress.Close()
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		err = c.printJSON(report)
	} else {
		report.WriteText(c.process.Out)
	}
	if err == nil && !report.OK {
		return errCheckFailed
	}
	return err
}
