package app

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newSchedulesCommand(c *cli) *cobra.Command {
	verbs := []*cobra.Command{}
	for _, v := range append(scheduleReads(), scheduleWrites()...) {
		verbs = append(verbs, c.verb(v))
	}
	group := c.group("schedules", "Make, change, pause and preview what comes again and again", verbs...)
	group.GroupID = groupOperate
	return group
}

func scheduleReads() []remoteVerb {
	const id = "sch_01k4x9d2rzfqe8s5v0m3t7a1bc"
	return []remoteVerb{
		{
			use: "list", short: "List schedules, the oldest first", path: "/v1/schedules", example: "  kontor schedules list --state paused",
			flags: []remoteFlag{{"state", "active or paused", asText}, {"name", "only the one of this name", asText}},
			columns: []column{
				{"ID", "id"},
				{"NAME", "name"},
				{"STATE", "state"},
				{"RULE", "cron"},
				{"ZONE", "time_zone"},
				{"DESTINATION", "task.destination"},
				{"LAST", "last_tick_at"},
				{"NEXT", "next_tick_at"},
				{"REASON", "pause_reason"},
			},
		},
		{
			use: "get <schedule id>", short: "Show a schedule", args: 1, method: http.MethodGet, path: "/v1/schedules/%s",
			example: "  kontor schedules get " + id,
		},
		{
			use: "ticks <schedule id>", short: "Show the next ticks of a schedule", args: 1, method: http.MethodGet, path: "/v1/schedules/%s/ticks",
			flags: []remoteFlag{{"limit", "how many, at most 100", asNumber}}, show: showTicks,
			example: "  kontor schedules ticks " + id + " --limit 5",
		},
		{
			use: "preview <rule>", short: "Show the next times that a rule names", args: 1, method: http.MethodGet, path: "/v1/schedules/preview",
			body:  func(args []string) map[string]any { return map[string]any{"cron": args[0]} },
			flags: []remoteFlag{{"time-zone", "of the IANA database; UTC, if left out", asText}, {"limit", "how many, at most 100", asNumber}}, show: showTicks,
			example: "  kontor schedules preview '30 2 * * *' --time-zone Europe/Berlin --limit 5",
		},
	}
}

func scheduleWrites() []remoteVerb {
	const id = "sch_01k4x9d2rzfqe8s5v0m3t7a1bc"
	return []remoteVerb{
		{
			use: "create <name>", short: "Make a schedule", args: 1, method: http.MethodPost, path: "/v1/schedules", flags: scheduleFlags(), file: true,
			long: "Makes a schedule. The task comes from a file: its members are those of POST /v1/schedules.",
			body: func(args []string) map[string]any { return map[string]any{"name": args[0]} },
			show: showSchedule,
			example: `  echo '{"task":{"destination":"reports","http_request":{"method":"POST","url":"/nightly?at={{tick_at}}"}}}' |` + "\n" +
				"    kontor schedules create nightly --cron '30 2 * * *' --time-zone Europe/Berlin --file -",
		},
		{
			use: "update <schedule id>", short: "Change what is given of a schedule", args: 1, method: http.MethodPatch, path: "/v1/schedules/%s",
			flags: append(scheduleFlags(), remoteFlag{"version", "refuse the change if the schedule has another version", asNumber}), file: true,
			show: showSchedule, example: "  kontor schedules update " + id + " --cron '0 3 * * *'",
		},
		{
			use: "pause <schedule id>", short: "Let ticks pass unmade", args: 1, method: http.MethodPost, path: "/v1/schedules/%s/pause",
			flags: []remoteFlag{{"reason", "why, for people", asText}}, show: showSchedule,
			example: "  kontor schedules pause " + id + " --reason holidays",
		},
		{
			use: "resume <schedule id>", short: "Let it tick again", args: 1, method: http.MethodPost, path: "/v1/schedules/%s/resume", show: showSchedule,
			example: "  kontor schedules resume " + id,
		},
		{
			use: "run <schedule id>", short: "Queue its task at once; that is no tick, and moves none", args: 1, method: http.MethodPost,
			path: "/v1/schedules/%s/run", example: "  kontor schedules run " + id,
			show: func(c *cli, made map[string]any) { c.printf("queued as %s\n", member(made, "id")) },
		},
		{
			use: "delete <schedule id>", short: "Delete a schedule; its tasks stay", args: 1, method: http.MethodDelete, path: "/v1/schedules/%s",
			example: "  kontor schedules delete " + id,
		},
	}
}

func scheduleFlags() []remoteFlag {
	return []remoteFlag{
		{"cron", "the rule: five fields, or six with seconds first, or @every 90m", asText},
		{"time-zone", "of the IANA database; UTC, if left out", asText},
		{"misfire-policy", "what becomes of missed ticks: skip, once or all", asText},
		{"misfire-max", "how many missed ticks all makes up for", asNumber},
		{"misfire-grace-seconds", "how late a tick still is in time", asNumber},
	}
}

// showSchedule says how a schedule is now.
func showSchedule(c *cli, schedule map[string]any) {
	c.printf("%s is %s", member(schedule, "id"), member(schedule, "state"))
	if next := member(schedule, "next_tick_at"); next != "-" {
		c.printf("; its next tick is at %s", next)
	}
	c.printf("\n")
}

// showTicks writes each on a line.
func showTicks(c *cli, preview map[string]any) {
	ticks, _ := preview["ticks"].([]any)
	for _, at := range ticks {
		c.printf("%s\n", plain(at))
	}
}
