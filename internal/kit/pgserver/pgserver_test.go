package pgserver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
)

func TestDataSurvivesARestartOfTheOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(scratch(t), "Müller & Söhne 1+1")
	first := start(t, pgserver.Config{Dir: dir})
	must(t, first.CreateDatabase(t.Context(), "shop"))
	must(t, first.CreateDatabase(t.Context(), "shop")) // there already: fine
	do(t, first.URL("shop"), "create table kept as select 42 as n")
	must(t, first.Stop(t.Context()))
	must(t, first.Stop(t.Context())) // twice: nothing

	second := start(t, pgserver.Config{Dir: dir})
	if n := ask[int](t, second.TCPURL("shop"), "select n from kept"); n != 42 {
		t.Errorf("kept %d", n)
	}
	if v := ask[string](t, second.URL("postgres"), "show server_version"); !strings.HasPrefix(v, second.Version()) {
		t.Errorf("Version is %s, the server says %s", second.Version(), v)
	}
}

func TestDefaultsAreDurableAndSettingsWin(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Config{Dir: filepath.Join(scratch(t), "a, b"), Settings: map[string]string{"work_mem": "7MB"}})
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
		"listen_addresses": "127.0.0.1", "work_mem": "7MB", "jit": "off", "TimeZone": "UTC",
	} {
		if got := ask[string](t, s.URL("postgres"), "show "+name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestTCPNeedsThePassword(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Config{Dir: scratchReady(t), Ephemeral: true})
	if n := ask[int](t, s.TCPURL("postgres"), "select 1"); n != 1 {
		t.Errorf("got %d", n)
	}
	address := s.TCPURL("postgres")
	at := strings.Index(address, "@")
	conn, err := pgx.Connect(t.Context(), "postgres://kontor:wrong"+address[at:])
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("a wrong password was accepted")
	}
	if !strings.Contains(err.Error(), "password authentication failed") {
		t.Error(err)
	}
}

func TestNothingOutlivesAKilledOwner(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"durable": nil, "ephemeral": {ownerEnv + "_EPHEMERAL=1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			self, err := os.Executable()
			must(t, err)
			o := startOwner(t, self, dir, nil, env...)
			do(t, o.url(t), "create table committed as select 1 as n")
			pid := serverPID(t, dir)
			must(t, o.cmd.Process.Kill())
			_ = o.cmd.Wait()
			eventually(t, 2*time.Second, "the server's end", func() bool {
				_, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
				return err != nil || syscall.Kill(pid, 0) != nil
			})
			s := start(t, pgserver.Config{Dir: dir, Ephemeral: env != nil})
			if n := ask[int](t, s.URL("postgres"), "select n from committed"); n != 1 {
				t.Errorf("got %d", n)
			}
		})
	}
}

func TestTheNextOwnerNeedNotWait(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	self, err := os.Executable()
	must(t, err)
	o := startOwner(t, self, dir, nil)
	o.url(t)
	must(t, o.cmd.Process.Kill())
	_ = o.cmd.Wait()
	start(t, pgserver.Config{Dir: dir}) // at once, while the old server may still be ending
}

func TestTwoOwnersOfOneDirectory(t *testing.T) {
	t.Parallel()
	dir := scratchReady(t)
	s := start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir, Ephemeral: true})
	if !errors.Is(err, pgserver.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("want ErrInUse and the directory, got %v", err)
	}
	if n := ask[int](t, s.URL("postgres"), "select 1"); n != 1 {
		t.Error("the first owner's server is gone")
	}
}

func TestAStalePidFileOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := scratchReady(t)
	first := start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	must(t, first.Stop(t.Context()))
	// PostgreSQL itself would refuse: a live process of its own user has that number. As root there is none such at
	// hand but a server of another test, which is the hardest case: a postgres, but not of this directory.
	other := start(t, pgserver.Config{Dir: scratchReady(t), Ephemeral: true})
	pid := ask[string](t, other.URL("postgres"), "select pg_backend_pid()::text")
	stale := filepath.Join(dir, "data", "postmaster.pid")
	must(t, os.WriteFile(stale, []byte(pid+"\n"+filepath.Join(dir, "data")+"\n"), 0o600))
	second := start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	if n := ask[int](t, second.URL("postgres"), "select 1"); n != 1 {
		t.Errorf("got %d", n)
	}
}

func TestAHalfMadeClusterIsNeverUsed(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	must(t, os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "data.new", "PG_VERSION"), []byte("15\n"), 0o600))
	s := start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	if n := ask[int](t, s.URL("postgres"), "select 1"); n != 1 {
		t.Errorf("got %d", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "data.new")); err == nil {
		t.Error("data.new is still there")
	}
}

func TestAStrangersDirectoryIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	must(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	letter := filepath.Join(dir, "data", "letter.txt")
	must(t, os.WriteFile(letter, []byte("dear"), 0o600))
	if _, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir, Ephemeral: true}); err == nil {
		t.Error("it started over somebody's files")
	}
	if _, err := os.Stat(letter); err != nil {
		t.Error(err)
	}
}

func TestABrokenEphemeralClusterIsMadeAnewAndADurableOneIsNot(t *testing.T) {
	t.Parallel()
	for name, ephemeral := range map[string]bool{"ephemeral": true, "durable": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			first := start(t, pgserver.Config{Dir: dir, Ephemeral: ephemeral})
			must(t, first.Stop(t.Context()))
			must(t, os.Truncate(filepath.Join(dir, "data", "global", "pg_control"), 0))
			s, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir, Ephemeral: true})
			if err == nil {
				must(t, s.Stop(t.Context()))
			}
			if (err == nil) != ephemeral {
				t.Errorf("start gives %v", err)
			}
		})
	}
}

func TestRestartIsACrash(t *testing.T) {
	t.Parallel()
	for name, ephemeral := range map[string]bool{"ephemeral": true, "durable": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			if ephemeral {
				dir = scratchReady(t)
			}
			s := start(t, pgserver.Config{Dir: dir, Ephemeral: ephemeral})
			unixURL, tcpURL := s.URL("postgres"), s.TCPURL("postgres")
			conn := connect(t, unixURL)
			_, err := conn.Exec(t.Context(), "create table kept (n int)")
			must(t, err)
			_, err = conn.Exec(t.Context(), "insert into kept values (1)")
			must(t, err)
			tx, err := conn.Begin(t.Context()) // the crash must find one open
			must(t, err)
			_, err = tx.Exec(t.Context(), "insert into kept values (2)")
			must(t, err)
			must(t, s.Restart(t.Context()))
			if err := conn.Ping(t.Context()); err == nil {
				t.Error("the connection lives on")
			}
			if s.URL("postgres") != unixURL || s.TCPURL("postgres") != tcpURL {
				t.Error("the server moved")
			}
			if n := ask[int](t, tcpURL, "select sum(n) from kept"); n != 1 {
				t.Errorf("kept %d, want what was committed and no more", n)
			}
		})
	}
}

func TestStopDoesNotWaitForClients(t *testing.T) {
	t.Parallel()
	dir := scratchReady(t)
	s := start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	conn := connect(t, s.URL("postgres"))
	must(t, s.Stop(t.Context()))
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection lives on")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s = start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	if err := s.Stop(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop with an ended context gives %v", err)
	}
	start(t, pgserver.Config{Dir: dir, Ephemeral: true}) // the lock is free and the data whole
}

func TestALongPathStillGetsASocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(scratch(t)+"-"+strings.Repeat("long", 30), "root")
	s := start(t, pgserver.Config{Dir: dir, Ephemeral: true})
	if n := ask[int](t, s.URL("postgres"), "select 1"); n != 1 {
		t.Errorf("got %d", n)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Config{Dir: scratchReady(t), Ephemeral: true})
	port := ask[int](t, s.URL("postgres"), "select current_setting('port')::int")
	_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: scratchReady(t), Ephemeral: true, Port: port})
	if err == nil || !strings.Contains(err.Error(), "the port is in use") {
		t.Errorf("got %v", err)
	}
}

func TestBinDirWithoutAServer(t *testing.T) {
	t.Parallel()
	_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: scratch(t), BinDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "holds no PostgreSQL server") {
		t.Errorf("got %v", err)
	}
}

// Root and everybody else take different paths; as root both can be tried.
func TestAsAnUnprivilegedUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("this run is unprivileged: every other test has tried it")
		return
	}
	credential, program := nobody(t)
	dir := scratch(t)
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chown(filepath.Dir(dir), int(credential.Uid), int(credential.Gid)))
	must(t, os.Chown(dir, int(credential.Uid), int(credential.Gid)))
	o := startOwner(t, program, dir, credential)
	if user := ask[string](t, o.url(t), "select current_user"); user != pgserver.User {
		t.Errorf("connected as %s", user)
	}
	must(t, o.stdin.Close())
	must(t, o.cmd.Wait())

	s := start(t, pgserver.Config{Dir: dir}) // root takes over what nobody left, as nobody
	if n := ask[int](t, s.URL("postgres"), "select 1"); n != 1 {
		t.Errorf("got %d", n)
	}
}

func TestRootIsToldWhichDirectoryKeepsTheServerOut(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root steps down to another user")
		return
	}
	closed := filepath.Join(t.TempDir(), "closed")
	must(t, os.Mkdir(closed, 0o700))
	_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: filepath.Join(closed, "root"), Ephemeral: true})
	if err == nil || !strings.Contains(err.Error(), "cannot enter") || !strings.Contains(err.Error(), "chmod a+x") {
		t.Errorf("got %v", err)
	}
}
