//go:build unix && !linux

package simulate

import (
	"os"
	"syscall"
)

// sysProcAttr is as on Linux but for the death signal, which only Linux has: a node whose simulation was itself killed runs on.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// self is this program's file.
func self() (string, error) { return os.Executable() }
