package app

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newQueuesCommand(c *cli) *cobra.Command {
	group := c.group("queues", "Make, change, pause and drain queues",
		c.verb(remoteVerb{
			use: "list", short: "List queues by name", path: "/v1/queues", example: "  kontor queues list",
			columns: []column{
				{"NAME", "name"},
				{"STATE", "state"},
				{"UNTIL", "paused_until"},
				{"PER SECOND", "max_dispatches_per_second"},
				{"NOW", "effective_dispatch_rate"},
				{"BURST", "max_burst_size"},
				{"AT A TIME", "max_concurrent_dispatches"},
				{"REASON", "pause_reason"},
			},
		}),
		c.verb(remoteVerb{
			use: "get <queue>", short: "Show a queue, with how many tasks are in each state", args: 1, method: http.MethodGet, path: "/v1/queues/%s",
			example: "  kontor queues get emails",
		}),
		c.verb(remoteVerb{
			use: "create <queue>", short: "Make a queue", args: 1, method: http.MethodPost, path: "/v1/queues", flags: queueFlags(), file: true,
			body:    func(args []string) map[string]any { return map[string]any{"name": args[0]} },
			example: "  kontor queues create emails --max-dispatches-per-second 20 --max-concurrent-dispatches 5",
		}),
		c.verb(remoteVerb{
			use: "update <queue>", short: "Change some settings of a queue; all nodes act on it within a second", args: 1, method: http.MethodPatch,
			path: "/v1/queues/%s", flags: append(queueFlags(), remoteFlag{"version", "refuse the change if the queue has another version", asNumber}), file: true,
			example: "  kontor queues update emails --max-dispatches-per-second 5",
		}),
		c.verb(remoteVerb{
			use: "delete <queue>", short: "Delete a queue without tasks", args: 1, method: http.MethodDelete, path: "/v1/queues/%s",
			example: "  kontor queues delete emails",
		}),
		c.verb(remoteVerb{
			use: "pause <queue>", short: "Dispatch nothing more from a queue", args: 1, method: http.MethodPost, path: "/v1/queues/%s/pause", flags: pauseFlags(),
			example: "  kontor queues pause emails --paused-until 30m --reason 'the provider is down'",
		}),
		c.verb(remoteVerb{
			use: "resume <queue>", short: "End a pause or a drain", args: 1, method: http.MethodPost, path: "/v1/queues/%s/resume", example: "  kontor queues resume emails",
		}),
		c.verb(remoteVerb{
			use: "drain <queue>", short: "Take nothing in; do what is there", args: 1, method: http.MethodPost, path: "/v1/queues/%s/drain",
			example: "  kontor queues drain emails",
		}),
	)
	group.GroupID = groupOperate
	return group
}

func queueFlags() []remoteFlag {
	return []remoteFlag{
		{"max-dispatches-per-second", "how many begin in a second; 0.5 is one in two seconds", asDecimal},
		{"max-burst-size", "how many begin at once, of at most a second's", asNumber},
		{"max-concurrent-dispatches", "how many are at work at a time, on all nodes together", asNumber},
		{"task-ttl-seconds", "after which a task that was not begun has expired", asNumber},
		{"tombstone-ttl-seconds", "how long the name of a task stays taken after its end", asNumber},
	}
}

func pauseFlags() []remoteFlag {
	return []remoteFlag{
		{"paused-until", "until when: RFC 3339, or from now, such as 30m; until it is resumed, if left out", asTime},
		{"reason", "why, for people", asText},
	}
}
