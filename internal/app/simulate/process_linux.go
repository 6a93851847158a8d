package simulate

import "syscall"

// sysProcAttr puts a node into a session of its own, so that Ctrl-C reaches us and not it, and has the kernel kill it when the
// thread that started it ends.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// self is this program as it was started, even if its file is replaced or removed meanwhile.
func self() (string, error) { return "/proc/self/exe", nil }
