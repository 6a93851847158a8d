package app

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newDestinationsCommand(c *cli) *cobra.Command {
	group := c.group("destinations", "Make, change, pause and resume destinations",
		c.verb(remoteVerb{
			use: "list", short: "List destinations, with what holds them", path: "/v1/destinations", example: "  kontor destinations list",
			columns: []column{
				{"NAME", "name"},
				{"BASE URL", "base_url"},
				{"HELD BY", "hold.reason"},
				{"UNTIL", "hold.until"},
				{"BREAKER", "breaker"},
				{"PER SECOND", "configured_dispatch_rate"},
				{"NOW", "effective_dispatch_rate"},
				{"AT A TIME", "max_concurrent_dispatches"},
				{"DETAIL", "hold.detail"},
			},
		}),
		c.verb(remoteVerb{
			use: "get <destination>", short: "Show a destination", args: 1, method: http.MethodGet, path: "/v1/destinations/%s",
			example: "  kontor destinations get stripe --json",
		}),
		c.verb(remoteVerb{
			use: "create <destination>", short: "Make a destination", args: 1, method: http.MethodPost, path: "/v1/destinations", flags: destinationFlags(),
			file: true, body: func(args []string) map[string]any { return map[string]any{"name": args[0]} },
			long: "Makes a destination. Credentials, rate limits and the circuit breaker come from a file: its members are those of\n" +
				"POST /v1/destinations.",
			example: "  kontor destinations create crm --base-url https://crm.example --max-concurrent-dispatches 5\n" +
				`  echo '{"auth":{"type":"bearer","token":"env:SECRET_STRIPE"},"rate_limits":[{"name":"live","limit":90,"period_seconds":1}]}' |` + "\n" +
				"    kontor destinations create stripe --base-url https://api.stripe.com --file -",
		}),
		c.verb(remoteVerb{
			use: "update <destination>", short: "Change some settings of a destination; all nodes act on it within a second", args: 1, method: http.MethodPatch,
			path: "/v1/destinations/%s", file: true,
			flags:   append(destinationFlags(), remoteFlag{"version", "refuse the change if the destination has another version", asNumber}),
			example: "  kontor destinations update stripe --max-concurrent-dispatches 2",
		}),
		c.verb(remoteVerb{
			use: "delete <destination>", short: "Delete a destination that no task needs", args: 1, method: http.MethodDelete, path: "/v1/destinations/%s",
			example: "  kontor destinations delete crm",
		}),
		c.verb(remoteVerb{
			use: "pause <destination>", short: "Send nothing more to a destination", args: 1, method: http.MethodPost, path: "/v1/destinations/%s/pause",
			flags: pauseFlags(), example: "  kontor destinations pause stripe --paused-until 1h --reason 'maintenance'",
		}),
		c.verb(remoteVerb{
			use: "resume <destination>", short: "Lift what holds a destination", args: 1, method: http.MethodPost, path: "/v1/destinations/%s/resume",
			flags:   []remoteFlag{{"despite-retry-after", "also lift what the other side has asked for", asTruth}},
			example: "  kontor destinations resume stripe",
		}),
	)
	group.GroupID = groupOperate
	return group
}

func destinationFlags() []remoteFlag {
	return []remoteFlag{
		{"base-url", "requests name a path below it", asText},
		{"max-concurrent-dispatches", "how many requests at a time, on all nodes together; 0: as many as the queues allow", asNumber},
		{"timeout-seconds", "of one request", asNumber},
		{"allow-private-networks", "it may be in a private network", asTruth},
		{"cloud-tasks-headers", "tell of tasks in X-CloudTasks-… too, for handlers written for Google's Cloud Tasks", asTruth},
	}
}
