package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/progress"
)

// The exit codes of every verb.
const (
	exitOK     = 0
	exitFailed = 1 // the command, or a check it made, failed
	exitUsage  = 2 // the command line or the configuration is wrong; nothing was done
)

// Process is what a command line runs in.
type Process struct {
	Args    []string // without the program's name
	Environ []string // as os.Environ has it
	Out     io.Writer
	Err     io.Writer
}

// SystemProcess is the process as the system started it.
func SystemProcess() Process {
	return Process{Args: os.Args[1:], Environ: os.Environ(), Out: os.Stdout, Err: os.Stderr}
}

// Main runs one command line and returns the exit code. ctx ends when the process is asked to stop.
func Main(ctx context.Context, p Process) int {
	root := newRootCommand(&cli{process: p})
	root.SetArgs(p.Args)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	_, ran := errors.AsType[*runError](err)
	if ran && errors.Is(err, errCheckFailed) {
		return exitFailed // the report has said what is wrong
	}
	if ran && errors.Is(err, errSkipped) {
		return exitPartly
	}
	wrongConfig, ok := errors.AsType[*ConfigError](err)
	switch {
	case ok:
		_, _ = fmt.Fprintf(p.Err, "%s: %s\n", cmd.CommandPath(), wrongConfig)
		return exitUsage
	case !ran || errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(p.Err, "%s: %s\nSee '%s --help'.\n", cmd.CommandPath(), sentence(err), cmd.CommandPath())
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		_, _ = fmt.Fprintf(p.Err, "%s: interrupted\n", cmd.CommandPath())
	default:
		_, _ = fmt.Fprintf(p.Err, "%s: %s\n", cmd.CommandPath(), sentence(err))
	}
	return exitFailed
}

// sentence is what a person is told of an error: of a fault, what it says to people and what caused it.
func sentence(err error) string {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return oneLine(strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
	}
	if cause := f.Unwrap(); cause != nil {
		return f.Detail + " (" + oneLine(cause.Error()) + ")"
	}
	return f.Detail
}

// oneLine joins the lines of an error, each once: drivers list every address they tried.
func oneLine(message string) string {
	var lines []string
	for line := range strings.Lines(message) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// errCheckFailed ends a verb whose report has already told what is wrong: exit code 1, and no further line.
var errCheckFailed = errors.New("the check failed")

// errUsage is wrapped by errors of a wrong command line that only the verb itself could see.
var errUsage = errors.New("wrong usage")

// runError is an error of a verb that ran: whatever cobra finds by itself is wrong usage.
type runError struct{ cause error }

func (e *runError) Error() string { return e.cause.Error() }
func (e *runError) Unwrap() error { return e.cause }

// cli is what the verbs have in common.
type cli struct {
	process Process
}

// The groups of verbs in help.
const (
	groupRun     = "run"
	groupProve   = "prove"
	groupOperate = "operate"
)

func newRootCommand(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "kontor",
		Short: "Takes payments once, keeps the books, proves it",
		Long: "Kontor is an order-to-cash backend in one binary on PostgreSQL.\n" +
			"Every effect happens once, and Kontor can prove it. To see it work: kontor dev",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupProve, Title: "Prove:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
	)
	root.SetHelpCommandGroupID(groupOperate)
	root.SetCompletionCommandGroupID(groupOperate)
	root.AddCommand(c.commands()...)
	return root
}

// commands are the verbs, in the order of help within their groups.
func (c *cli) commands() []*cobra.Command {
	return []*cobra.Command{
		newDevCommand(c),
		newServeCommand(c),
		newSandboxCommand(c),
		newMockCommand(c),
		newMigrateCommand(c),
		newVerifyCommand(c),
		newWhyCommand(c),
		newSimulateCommand(c),
		newTasksCommand(c),
		newQueuesCommand(c),
		newDestinationsCommand(c),
		newDeadLettersCommand(c),
		newLimitsCommand(c),
		newSchedulesCommand(c),
		newKeysCommand(c),
		newVersionCommand(c),
	}
}

// run makes a verb's body cobra's, so that Main can tell its errors from those of the command line.
func (c *cli) run(body func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := body(cmd, args); err != nil {
			return &runError{cause: err}
		}
		return nil
	}
}

