package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app"
)

// playEnv has this program be something else than tests: a node that can be killed.
const playEnv = "KONTOR_TEST_PLAY"

// What the program can be.
const (
	playKontor = "kontor" // the command line
	playFatal  = "fatal"  // a node with a handler that ends its process
)

func TestMain(m *testing.M) {
	play := os.Getenv(playEnv)
	if play == "" {
		os.Exit(m.Run())
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the process that started this one
		os.Exit(1)
	}()
	ctx := app.UntilSignalled()
	if play == playFatal {
		os.Exit(beFatal(ctx, os.Args[1:]))
	}
	os.Exit(app.Main(ctx, app.SystemProcess()))
}

// process is a node in a process of its own.
type process struct {
	*house
	name   string
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when it has ended
}

// launch starts this program as another one, and waits until it says that it has begun.
func (h *house) launch(name, play string, args ...string) *process {
	h.Helper()
	executable, err := os.Executable()
	if err != nil {
		h.Fatal(err)
	}
	p := &process{house: h, name: name, log: filepath.Join(h.TempDir(), name+".log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.CommandContext(context.WithoutCancel(h.Context()), executable, args...)
	p.cmd.Env = append(os.Environ(), playEnv+"="+play)
	p.cmd.Dir = filepath.Join(h.TempDir(), "Müller & Söhne") // a directory may be called anything
	if err := os.Mkdir(p.cmd.Dir, 0o700); err != nil {
		h.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	held, err := p.cmd.StdinPipe()
	if err != nil {
		h.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		h.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		_ = held.Close()
		close(p.exited)
	}()
	h.Cleanup(func() {
		p.kill()
		if h.Failed() {
			h.Logf("%s said:\n%s", name, p.said())
		}
	})
	h.eventually(name+" is started", func() bool { return strings.Contains(p.said(), `"msg":"started"`) })
	return p
}

// serve starts kontor serve.
func (h *house) serve(name string) *process {
	h.Helper()
	return h.launch(name, playKontor, "serve", "--database-url", h.cfg.DatabaseURL, "--node", name,
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--sandbox-url", h.cfg.SandboxURL,
		"--task-workers", fmt.Sprint(h.cfg.TaskWorkers), "--task-lease-seconds", fmt.Sprint(h.cfg.TaskLeaseSeconds),
		"--database-connections-max", fmt.Sprint(h.cfg.DatabaseConnectionsMax))
}

// said is the end of the log.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 64 << 10
	return string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

// kill ends the process as a power cut would, and returns when it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.exited
}

func (p *process) signal(s syscall.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatalf("%s %s: %v", s, p.name, err)
	}
}

// stop asks the process to end, and fails the test unless it ends well.
func (p *process) stop() {
	p.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.Fatalf("%s does not stop", p.name)
	}
	if !p.cmd.ProcessState.Success() {
		p.Errorf("%s stopped with %s", p.name, p.cmd.ProcessState)
	}
}
