package app

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func newMigrateCommand(c *cli) *cobra.Command {
	group := c.group("migrate", "Bring the database's schema up to date",
		newMigrateUpCommand(c), newMigrateStatusCommand(c), newMigrateDownCommand(c))
	group.GroupID = groupOperate
	return group
}

// step is one migration, for people and programs.
type step struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"`
}

func readSteps(ctx context.Context, url string) ([]step, error) {
	statuses, err := postgres.MigrationStatuses(ctx, url)
	if err != nil {
		return nil, err
	}
	steps := make([]step, len(statuses))
	for i, s := range statuses {
		steps[i] = step{Version: s.Version, Name: s.Name}
		if !s.AppliedAt.IsZero() {
			steps[i].AppliedAt = &s.AppliedAt
		}
	}
	return steps, nil
}

// pending are the steps that are still to be taken.
func pending(steps []step) []step {
	var out []step
	for _, s := range steps {
		if s.AppliedAt == nil {
			out = append(out, s)
		}
	}
	return out
}

func newMigrateUpCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "up", Short: "Take all steps that are still to be taken", Args: takes(0), Example: "  kontor migrate up",
		Long: "Takes all steps that are still to be taken, and makes the partitions of the coming months.\n" +
			"Safe to repeat, and to run by several at once: they take turns.",
	}
	c.bindDatabaseURL(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		url, err := c.databaseURL(cmd)
		if err != nil {
			return err
		}
		before, err := readSteps(cmd.Context(), url)
		if err != nil {
			return err
		}
		if err := postgres.Migrate(cmd.Context(), url); err != nil {
			return err
		}
		taken := pending(before)
		if wantsJSON(cmd) {
			names := make([]string, len(taken))
			for i, s := range taken {
				names[i] = s.Name
			}
			return c.printJSON(map[string]any{"applied": names})
		}
		for _, s := range taken {
			c.printf("applied %s\n", s.Name)
		}
		c.printf("the schema is up to date: %d steps, %d of them new\n", len(before), len(taken))
		return nil
	})
	return cmd
}

func newMigrateStatusCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show which steps were taken; exit code 1 when some are not", Args: takes(0),
		Example: "  kontor migrate status --json",
	}
	c.bindDatabaseURL(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		url, err := c.databaseURL(cmd)
		if err != nil {
			return err
		}
		steps, err := readSteps(cmd.Context(), url)
		if err != nil {
			return err
		}
		behind := len(pending(steps))
		if wantsJSON(cmd) {
			err = c.printJSON(map[string]any{"steps": steps, "pending": behind, "up_to_date": behind == 0})
		} else {
			for _, s := range steps {
				when := "pending"
				if s.AppliedAt != nil {
					when = s.AppliedAt.UTC().Format(time.DateTime)
				}
				c.printf("%-19s  %s\n", when, s.Name)
			}
		}
		if err == nil && behind > 0 {
			err = errCheckFailed
		}
		return err
	})
	return cmd
}

func newMigrateDownCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "down", Short: "Take back the last step, and the data it made room for", Args: takes(0),
		Example: "  kontor migrate down",
	}
	c.bindDatabaseURL(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		url, err := c.databaseURL(cmd)
		if err != nil {
			return err
		}
		steps, err := readSteps(cmd.Context(), url)
		if err != nil {
			return err
		}
		taken := steps[:len(steps)-len(pending(steps))]
		if len(taken) == 0 {
			c.printf("no step was taken yet\n")
			return nil
		}
		if err := postgres.MigrateDown(cmd.Context(), url); err != nil {
			return err
		}
		c.printf("took back %s\n", taken[len(taken)-1].Name)
		return nil
	})
	return cmd
}
