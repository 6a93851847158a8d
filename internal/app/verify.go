package app

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/app/verify"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

func newVerifyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Recompute everything from the records, and compare", Args: takes(0), GroupID: groupProve,
		Example: "  kontor verify --database-url postgres://kontor:secret@db:5432/kontor\n  kontor verify --json",
		Long: "Recomputes every balance and every invariant from the records, and names what does not agree. It changes nothing and\n" +
			"takes no locks: it can run beside nodes at work, on a standby, and as a role that may only read. Exit code 1 when anything\n" +
			"is wrong.",
	}
	c.bindDatabase(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.database(cmd)
		if err != nil {
			return err
		}
		if _, err := checkSchema(cmd.Context(), cfg.DatabaseURL); err != nil {
			return err
		}
		db, err := c.openDatabase(cmd)
		if err != nil {
			return err
		}
		defer db.Close()
		p := c.progress(cmd)
		report, err := verify.Run(cmd.Context(), db, p)
		p.Close()
		if err != nil {
			return err
		}
		if wantsJSON(cmd) {
			err = c.printJSON(report)
		} else {
			c.printReport(report)
		}
		if err == nil && !report.OK {
			err = errCheckFailed
		}
		return err
	})
	return cmd
}

// printReport tells people what was proven, a line a check, and below it what is wrong.
func (c *cli) printReport(r proof.Report) {
	width := 0
	for _, check := range r.Checks {
		width = max(width, len(check.Name))
	}
	for _, check := range r.Checks {
		mark := "✓"
		if !check.OK {
			mark = "✗"
		}
		c.printf("%s %6d ms  %-*s  %s\n", mark, check.DurationMS, width, check.Name, check.Sentence)
		for _, f := range check.First {
			c.printf("             %s of %s: %s\n", f.ID, f.Organisation, f.Detail)
		}
		if more := check.Violations - int64(len(check.First)); more > 0 {
			c.printf("             and %s more\n", grouped(more))
		}
	}
	counts := make([]string, len(r.Records))
	for i, n := range r.Records {
		counts[i] = grouped(n.Count) + " " + n.Name
	}
	c.printf("looked at %s, as of %s, in %.1f s\n", strings.Join(counts, ", "), r.At.Format(time.DateTime), float64(r.DurationMS)/1000)
	if r.OK {
		c.printf("all %d checks hold\n", len(r.Checks))
		return
	}
	c.printf("%d of %d checks failed, with %s violations\n", len(r.Failed()), len(r.Checks), grouped(r.Violations()))
}

// grouped writes a count with a comma before every three digits: 1,000,000.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
