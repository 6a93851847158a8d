package pgserver_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
)

// ownerEnv makes this test binary an owner instead: it starts a server in the directory named and waits to be killed.
const ownerEnv = "KONTOR_PGSERVER_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		os.Exit(own(dir))
	}
	code := m.Run()
	if ready.made {
		_ = os.RemoveAll(filepath.Dir(ready.root))
	}
	os.Exit(code)
}

func own(dir string) int {
	s, err := pgserver.Start(context.Background(), pgserver.Config{Dir: dir, Ephemeral: os.Getenv(ownerEnv+"_EPHEMERAL") != ""})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("url:", s.URL("postgres"))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent hangs up
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// owner is a process that owns a server.
type owner struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  string // its first line
}

// startOwner runs this binary as another process, as another user when credential is given.
func startOwner(t *testing.T, program, dir string, credential *syscall.Credential, env ...string) *owner {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(append(os.Environ(), ownerEnv+"="+dir), env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line := make([]byte, 4096)
	n, err := stdout.Read(line)
	must(t, err)
	return &owner{cmd: cmd, stdin: stdin, said: string(line[:n])}
}

func (o *owner) url(t *testing.T) string {
	t.Helper()
	url, ok := strings.CutPrefix(strings.TrimSpace(o.said), "url: ")
	if !ok {
		t.Fatalf("the owner says %q", o.said)
	}
	return url
}

// scratch is a fresh data root that every user can reach, which t.TempDir is not.
func scratch(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp(pgserver.ScratchDir(), "kontor-pgserver-")
	must(t, err)
	must(t, os.Chmod(parent, 0o755))
	t.Cleanup(func() { must(t, os.RemoveAll(parent)) })
	return filepath.Join(parent, "root")
}

// ready is a root with an ephemeral cluster in it, made once: most tests are not about initdb, which costs most of a
// second of processor time.
var ready struct {
	once sync.Once
	made bool
	root string
	err  error
}

// scratchReady is scratch with an ephemeral cluster in it.
func scratchReady(t *testing.T) string {
	t.Helper()
	ready.once.Do(func() {
		parent, err := os.MkdirTemp(pgserver.ScratchDir(), "kontor-pgserver-ready-")
		must(t, err)
		must(t, os.Chmod(parent, 0o755))
		ready.made, ready.root = true, filepath.Join(parent, "root")
		s, err := pgserver.Start(t.Context(), pgserver.Config{Dir: ready.root, Ephemeral: true})
		if err == nil {
			err = s.Stop(t.Context())
		}
		ready.err = err
	})
	must(t, ready.err)
	dir := scratch(t)
	out, err := exec.CommandContext(t.Context(), "cp", "-a", ready.root, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("copy a cluster: %v: %s", err, out)
	}
	return dir
}

func start(t *testing.T, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop(context.Background())) })
	return s
}

// connect is closed at the end of the test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func ask[T any](t *testing.T, url, query string) (answer T) {
	t.Helper()
	must(t, connect(t, url).QueryRow(t.Context(), query).Scan(&answer))
	return answer
}

func do(t *testing.T, url, statement string) {
	t.Helper()
	_, err := connect(t, url).Exec(t.Context(), statement)
	must(t, err)
}

// eventually polls with a bound, for things that send no signal.
func eventually(t *testing.T, bound time.Duration, what string, check func() bool) {
	t.Helper()
	deadline := time.After(bound)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", bound, what)
		case <-tick.C:
		}
	}
}

// serverPID is the number in the pid file.
func serverPID(t *testing.T, dir string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	must(t, err)
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	must(t, err)
	return pid
}

// nobody is a user without rights, and a copy of this binary that it may run.
func nobody(t *testing.T) (*syscall.Credential, string) {
	t.Helper()
	u, err := user.Lookup("nobody")
	must(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	must(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	must(t, err)
	dir, err := os.MkdirTemp(os.TempDir(), "kontor-pgserver-bin-") // /dev/shm may forbid programs
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	self, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(self)
	must(t, err)
	copied := filepath.Join(dir, "owner")
	must(t, os.WriteFile(copied, program, 0o755))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, copied
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
