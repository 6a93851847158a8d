package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one life of a node.
type process struct {
	os     *os.Process
	exited chan struct{} // closed after Wait returned
	status error         // what it ended with; read after exited
}

// launch starts the program with its output appended to a file.
func launch(executable string, environ []string, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a node's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.CommandContext(context.Background(), executable, "serve")
	cmd.Args[0] = "kontor"
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, log, log
	cmd.SysProcAttr = sysProcAttr()
	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The death signal is sent when the thread that forked ends, so the thread stays until the node has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.status = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", executable, err)
	}
	p.os = cmd.Process
	return p, nil
}

// kill ends the process as a power cut would, and returns when it has ended.
func (p *process) kill() {
	_ = p.os.Kill() // it may have ended by itself
	<-p.exited
}

// stop asks the process to end and tells what it ended with.
func (p *process) stop(patience time.Duration) error {
	_ = p.os.Signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
		return p.status
	case <-timer.C:
		p.kill()
		return fmt.Errorf("it had not stopped after %s", patience)
	}
}

// errEndedEarly says that a process ended before it was ready.
var errEndedEarly = errors.New("it ended before it was ready")

// awaitReady asks the node's own health check until it says yes.
func (p *process) awaitReady(ctx context.Context, httpClient *http.Client, adminURL string) error {
	const patience, between = time.Minute, 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case <-p.exited:
			return fmt.Errorf("%w: %w", errEndedEarly, p.status)
		default:
		}
		if isReady(ctx, httpClient, adminURL) {
			return nil
		}
		if !pause(ctx, between) {
			return fmt.Errorf("wait until it is ready: %w", ctx.Err())
		}
	}
}

func isReady(ctx context.Context, httpClient *http.Client, adminURL string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL+"/readyz", nil)
	if err != nil {
		return false
	}
	w, err := httpClient.Do(r)
	if err != nil {
		return false
	}
	drain(w.Body)
	return w.StatusCode == http.StatusOK
}

// freeAddresses gives loopback addresses that nobody listens at right now. They are below the range that outgoing connections draw
// from, so that they stay free while a node is down.
func freeAddresses(ctx context.Context, n int, number func(n int) int) ([]string, error) {
	const low, count, attemptsMax = 20_000, 12_000, 100
	var listen net.ListenConfig
	var found []string
	for range attemptsMax {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(low+number(count)))
		l, err := listen.Listen(ctx, "tcp", address)
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // all of them at the end, so that they differ
		if found = append(found, address); len(found) == n {
			return found, nil
		}
	}
	return nil, errors.New("found no free ports on 127.0.0.1")
}

// lastLines are the end of a log, for an error.
func lastLines(path string) string {
	const linesMax, bytesMax = 5, 16 << 10
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > bytesMax {
		_, _ = file.Seek(-bytesMax, io.SeekEnd)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-linesMax):], "\n")
}
