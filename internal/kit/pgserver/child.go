package pgserver

import "syscall"

// Child is how to start a process that belongs beside a server, such as a pooler: as the user that the server runs as,
// in a session of its own, and ended by the kernel when the thread that started it ends. dir is given to that user.
func Child(dir string) (*syscall.SysProcAttr, error) {
	a, err := chooseAccount(dir)
	if err != nil {
		return nil, err
	}
	return sysProcAttr(a, syscall.SIGTERM), a.own(dir)
}