// takes wants as many arguments as the verb's use names.
func takes(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		_, wanted, _ := strings.Cut(cmd.Use, " ")
		switch {
		case len(args) == n:
			return nil
		case n == 0:
			return fmt.Errorf("it takes flags alone, and nothing like %q", args[0])
		case len(args) == 0:
			return fmt.Errorf("say %s", wanted)
		default:
			return fmt.Errorf("it takes %s, and nothing more: %q is too much", wanted, strings.Join(args[n:], " "))
		}
	}
}

// group makes a verb that only has verbs of its own.
func (c *cli) group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	var examples []string
	for _, verb := range verbs {
		examples = append(examples, firstExample(verb.Example))
	}
	group := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, Example: strings.Join(examples, "\n"), RunE: func(*cobra.Command, []string) error {
		names := ""
		for _, verb := range verbs {
			names += " " + verb.Name()
		}
		return fmt.Errorf("say what to do, one of:%s", names)
	}}
	group.AddCommand(verbs...)
	return group
}

// firstExample is the first of a verb's examples, with the lines that it goes on in: those that are further in.
func firstExample(examples string) string {
	const goesOn = "\n    "
	end := 0
	for {
		next := strings.IndexByte(examples[end:], '\n')
		if next < 0 {
			return examples
		}
		if end += next; !strings.HasPrefix(examples[end:], goesOn) {
			return examples[:end]
		}
		end++
	}
}

// config reads the settings that the verb has flags for.
func (c *cli) config(cmd *cobra.Command, defaults Config) (Config, error) {
	return ReadConfig(defaults, cmd.Flags(), c.process.Environ)
}

// bindDatabase gives a verb the flags --database-url and --database-pooler.
func (c *cli) bindDatabase(cmd *cobra.Command) {
	BindSettings(cmd.Flags(), DefaultConfig(), "database-url", "database-pooler")
	url := cmd.Flags().Lookup("database-url")
	url.Usage = strings.Replace(url.Usage, "(required)", "(default: that of the kontor dev of this directory)", 1)
}

// bindDatabaseURL is bindDatabase for a verb that must reach PostgreSQL itself, and changes too much to guess which.
func (c *cli) bindDatabaseURL(cmd *cobra.Command) {
	BindSettings(cmd.Flags(), DefaultConfig(), "database-url")
}

// database reads what bindDatabase has bound.
func (c *cli) database(cmd *cobra.Command) (Config, error) {
	cfg, err := c.config(cmd, DefaultConfig())
	if err == nil && cfg.DatabaseURL == "" {
		cfg.DatabaseURL, err = leftByDev(devDatabaseURLFile)
	}
	return cfg, allWrong(err, cfg.checkDatabase())
}

// databaseURL reads what bindDatabaseURL has bound.
func (c *cli) databaseURL(cmd *cobra.Command) (string, error) {
	cfg, err := c.config(cmd, DefaultConfig())
	return cfg.DatabaseURL, allWrong(err, cfg.checkDatabase())
}

// openDatabase opens what bindDatabase has bound, for a verb that needs a few connections. Close it.
func (c *cli) openDatabase(cmd *cobra.Command) (*postgres.DB, error) {
	cfg, err := c.database(cmd)
	if err != nil {
		return nil, err
	}
	return postgres.Open(cmd.Context(), cfg.DatabaseURL, postgres.Options{
		ConnectionsMax: 4, Name: "kontor " + cmd.Name(), Pooler: cfg.DatabasePooler,
	})
}

// bindJSON gives a verb the flag --json.
func bindJSON(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "print JSON, for programs") }

// wantsJSON tells whether --json was given.
func wantsJSON(cmd *cobra.Command) bool {
	wanted, err := cmd.Flags().GetBool("json")
	return err == nil && wanted
}

// printJSON writes a verb's result for programs.
func (c *cli) printJSON(value any) error {
	encoder := json.NewEncoder(c.process.Out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// printf writes a verb's result for people.
func (c *cli) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.process.Out, format, args...)
}

// isTerminal tells whether a person is likely to read what is written there.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && progress.IsTerminal(file)
}

// progress shows long work on standard error; with --json it is silent.
func (c *cli) progress(cmd *cobra.Command) *progress.Progress {
	if wantsJSON(cmd) {
		return progress.New(progress.Config{})
	}
	return progress.New(progress.Config{Out: c.process.Err})
}
