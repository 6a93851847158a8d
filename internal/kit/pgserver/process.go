package pgserver

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// readyTimeout bounds a start, crash recovery of some gigabytes of write-ahead log included.
const readyTimeout = 5 * time.Minute

var errPortTaken = errors.New("the port is in use")

// process is one life of the server.
type process struct {
	os      *os.Process
	exited  chan struct{} // closed after Wait returned
	asked   atomic.Bool   // its end was asked for
	logFrom int64         // where its part of the log file begins
}

// spawn starts the server and returns when it accepts connections.
func (s *Server) spawn(ctx context.Context, port int) (*process, error) {
	log, err := s.openLog()
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"-D", s.dataDir()}, s.settings(ctx, port)...)
	cmd := s.command(context.WithoutCancel(ctx), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	deathSignal := syscall.SIGQUIT
	if s.cfg.Ephemeral {
		deathSignal = syscall.SIGINT
	}
	cmd.SysProcAttr = sysProcAttr(s.account, deathSignal)
	end, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("find the end of the log: %w", err)
	}
	p := &process{exited: make(chan struct{}), logFrom: end}
	started := make(chan error)
	go func() {
		// The death signal is sent when the thread that forked ends, so the thread stays until the server has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			err = cmd.Wait()
			close(p.exited)
			if !p.asked.Load() {
				s.log.Error("PostgreSQL ended by itself", "status", err, "log", s.logPath())
			}
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	p.os = cmd.Process
	if err := s.awaitReady(ctx, p); err != nil {
		p.crash()
		return nil, err
	}
	return p, nil
}

// awaitReady reads the state that the server writes into its pid file, as pg_ctl does.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for !isReady(s.dataDir(), p.os.Pid) {
		select {
		case <-p.exited:
			return s.startFailure(p)
		default:
		}
		if !pause(ctx) {
			return fmt.Errorf("wait until the server accepts connections: %w: %s", ctx.Err(), lastLines(s.logSince(p)))
		}
	}
	return nil
}

func (s *Server) startFailure(p *process) error {
	out := s.logSince(p)
	if strings.Contains(out, "Address already in use") {
		return fmt.Errorf("%w: choose another, or 0 for any", errPortTaken)
	}
	return fmt.Errorf("the server did not start: %s", lastLines(out))
}

// stop asks for a fast shutdown and waits for it; when ctx ends first, it does not ask any longer.
func (p *process) stop(ctx context.Context) error {
	p.asked.Store(true)
	_ = p.os.Signal(syscall.SIGINT)
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		p.crash()
		return ctx.Err()
	}
}

// crash ends the server at once and returns when it has ended. PostgreSQL kills its own children after five seconds.
func (p *process) crash() {
	const patience = 10 * time.Second
	p.asked.Store(true)
	_ = p.os.Signal(syscall.SIGQUIT)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
		return
	case <-timer.C:
	}
	_ = p.os.Signal(syscall.SIGKILL)
	<-p.exited
}

// runTool runs one of the binaries to its end and returns what it printed.
func (s *Server) runTool(ctx context.Context, name string, args ...string) (string, error) {
	runtime.LockOSThread() // as in spawn
	defer runtime.UnlockOSThread()
	cmd := s.command(ctx, name, args...)
	cmd.SysProcAttr = sysProcAttr(s.account, syscall.SIGKILL)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), err
}

// command takes nothing of PostgreSQL's from our environment: a PGDATA or PGOPTIONS set for psql must not reach it.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries.dir, name), args...)
	cmd.Dir = s.dir
	for _, v := range os.Environ() {
		key, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(key, "PG") || strings.HasPrefix(key, "LC_") || key == "LANG" || key == "HOME" {
			continue
		}
		cmd.Env = append(cmd.Env, v)
	}
	cmd.Env = append(cmd.Env, "HOME="+s.dir, "LC_ALL=C")
	return cmd
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "postgres.log") }

// openLog appends, and begins anew when the file has grown large.
func (s *Server) openLog() (*os.File, error) {
	const sizeMax = 16 << 20
	path := s.logPath()
	if info, err := os.Stat(path); err == nil && info.Size() > sizeMax {
		_ = os.Rename(path, path+".old")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	return file, s.account.own(path)
}

func (s *Server) logSince(p *process) string {
	file, err := os.Open(s.logPath())
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(p.logFrom, io.SeekStart); err != nil {
		return err.Error()
	}
	out, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func lastLines(out string) string {
	const linesMax = 8
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-linesMax):], "\n")
}

// freePort prefers the same port for the same root, so that what was noted down yesterday works today. It looks below
// the range that outgoing connections draw from, so that the port is still free after a crash.
func freePort(ctx context.Context, root string) (int, error) {
	const attemptsMax, low, count = 100, 20_000, 12_000
	h := fnv.New32a()
	_, _ = h.Write([]byte(root)) // never fails
	var listen net.ListenConfig
	port := low + int(h.Sum32()%count)
	for range attemptsMax {
		l, err := listen.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
		port = low + rand.IntN(count)
	}
	return 0, fmt.Errorf("found no free port on 127.0.0.1 between %d and %d", low, low+count)
}

// postmasterPID is the number in the pid file, 0 when there is none.
func postmasterPID(dataDir string) int {
	pid, _ := strconv.Atoi(pidFileLine(dataDir, 0))
	return pid
}

func isReady(dataDir string, pid int) bool {
	const stateLine = 7
	return postmasterPID(dataDir) == pid && strings.TrimSpace(pidFileLine(dataDir, stateLine)) == "ready"
}

func pidFileLine(dataDir string, n int) string {
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	lines := strings.Split(string(content), "\n")
	if err != nil || n >= len(lines) {
		return ""
	}
	return lines[n]
}

func isAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// pause waits a moment between two looks at something that sends no signal; false when ctx has ended.
func pause(ctx context.Context) bool {
	const moment = 4 * time.Millisecond
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
