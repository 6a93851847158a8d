package pgserver

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// sysProcAttr puts a child into a session of its own, so that Ctrl-C reaches us and not it, lets it step down, and
// has the kernel signal it when the thread that started it ends.
func sysProcAttr(a account, deathSignal syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: deathSignal}
	if a.stepDown {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// isPostmaster is true when pid is a server at work on the cluster: a server's working directory is its data directory.
// A zombie's is nothing.
func isPostmaster(pid int, dataDir string) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || !bytes.HasPrefix(name, []byte("postgres")) {
		return false
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && cwd == dataDir
}

// ScratchDir is where a throw-away cluster is fastest: memory, when there is some to spare, else the temporary
// directory. Containers often give /dev/shm only 64 MB.
func ScratchDir() string {
	const memory, bytesMin = "/dev/shm", 1 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < bytesMin {
		return os.TempDir()
	}
	const write, search = 0x2, 0x1
	if syscall.Access(memory, write|search) != nil {
		return os.TempDir()
	}
	return memory
}
