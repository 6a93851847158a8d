//go:build unix && !linux

package pgserver

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// sysProcAttr is as on Linux but for the death signal, which only Linux has: a server whose owner was killed runs on
// until the next Start on its root.
func sysProcAttr(a account, _ syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a.stepDown {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// isPostmaster is true when pid is a server that was started on the cluster.
func isPostmaster(pid int, dataDir string) bool {
	out, err := exec.CommandContext(context.Background(), "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), dataDir)
}

// ScratchDir is where a throw-away cluster may live.
func ScratchDir() string { return os.TempDir() }
