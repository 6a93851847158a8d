package postgres

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// What the kernel does about a peer that is gone cannot be seen without one; that it was told can.
func TestTheKernelIsToldHowLongToWait(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := dial()(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(parting).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const tcpUserTimeout = 0x12
	want := map[int]int{
		tcpUserTimeout: 20_000, syscall.TCP_KEEPIDLE: 10, syscall.TCP_KEEPINTVL: 3, syscall.TCP_KEEPCNT: 3,
	}
	for option, value := range want {
		var got int
		if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option) }); err != nil {
			t.Fatal(err)
		}
		// An interval is rounded up to whole seconds.
		if got != value && got != value+1 || err != nil {
			t.Errorf("option %#x is %d, %v; want %d", option, got, err, value)
		}
	}
	if err := conn.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}
