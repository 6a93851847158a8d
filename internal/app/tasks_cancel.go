package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// newCancelCommand makes the verb that cancels one task, or those that a filter names.
func newCancelCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel [<task id>]", Short: "Cancel a task, or all that a filter names", Args: cobra.MaximumNArgs(1),
		Long: "A task that waits ends at once, one that is at work with its attempt.\n" +
			"With --filter, all tasks that it names and that have not ended are cancelled; what is queued meanwhile is not among them.",
		Example: "  kontor tasks cancel tsk_01k4x9d2rzfqe8s5v0m3t7a1bc\n" +
			"  kontor tasks cancel --filter queue=emails --dry-run\n" +
			"  kontor tasks cancel --filter destination=stripe --filter state=retryable",
	}
	bindAPI(cmd)
	bindJSON(cmd)
	filters := cmd.Flags().StringArray("filter", nil, "member=value, of state, queue, destination, subject-type, subject-id, tag, created-from and\ncreated-to; all of them must hold")
	dryRun := cmd.Flags().Bool("dry-run", false, "tell how many there are, and do nothing")
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		if (len(args) == 1) == (len(*filters) > 0) || len(args) == 1 && *dryRun {
			return fmt.Errorf("%w: name a task, or give --filter", errUsage)
		}
		node, err := c.remote(cmd)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return c.cancelMany(cmd, node, *filters, *dryRun)
		}
		value, err := node.ask(cmd.Context(), http.MethodPost, "/v1/tasks/"+url.PathEscape(args[0])+"/cancel", nil, map[string]any{})
		switch {
		case err != nil:
			return err
		case wantsJSON(cmd):
			return c.printJSON(value)
		}
		showState(c, value)
		return nil
	})
	return cmd
}

// cancelMany asks until there are no more.
func (c *cli) cancelMany(cmd *cobra.Command, node *remote, filters []string, dryRun bool) error {
	filter, err := membersOf(filters)
	if err != nil {
		return err
	}
	body := map[string]any{"filter": filter, "dry_run": dryRun}
	var cancelled, cancelling int64
	for {
		value, err := node.ask(cmd.Context(), http.MethodPost, "/v1/tasks/cancel", nil, body)
		if err != nil {
			return err
		}
		cancelled, cancelling = cancelled+count(value, "cancelled"), cancelling+count(value, "cancelling")
		if body["cursor"] = value["next_cursor"]; value["next_cursor"] == nil {
			break
		}
	}
	switch {
	case wantsJSON(cmd):
		return c.printJSON(map[string]any{"cancelled": cancelled, "cancelling": cancelling})
	case dryRun:
		c.printf("%d that wait and %d at work would be cancelled\n", cancelled, cancelling)
	default:
		c.printf("%d are cancelled; %d are at work, and will be when their attempt ends\n", cancelled, cancelling)
	}
	return nil
}

// membersOf reads the values of --filter. Times may be durations from now.
func membersOf(filters []string) (map[string]any, error) {
	out := map[string]any{}
	for _, f := range filters {
		name, value, is := strings.Cut(f, "=")
		if !is {
			return nil, fmt.Errorf("%w: --filter %s: it is member=value", errUsage, f)
		}
		name = strings.ReplaceAll(name, "-", "_")
		if strings.HasSuffix(name, "_from") || strings.HasSuffix(name, "_to") {
			at, err := readMoment(value)
			if err != nil {
				return nil, fmt.Errorf("%w: --filter %s: %w", errUsage, f, err)
			}
			value = at
		}
		out[name] = value
	}
	return out, nil
}

// count reads a number of an answer.
func count(value map[string]any, name string) int64 {
	number, _ := value[name].(json.Number)
	n, _ := number.Int64() // what is no number counts for nothing
	return n
}
