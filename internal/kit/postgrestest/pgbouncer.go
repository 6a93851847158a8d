package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// PoolerEnv set to pgbouncer has DB give URLs that lead through a PgBouncer in transaction mode.
const PoolerEnv = "KONTOR_TEST_POOLER"

const poolerPort = 6432 // in the socket's name: it listens on no address

// Pooled opens a database of this test's own through a PgBouncer in transaction mode.
func Pooled(t testing.TB, o postgres.Options) *postgres.DB {
	t.Helper()
	opened, err := postgres.Open(t.Context(), PooledURL(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened
}

// PooledURL is the URL of a database of this test's own, through a PgBouncer in transaction mode.
func PooledURL(t testing.TB) string {
	t.Helper()
	database := DB(t)
	c, err := sharedCluster()
	if err != nil {
		t.Fatalf("the test cluster: %v", err)
	}
	through, err := c.throughPooler(database.Name)
	if err != nil {
		t.Fatalf("the pooler: %v", err)
	}
	return through
}

// throughPooler is the URL of a database as reached through the pooler.
func (c *shared) throughPooler(database string) (string, error) {
	dir, err := c.pooler()
	if err != nil {
		return "", err
	}
	query := url.Values{"host": {dir}, "port": {strconv.Itoa(poolerPort)}, "pooler": {string(postgres.PoolerTransaction)}}
	u := url.URL{Scheme: "postgres", User: url.User(pgserver.User), Path: "/" + database, RawQuery: query.Encode()}
	return u.String(), nil
}

// openPooler starts a PgBouncer in front of the cluster and gives the directory of its socket. It ends with this
// process. Sessions are handed out in turns, so that a test that counts on its session meets another at once.
func (c *shared) openPooler() (string, error) {
	server, err := pgx.ParseConfig(c.base)
	if err != nil {
		return "", fmt.Errorf("%s: not a PostgreSQL URL", URLEnv)
	}
	binary, err := findPgBouncer()
	if err != nil {
		return "", err
	}
	dir, err := poolerDir()
	if err != nil {
		return "", err
	}
	attr, err := pgserver.Child(dir)
	if err != nil {
		return "", err
	}
	const form = `[databases]
* = host=%s port=%d user=%s%s
[pgbouncer]
listen_port = %d
unix_socket_dir = %s
unix_socket_mode = 0700
auth_type = any
pool_mode = transaction
max_client_conn = 2000
default_pool_size = 20
server_round_robin = 1
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = pooler
`
	password := ""
	if server.Password != "" {
		password = " password='" + strings.ReplaceAll(server.Password, "'", "''") + "'"
	}
	settings := fmt.Sprintf(form, server.Host, server.Port, server.User, password, poolerPort, dir)
	path := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		return "", fmt.Errorf("write the pooler's settings: %w", err)
	}
	if attr.Credential != nil {
		if err := os.Chown(path, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return "", fmt.Errorf("give the pooler its settings: %w", err)
		}
	}
	return dir, startPgBouncer(binary, path, attr)
}

func findPgBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} { // where Debian has it, and not all have in their path
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no pgbouncer here: run scripts/install-test-deps")
}

// poolerDir makes a directory named after this process, and removes those of processes that are gone.
func poolerDir() (string, error) {
	base := filepath.Join(pgserver.ScratchDir(), fmt.Sprintf("kontor-test-%d-pgbouncer", os.Geteuid()))
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the poolers' directory: %w", err)
	}
	others, err := os.ReadDir(base)
	if err != nil {
		return "", fmt.Errorf("look for other poolers: %w", err)
	}
	for _, other := range others {
		pid, err := strconv.Atoi(other.Name())
		if err == nil && (pid == os.Getpid() || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)) {
			_ = os.RemoveAll(filepath.Join(base, other.Name()))
		}
	}
	dir := filepath.Join(base, strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the pooler's directory: %w", err)
	}
	return dir, nil
}

// startPgBouncer returns when it answers.
func startPgBouncer(binary, settings string, attr *syscall.SysProcAttr) error {
	log, err := os.Create(filepath.Join(filepath.Dir(settings), "log"))
	if err != nil {
		return fmt.Errorf("make the pooler's log: %w", err)
	}
	cmd := exec.CommandContext(context.Background(), binary, settings)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, attr
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // its end is the signal that ends the child
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the pooler: %w", err)
	}
	return awaitPgBouncer(filepath.Dir(settings), log.Name(), ended)
}

func awaitPgBouncer(dir, log string, ended <-chan struct{}) error {
	const patience, moment = 10 * time.Second, 4 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	look := time.NewTicker(moment)
	defer look.Stop()
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "unix", filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(poolerPort)))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-look.C:
		case <-ended:
			said, _ := os.ReadFile(log)
			return fmt.Errorf("the pooler ended at once: %s", said)
		case <-ctx.Done():
			return fmt.Errorf("the pooler does not answer: %w", err)
		}
	}
}
