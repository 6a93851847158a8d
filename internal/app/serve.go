package app

import "github.com/spf13/cobra"

func newServeCommand(c *cli) *cobra.Command { return &cobra.Command{Use: "serve", GroupID: groupRun} }
func newDevCommand(c *cli) *cobra.Command   { return &cobra.Command{Use: "dev", GroupID: groupRun} }
