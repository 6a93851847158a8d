package app

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newTasksCommand(c *cli) *cobra.Command {
	group := c.group("tasks", "Queue, list, explain, cancel, run and replay tasks",
		newTasksImportCommand(c), c.verb(createTaskVerb()), c.verb(listTasksVerb()), c.verb(getTaskVerb()), c.verb(whyTaskVerb()),
		c.verb(attemptsVerb()), newCancelCommand(c), c.verb(runTaskVerb()), c.verb(replayTaskVerb()))
	group.GroupID = groupOperate
	return group
}

func createTaskVerb() remoteVerb {
	return remoteVerb{
		use: "create", short: "Queue a task", method: http.MethodPost, path: "/v1/tasks", file: true,
		long: "Queues a task that sends a request. The request comes from a file: its members are those of POST /v1/tasks.",
		example: `  echo '{"http_request":{"method":"POST","url":"/v1/refunds","body":"{}"}}' | kontor tasks create --destination stripe --file -` + "\n" +
			"  kontor tasks create --file task.json --schedule-time 2h",
		flags: []remoteFlag{
			{"destination", "where it goes", asText},
			{"queue", "whose limits it keeps; default, if left out", asText},
			{"name", "your own name for it: no other can have it meanwhile", asText},
			{"on-conflict", "where another task has the name or the unique key: return (its id), replace (it, if it waits) or error", asText},
			{"schedule-time", "when it is wanted: RFC 3339, or from now, such as 2h", asTime},
			{"subject-type", "what it is about, for searching", asText},
			{"subject-id", "what it is about, for searching", asText},
		},
		show: func(c *cli, made map[string]any) {
			if member(made, "deduplicated") == "true" {
				c.printf("%s has that name already; nothing was queued\n", member(made, "id"))
				return
			}
			c.printf("%s\n", member(made, "id"))
		},
	}
}

func listTasksVerb() remoteVerb {
	return remoteVerb{
		use: "list", short: "List tasks, newest first", path: "/v1/tasks",
		example: "  kontor tasks list --state retryable --destination stripe\n" +
			"  kontor tasks list --subject-type invoice --subject-id 42\n" +
			"  kontor tasks list --created-from -1h --limit 200 --json",
		flags: []remoteFlag{
			{"state", "scheduled, available, blocked, running, retryable, completed, cancelled, discarded or expired", asText},
			{"queue", "only of this queue", asText},
			{"destination", "only for this destination", asText},
			{"kind", "only of this kind", asText},
			{"subject-type", "only about this type of subject", asText},
			{"subject-id", "only about this subject", asText},
			{"tag", "only with this tag", asText},
			{"created-from", "only those queued at or after this time: RFC 3339, or from now, such as -1h", asTime},
			{"created-to", "only those queued before this time", asTime},
		},
		columns: []column{
			{"ID", "id"},
			{"STATE", "state"},
			{"QUEUE", "queue"},
			{"DESTINATION", "destination"},
			{"SUBJECT", "subject_id"},
			{"ATTEMPTS", "attempts"},
			{"DUE", "due_at"},
			{"LAST", "last_attempt.outcome"},
			{"ERROR", "last_attempt.error"},
		},
	}
}

func getTaskVerb() remoteVerb {
	return remoteVerb{
		use: "get <task id>", short: "Show a task", args: 1, method: http.MethodGet, path: "/v1/tasks/%s",
		example: "  kontor tasks get tsk_01k4x9d2rzfqe8s5v0m3t7a1bc",
	}
}

func whyTaskVerb() remoteVerb {
	return remoteVerb{
		use: "why <task id>", short: "Tell what a task waits for, and when it is likely to begin", args: 1, method: http.MethodGet, path: "/v1/tasks/%s",
		example: "  kontor tasks why tsk_01k4x9d2rzfqe8s5v0m3t7a1bc", show: showWhy,
	}
}

// showWhy says it in sentences.
func showWhy(c *cli, task map[string]any) {
	waiting, waits := task["waiting"].(map[string]any)
	switch {
	case waits:
		c.printf("%s is %s. %s\n", member(task, "id"), member(task, "state"), member(waiting, "sentence"))
		if at := member(waiting, "estimated_at"); at != "-" {
			c.printf("It is likely to begin at %s.\n", at)
		} else {
			c.printf("When it will begin, nobody knows.\n")
		}
		if rate := member(waiting, "per_second"); rate != "-" {
			c.printf("Of tasks like it, %s begin in a second at most.\n", rate)
		}
	case member(task, "state") == "running":
		c.printf("%s is at work, on %s; its lease lasts until %s.\n", member(task, "id"), member(task, "leased_by"), member(task, "due_at"))
	default:
		c.printf("%s is %s since %s.\n", member(task, "id"), member(task, "state"), member(task, "ended_at"))
	}
	if last, is := task["last_attempt"].(map[string]any); is {
		c.printf("Attempt %s ended as %s at %s", member(last, "number"), member(last, "outcome"), member(last, "finished_at"))
		if text := member(last, "error"); text != "-" {
			c.printf(": %s", oneLine(text))
		}
		c.printf("\n")
	}
}

func attemptsVerb() remoteVerb {
	return remoteVerb{
		use: "attempts <task id>", short: "List a task's attempts, the latest first", args: 1, path: "/v1/tasks/%s/attempts",
		example: "  kontor tasks attempts tsk_01k4x9d2rzfqe8s5v0m3t7a1bc --json",
		columns: []column{
			{"NUMBER", "number"},
			{"OUTCOME", "outcome"},
			{"STATUS", "status"},
			{"BEGAN", "started_at"},
			{"ENDED", "finished_at"},
			{"NODE", "node"},
			{"NEXT", "next_due_at"},
			{"ERROR", "error"},
		},
	}
}

func replayTaskVerb() remoteVerb {
	return remoteVerb{
		use: "replay <task id>", short: "Do a task that has ended again, as a new one", args: 1, method: http.MethodPost, path: "/v1/tasks/%s/replay",
		long: "Queues a task that has ended again, under the same idempotency key. A file may have another request to send, as http_request:\n" +
			"then the other side gets a new key, unless --new-key=false.",
		example: "  kontor tasks replay tsk_01k4x9d2rzfqe8s5v0m3t7a1bc --new-key\n" +
			`  echo '{"http_request":{"method":"PUT","url":"/v2/contacts/1","body":"{}"}}' | kontor tasks replay tsk_01k4x9d2rzfqe8s5v0m3t7a1bc --file -`,
		flags: []remoteFlag{{"new-key", "give the other side a new idempotency key", asTruth}}, file: true,
		show: func(c *cli, made map[string]any) { c.printf("queued as %s\n", member(made, "id")) },
	}
}

func runTaskVerb() remoteVerb {
	return remoteVerb{
		use: "run <task id>", short: "Have a waiting task due now; pauses, holds and limits still count", args: 1, method: http.MethodPost, path: "/v1/tasks/%s/run",
		example: "  kontor tasks run tsk_01k4x9d2rzfqe8s5v0m3t7a1bc", show: showState,
	}
}

// showState says what has become of a task.
func showState(c *cli, task map[string]any) {
	c.printf("%s is %s", member(task, "id"), member(task, "state"))
	if member(task, "cancelling") == "true" {
		c.printf(", and will be cancelled when its attempt ends")
	}
	c.printf("\n")
}
