package main

import "syscall"

// dieWithParent has the kernel end a child when the bench ends, however it ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
