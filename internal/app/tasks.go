package app

import "github.com/spf13/cobra"

func newTasksCommand(c *cli) *cobra.Command {
	group := c.group("tasks", "Queue tasks", newTasksImportCommand(c))
	group.GroupID = groupOperate
	return group
}
