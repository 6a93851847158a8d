package pgserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	passwordFile  = "kontor.password"  // in the data directory, so that cluster and password come and go together
	ephemeralFile = "kontor.ephemeral" // marks a cluster that may be thrown away
)

// ensureCluster makes the cluster when there is none. It is made under another name and renamed at the end, so that
// a half-made one is never used.
func (s *Server) ensureCluster(ctx context.Context) error {
	entries, err := os.ReadDir(s.dataDir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.makeCluster(ctx)
	case err != nil:
		return fmt.Errorf("look at the cluster: %w", err)
	case len(entries) == 0:
		if err = os.Remove(s.dataDir()); err == nil {
			err = s.makeCluster(ctx)
		}
	case clusterMajor(s.dataDir()) == "":
		return fmt.Errorf("%s is not empty and holds no PostgreSQL cluster: move it away, or use another directory", s.dataDir())
	}
	if err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	password, err := os.ReadFile(filepath.Join(s.dataDir(), passwordFile))
	if err != nil {
		return fmt.Errorf("read the cluster's password: %w", err)
	}
	s.password = strings.TrimSpace(string(password))
	return nil
}

func (s *Server) makeCluster(ctx context.Context) error {
	fresh := s.dataDir() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove a half-made one: %w", err)
	}
	handover := filepath.Join(s.dir, passwordFile) // initdb wants an empty directory and reads the password as its own user
	if err := s.writeOwned(handover, rand.Text()+"\n"); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + fresh, "--username=" + User, "--pwfile=" + handover, "--encoding=UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256",
	}
	if s.cfg.Ephemeral {
		args = append(args, "--no-sync")
	} else {
		args = append(args, "--data-checksums")
	}
	if out, err := s.runTool(ctx, "initdb", args...); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out))
	}
	if err := os.Rename(handover, filepath.Join(fresh, passwordFile)); err != nil {
		return fmt.Errorf("keep the password: %w", err)
	}
	if s.cfg.Ephemeral {
		if err := s.writeOwned(filepath.Join(fresh, ephemeralFile), "made without fsync; may be removed at any time\n"); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, s.dataDir()); err != nil {
		return fmt.Errorf("name the new cluster: %w", err)
	}
	return nil
}

func (s *Server) writeOwned(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return s.account.own(path)
}

// discardable is true for a cluster that was made to be thrown away, by a Config that says so too.
func (s *Server) discardable() bool {
	_, err := os.Stat(filepath.Join(s.dataDir(), ephemeralFile))
	return s.cfg.Ephemeral && err == nil
}

// clusterMajor is the major version that a cluster was made by, such as 15; empty when there is no cluster.
func clusterMajor(dataDir string) string {
	version, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(version))
}

// settings are the server's arguments, sorted by name. They are for a payments server on a laptop: durable first.
func (s *Server) settings(ctx context.Context, port int) []string {
	all := map[string]string{
		"port":                    strconv.Itoa(port),
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": s.sockets,
		"unix_socket_permissions": "0700",
		"max_connections":         "200",
		"shared_buffers":          "256MB",
		"max_wal_size":            "4GB",
		"checkpoint_timeout":      "15min",
		"fsync":                   "on",
		"synchronous_commit":      "on",
		"jit":                     "off",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"cluster_name":            "kontor",
	}
	if s.cfg.Ephemeral {
		// synchronous_commit stays on: without it even a crash of the server alone would lose what was acknowledged.
		maps.Copy(all, map[string]string{
			"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB", "max_wal_size": "512MB",
			"autovacuum": "off",
		})
	} else if s.supports(ctx, "wal_compression", "lz4") {
		all["wal_compression"] = "lz4"
	}
	maps.Copy(all, s.cfg.Settings)
	args := make([]string, 0, 2*len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}

// supports asks the binaries whether they were built with a value: a server refuses to start on one it does not know.
func (s *Server) supports(ctx context.Context, name, value string) bool {
	_, err := s.runTool(ctx, "postgres", "-D", s.dataDir(), "-C", name, "-c", name+"="+value)
	return err == nil
}

// endOrphan ends a server of this root whose owner is gone: we hold the lock, so nobody else wants it. On Linux it is
// already ending when it is there at all.
func (s *Server) endOrphan(ctx context.Context) error {
	const bound = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	pid := postmasterPID(s.dataDir())
	for first := true; pid > 0 && isPostmaster(pid, s.dataDir()); first = false {
		if first {
			s.log.Warn("ending a PostgreSQL that outlived its owner", "pid", pid, "dir", s.dir)
			_ = syscall.Kill(pid, syscall.SIGINT)
		}
		if !pause(ctx) {
			return fmt.Errorf("process %d, left over from an owner that is gone, does not end: end it by hand", pid)
		}
	}
	return nil
}

// clearStale removes what a crashed server left and the next one would stumble over: its sockets, and its pid file
// when the number now belongs to some other process. Any other pid file PostgreSQL judges better than we can.
func (s *Server) clearStale() error {
	if err := makeSocketDir(s.sockets, s.account); err != nil {
		return err
	}
	pid := postmasterPID(s.dataDir())
	if pid <= 0 || !isAlive(pid) || isPostmaster(pid, s.dataDir()) {
		return nil
	}
	s.log.Warn("removing a stale pid file: its number belongs to another process", "pid", pid, "dir", s.dir)
	if err := os.Remove(filepath.Join(s.dataDir(), "postmaster.pid")); err != nil {
		return fmt.Errorf("remove a stale pid file: %w", err)
	}
	return nil
}

// socketDir is run in the root, or, where the kernel's 107 bytes for a socket's path do not suffice, a short name
// under the temporary directory that is the same for the same root.
func socketDir(root string, a account) (string, error) {
	const pathMax = 103 - len("/.s.PGSQL.65535") // 103: macOS has four bytes less
	dir := filepath.Join(root, "run")
	if len(dir) <= pathMax && !strings.Contains(dir, ",") { // by commas a URL divides its hosts, and PostgreSQL its socket directories
		return dir, nil
	}
	sum := sha256.Sum256([]byte(root))
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		dir = filepath.Join(parent, "kontor-"+hex.EncodeToString(sum[:6]))
		if len(dir) <= pathMax && a.checkEnterable(parent) == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the path is too long for a socket, or has a comma, and there is no temporary directory with a shorter one: use a directory of at most %d bytes", pathMax-len("/run"))
}

// makeSocketDir makes it empty and closed to others. Under a shared temporary directory another user may have made it
// before us: then it is not ours, and whoever owns it could listen in our place.
func makeSocketDir(dir string, a account) error {
	if uid, err := ownerOf(dir); err == nil && uid != a.uid && uid != 0 {
		return fmt.Errorf("the socket directory %s belongs to uid %d, not to %s: remove it", dir, uid, a.name)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("empty the socket directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make the socket directory: %w", err)
	}
	return a.own(dir)
}
