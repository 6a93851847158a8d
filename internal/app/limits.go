package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// errNotGranted ends the verb when a limit has no room: a script's call is not to be made.
var errNotGranted = errors.New("not granted")

func newLimitsCommand(c *cli) *cobra.Command {
	group := c.group("limits", "Count calls that are made elsewhere", newConsumeCommand(c))
	group.GroupID = groupOperate
	return group
}

func newConsumeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "consume <limit>", Short: "Take units of a limit for a call that a script makes itself", Args: cobra.ExactArgs(1),
		Long: "Takes units of the limit of a queue, of a destination, or of one of its limit keys, so that calls which are made elsewhere count\n" +
			"with those of tasks.\n\nExit codes: 0 it is granted, make the call; 1 it is not, and how long to wait.",
		Example: "  kontor limits consume destination/stripe && curl https://api.stripe.com/v1/balance\n" +
			"  kontor limits consume destination/shops/tenant-7 --units 5",
	}
	bindAPI(cmd)
	bindJSON(cmd)
	units := cmd.Flags().Int64("units", 1, "how many units")
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		node, err := c.remote(cmd)
		if err != nil {
			return err
		}
		value, err := node.ask(cmd.Context(), http.MethodPost, "/v1/limits/consume", nil, map[string]any{"limit": args[0], "units": json.Number(fmt.Sprint(*units))})
		if err != nil {
			return err
		}
		granted := value["granted"] == true
		switch {
		case wantsJSON(cmd):
			err = c.printJSON(value)
		case granted:
			c.printf("granted\n")
		}
		if err == nil && !granted {
			err = errNotGranted
			if wait := time.Duration(count(value, "retry_after_milliseconds")) * time.Millisecond; wait > 0 {
				err = fmt.Errorf("%w: come back in %s", errNotGranted, wait)
			}
		}
		return err
	})
	return cmd
}
