package pgserver

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// fileLock makes one process the owner of a data root. The kernel frees it when the process ends, however it ends;
// the file stays.
type fileLock struct{ file *os.File }

func acquireLock(path string, a account) (*fileLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := a.own(path); err != nil {
		_ = file.Close()
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = inUse(file)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	// The number only serves the sentence above: when it cannot be written, the lock holds all the same.
	if file.Truncate(0) == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &fileLock{file: file}, nil
}

func inUse(file *os.File) error {
	buf := make([]byte, 32)
	n, _ := file.ReadAt(buf, 0)
	owner := "another process"
	if pid := strings.TrimSpace(string(buf[:n])); pid != "" {
		owner = "process " + pid
	}
	return fmt.Errorf("%s already runs a server there: end it, or use another directory: %w", owner, ErrInUse)
}

// release unlocks before it closes: a child being forked at this moment shares the open file for an instant, and would
// keep the lock with it.
func (l *fileLock) release() {
	_ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	_ = l.file.Close()
}
