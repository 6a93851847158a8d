package app

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A node keeps little and throws away much: 10 KB a request. Collecting at five times the live heap instead of twice saves a
// tenth of the processor, and the limit keeps the process well under 200 MB. GOGC and GOMEMLIMIT, where given, win.
const (
	collectPercent   = 400
	memoryLimitBytes = 160 << 20
)

func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimitBytes)
	}
}

func newServeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run a node: the API, the workers, or both", Args: takes(0), GroupID: groupRun,
		Example: "  KONTOR_DATABASE_URL=postgres://kontor:secret@db:5432/kontor kontor serve --listen 0.0.0.0:8080\n" +
			"  kontor serve --roles worker --task-workers 256",
		Long: "Runs a node. Each setting is a flag or the variable named beside it; a flag wins. What holds a password is better\n" +
			"given as a variable, because flags can be seen by others on the same machine. SIGTERM stops it gracefully, a\n" +
			"second one at once.",
	}
	BindSettings(cmd.Flags(), DefaultConfig())
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.config(cmd, DefaultConfig())
		if err := allWrong(err, cfg.Check()); err != nil {
			return err
		}
		cfg.LogOutput = c.process.Err
		node, err := New(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		if isTerminal(c.process.Err) {
			_, _ = fmt.Fprintf(c.process.Err, "kontor serve: API %s, admin %s; Ctrl-C stops it\n", node.URL(), node.AdminURL())
		}
		tuneCollector()
		return node.Run(cmd.Context())
	})
	return cmd
}
