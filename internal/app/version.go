package app

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what the binary knows of its making.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // there were changes that no revision has
	Time     string `json:"time,omitempty"`     // of the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuild() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

func newVersionCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Say which Kontor this is", Args: takes(0), GroupID: groupOperate, Example: "  kontor version --json",
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			b := readBuild()
			if wantsJSON(cmd) {
				return c.printJSON(b)
			}
			c.printf("kontor %s\n", b.Version)
			if b.Revision != "" {
				changed := ""
				if b.Modified {
					changed = ", with changes"
				}
				c.printf("revision %s of %s%s\n", b.Revision, b.Time, changed)
			}
			c.printf("%s %s\n", b.Go, b.Platform)
			return nil
		}),
	}
	bindJSON(cmd)
	return cmd
}
