package postgres

import (
	"strings"
	"syscall"
)

// boundSilence bounds how long sent data may go without an acknowledgement.
func boundSilence(network, _ string, conn syscall.RawConn) error {
	const tcpUserTimeout = 0x12 // of package syscall's constants the one that is missing
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silenceMax.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
