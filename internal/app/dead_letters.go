package app

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func newDeadLettersCommand(c *cli) *cobra.Command {
	group := c.group("dead-letters", "List, group, replay and discard what has failed for good",
		c.verb(listLettersVerb()),
		c.verb(remoteVerb{
			use: "groups", short: "Group open dead letters that are alike", path: "/v1/dead-letters/groups", example: "  kontor dead-letters groups",
			columns: []column{
				{"FINGERPRINT", "fingerprint"},
				{"COUNT", "count"},
				{"DESTINATION", "latest.destination"},
				{"STATUS", "latest.status"},
				{"CODE", "latest.error_code"},
				{"FIRST", "first.dead_at"},
				{"LATEST", "latest.dead_at"},
				{"ERROR", "latest.error"},
			},
		}),
		c.verb(remoteVerb{
			use: "get <task id>", short: "Show a dead letter", args: 1, method: http.MethodGet, path: "/v1/dead-letters/%s",
			example: "  kontor dead-letters get tsk_01k4x9d2rzfqe8s5v0m3t7a1bc",
		}),
		c.verb(remoteVerb{
			use: "discard <task id>", short: "Resolve a dead letter: nothing more will be done about it", args: 1, method: http.MethodPost,
			path: "/v1/dead-letters/%s/discard", flags: []remoteFlag{{"note", "why, for people", asText}},
			example: "  kontor dead-letters discard tsk_01k4x9d2rzfqe8s5v0m3t7a1bc --note 'the customer has left'",
		}),
		newReplayCommand(c),
		c.verb(remoteVerb{
			use: "replays", short: "List replays, the latest first", path: "/v1/replays", example: "  kontor dead-letters replays --limit 5",
			columns: []column{
				{"ID", "id"},
				{"STATE", "state"},
				{"FILTER", "filter"},
				{"REPLAYED", "replayed"},
				{"SUCCEEDED", "succeeded"},
				{"FAILED", "failed"},
				{"BEGAN", "created_at"},
				{"ENDED", "ended_at"},
			},
		}),
		c.verb(remoteVerb{
			use: "progress <replay id>", short: "Show how far a replay has come", args: 1, method: http.MethodGet, path: "/v1/replays/%s",
			example: "  kontor dead-letters progress rpl_01k4x9d2rzfqe8s5v0m3t7a1bc",
		}),
		c.verb(remoteVerb{
			use: "cancel <replay id>", short: "End a replay, and take back what was not begun", args: 1, method: http.MethodPost, path: "/v1/replays/%s/cancel",
			example: "  kontor dead-letters cancel rpl_01k4x9d2rzfqe8s5v0m3t7a1bc",
		}),
	)
	group.GroupID = groupOperate
	return group
}

func listLettersVerb() remoteVerb {
	return remoteVerb{
		use: "list", short: "List dead letters, the latest first", path: "/v1/dead-letters",
		example: "  kontor dead-letters list --destination stripe --reason max_attempts\n  kontor dead-letters list --resolution discarded --json",
		flags: []remoteFlag{
			{"resolution", "open (if left out), replayed or discarded", asText},
			{"reason", "max_attempts, max_retry_duration, max_rate_limited, non_retryable, expired or poison", asText},
			{"fingerprint", "only failures that are alike", asText},
			{"queue", "only of this queue", asText},
			{"destination", "only for this destination", asText},
			{"kind", "only of this kind", asText},
			{"subject-type", "only about this type of subject", asText},
			{"subject-id", "only about this subject", asText},
			{"dead-from", "only those at or after this time: RFC 3339, or from now, such as -1h", asTime},
			{"dead-to", "only those before this time", asTime},
		},
		columns: []column{
			{"TASK", "task_id"},
			{"REASON", "reason"},
			{"DESTINATION", "destination"},
			{"SUBJECT", "subject_id"},
			{"STATUS", "status"},
			{"ATTEMPTS", "attempts"},
			{"DEAD", "dead_at"},
			{"FINGERPRINT", "fingerprint"},
			{"ERROR", "error"},
		},
	}
}

// newReplayCommand makes the verb that replays one dead letter, or those that a filter names.
func newReplayCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay [<task id>]", Short: "Replay a dead letter, or all that a filter names", Args: cobra.MaximumNArgs(1),
		Long: "Queues the task of a dead letter again, under the same idempotency key.\n" +
			"With --filter, all open dead letters that it names are replayed, one after the other, no faster than is said.",
		Example: "  kontor dead-letters replay tsk_01k4x9d2rzfqe8s5v0m3t7a1bc\n" +
			"  kontor dead-letters replay --filter destination=stripe --filter reason=max_attempts --dry-run\n" +
			"  kontor dead-letters replay --filter fingerprint=9f2c31d07a55be10 --max-dispatches-per-second 5 --canary 10 --stop-at-failure-percent 20",
	}
	bindAPI(cmd)
	bindJSON(cmd)
	filters := cmd.Flags().StringArray("filter", nil, "member=value; all of them must hold")
	newKey := cmd.Flags().Bool("new-key", false, "give the other side a new idempotency key")
	dryRun := cmd.Flags().Bool("dry-run", false, "tell how many there are, and do nothing")
	rate := cmd.Flags().Int("max-dispatches-per-second", 10, "how many begin in a second")
	canary := cmd.Flags().Int("canary", 0, "so many first; the others when it is known what became of those")
	stopAt := cmd.Flags().Int("stop-at-failure-percent", 50, "stop when more than this share fails; 100: do not")
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		if (len(args) == 1) == (len(*filters) > 0) {
			return fmt.Errorf("%w: name a task, or give --filter", errUsage)
		}
		node, err := c.remote(cmd)
		if err != nil {
			return err
		}
		path, body := "/v1/replays", map[string]any{}
		if len(args) == 1 {
			path = "/v1/dead-letters/" + url.PathEscape(args[0]) + "/replay"
		} else {
			filter, err := membersOf(*filters)
			if err != nil {
				return err
			}
			body = map[string]any{
				"filter": filter, "dry_run": *dryRun, "max_dispatches_per_second": *rate, "canary": *canary, "stop_at_failure_percent": *stopAt,
			}
		}
		if *newKey {
			body["new_key"] = true
		}
		value, err := node.ask(cmd.Context(), http.MethodPost, path, nil, body)
		switch {
		case err != nil:
			return err
		case wantsJSON(cmd):
			return c.printJSON(value)
		}
		c.showReplayed(value, len(args) == 1, *dryRun)
		return nil
	})
	return cmd
}

func (c *cli) showReplayed(value map[string]any, one, dryRun bool) {
	switch {
	case one:
		c.printf("queued as %s\n", member(value, "id"))
	case dryRun:
		sample, _ := value["sample"].([]any)
		if len(sample) == 0 {
			c.printf("%s would be replayed: kontor dead-letters list shows what there is\n", member(value, "count"))
			return
		}
		c.printf("%s would be replayed, such as:\n", member(value, "count"))
		c.printTable(listLettersVerb().columns, sample)
	default:
		c.printf("%s is under way; kontor dead-letters progress %s shows how far it has come\n", member(value, "id"), member(value, "id"))
	}
}
