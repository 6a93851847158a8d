//go:build !linux

package postgres

import "syscall"

// boundSilence leaves it to the system's own bound.
func boundSilence(string, string, syscall.RawConn) error { return nil }
