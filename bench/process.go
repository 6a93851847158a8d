package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a program under measure, in a process of its own.
type process struct {
	name    string
	pid     int
	log     string // the file that its output goes to
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
	err     error         // why it ended; read it after ended
}

// startProcess starts a program whose output goes to a file. variables are added to the environment; files are those
// that it finds open from descriptor 3 on.
func (b *bench) startProcess(name, path string, args, variables []string, files ...*os.File) (*process, error) {
	p := &process{name: name, log: filepath.Join(b.dir, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	p.command = exec.Command(path, args...)
	p.command.Stdout, p.command.Stderr, p.command.ExtraFiles = log, log, files
	p.command.Env = append(os.Environ(), variables...)
	p.command.SysProcAttr = dieWithParent()
	started := make(chan error)
	go func() {
		// The death signal is sent when the thread that forked ends, so the thread stays until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.command.Start()
		started <- err
		if err == nil {
			p.err = p.command.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = p.command.Process.Pid
	return p, nil
}

// stop asks the process to end, and does not ask any longer after half a minute.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// awaitOK waits until a GET of the URL is answered 200.
func (p *process) awaitOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if status, _, err := get(ctx, url); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w: %s", p.name, p.err, p.lastLines())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", p.name, ctx.Err(), p.lastLines())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastLines is the end of what the process has said.
func (p *process) lastLines() string {
	const linesMax = 10
	raw, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(len(lines)-linesMax, 0):], "\n")
}

func get(ctx context.Context, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// freeAddress is a loopback address that nobody listens on at this moment.
func freeAddress() (string, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = socket.Close() }()
	return socket.Addr().String(), nil
}

// serve is a running kontor serve.
type serve struct {
	*process
	address string // of the API
	admin   string // base URL of the admin listener
}

// startServe starts a node with the defaults of its settings, but for what is given.
func (b *bench) startServe(ctx context.Context, name, databaseURL string, args ...string) (*serve, error) {
	path, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	address, err1 := freeAddress()
	admin, err2 := freeAddress()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	args = append([]string{"serve", "--listen", address, "--admin-listen", admin}, args...)
	args = append(args, strings.Fields(b.options.serveArgs)...)
	p, err := b.startProcess(name, path, args, []string{"KONTOR_DATABASE_URL=" + databaseURL})
	if err != nil {
		return nil, err
	}
	s := &serve{process: p, address: address, admin: "http://" + admin}
	if err := s.awaitOK(ctx, s.admin+"/readyz"); err != nil {
		p.stop()
		return nil, err
	}
	return s, nil
}

// noteMemory adds the most memory that the node had to the report.
func (b *bench) noteMemory(part string, s *serve) {
	const aim = 200 << 20
	peak := peakMemory(s.pid)
	b.report.Checks = append(b.report.Checks, check{
		Part: part, Name: "peak memory of kontor serve", Value: fmt.Sprintf("%d MB", peak>>20), Aim: "below 200 MB", OK: peak < aim,
	})
}

// verify runs kontor verify on a database and adds its verdict to the report.
func (b *bench) verify(ctx context.Context, part, databaseURL string) error {
	b.note("verifying what %s has written", part)
	verify := exec.CommandContext(ctx, b.kontor, "verify")
	verify.Env = append(os.Environ(), "KONTOR_DATABASE_URL="+databaseURL)
	since := time.Now()
	out, err := verify.CombinedOutput()
	verdict := fmt.Sprintf("clean, in %.1f s", time.Since(since).Seconds())
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		verdict = fmt.Sprintf("failed with exit code %d, see above", exit.ExitCode())
		b.note("kontor verify: %s", out)
	} else if err != nil {
		return fmt.Errorf("run kontor verify: %w", err)
	}
	b.report.Checks = append(b.report.Checks, check{Part: part, Name: "kontor verify", Value: verdict, OK: err == nil})
	return nil
}
