// Package pgserver runs a private PostgreSQL: kontor dev, the simulation, tests and benches need nothing installed
// but the server's binaries, and not even those where they can be downloaded.
//
// One process owns one data root, held by a file lock that the kernel frees when the owner dies. The server steps
// down from root, listens on a Unix socket in a directory that only its own user can enter, and on loopback TCP with
// a password. On Linux it ends with its owner, however the owner ends; elsewhere the next Start ends it.
//
// The root holds data (the cluster), run (the socket), postgres.log, binaries (when they were downloaded), and
// beside it lies the lock, root.lock.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// User is the database superuser that every cluster of this package is made with.
const User = "kontor"

// ErrInUse says that another process owns the data root.
var ErrInUse = errors.New("in use by another process")

// Config says where and how the server runs. Only Dir is required.
type Config struct {
	// Dir is the data root, ./.kontor/postgres for example. It is created, and when root starts the server it is
	// given to the user that the server steps down to.
	Dir string
	// Port is the loopback TCP port; 0 picks a free one, the same for the same Dir where possible.
	Port int
	// BinDir holds initdb and postgres. Empty means the newest that FindBinaries sees, else a download.
	BinDir string
	// Settings are extra settings, as in postgresql.conf; they win over the defaults of this package.
	Settings map[string]string
	// Ephemeral trades durability for speed: a crash of the server loses nothing, a crash of the machine may lose
	// everything. A cluster made this way that no longer starts is made anew. On the owner's death the server still
	// writes a checkpoint, so that the next start has nothing to replay.
	Ephemeral bool
	// Logger hears of starts, stops and repairs; nil is silent. The server's own log is postgres.log in Dir.
	Logger *slog.Logger
}

// Server is a running PostgreSQL. Safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	binaries binaries
	account  account
	dir      string // cfg.Dir, absolute and without symbolic links: as the kernel names it
	sockets  string
	password string
	lock     *fileLock

	mu      sync.Mutex // guards what follows, and that only one of Restart and Stop is under way
	port    int
	process *process
}

// Start brings the server up, making the cluster first when there is none, and returns when it accepts connections.
// A root owned by another process gives ErrInUse; no binaries, found or downloaded, ErrNoBinaries.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("start PostgreSQL in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) (err error) {
	if s.account, s.dir, err = prepareRoot(s.cfg.Dir); err != nil {
		return err
	}
	if s.lock, err = acquireLock(s.dir+".lock", s.account); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.lock.release()
		}
	}()
	if s.binaries, err = s.chooseBinaries(ctx); err != nil {
		return err
	}
	if err = s.account.checkEnterable(s.binaries.dir); err != nil {
		return err
	}
	if s.sockets, err = socketDir(s.dir, s.account); err != nil {
		return err
	}
	if err = s.endOrphan(ctx); err != nil {
		return err
	}
	if err = s.ensureCluster(ctx); err != nil {
		return err
	}
	err = s.launch(ctx)
	if err == nil || ctx.Err() != nil || !s.discardable() {
		return err
	}
	s.log.Warn("making the ephemeral cluster anew: it does not start", "dir", s.dir, "error", err)
	if err = os.RemoveAll(s.dataDir()); err != nil {
		return fmt.Errorf("remove the broken ephemeral cluster: %w", err)
	}
	if err = s.ensureCluster(ctx); err != nil {
		return err
	}
	return s.launch(ctx)
}

// URL addresses a database over the Unix socket, as the superuser and without a password.
func (s *Server) URL(database string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := url.Values{"host": {s.sockets}, "port": {strconv.Itoa(s.port)}}.Encode()
	query = strings.ReplaceAll(query, "+", "%20") // where HTML has a space, PostgreSQL has a plus
	u := url.URL{Scheme: "postgres", User: url.User(User), Path: "/" + database, RawQuery: query}
	return u.String()
}

// TCPURL addresses a database over loopback TCP with the cluster's password, for psql and programs of other users.
func (s *Server) TCPURL(database string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(User, s.password), Path: "/" + database,
		Host: "127.0.0.1:" + strconv.Itoa(s.port), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Version is the server's version, such as 15.18.
func (s *Server) Version() string { return s.binaries.version }

// Ended is closed when the server that now runs has ended, whether it was asked to or not; nil, if none runs.
func (s *Server) Ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	return s.process.exited
}

// CreateDatabase makes a database unless it is there already.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var there bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&there)
	if err == nil && !there {
		_, err = conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize())
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// Restart is a crash: the server is ended without a checkpoint and without asking its clients, and started again on
// the same port and socket. It returns when recovery is done and connections are accepted.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("restart PostgreSQL: it was stopped")
	}
	s.process.crash()
	if err := s.launchOn(ctx, s.port); err != nil {
		return fmt.Errorf("restart PostgreSQL in %s: %w", s.dir, err)
	}
	return nil
}

// Stop disconnects the clients, writes a checkpoint and waits for the server's end. When ctx ends first, the server is
// ended without the checkpoint, which costs the next start a recovery but no data, and ctx's error is returned. A
// second Stop does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	err := s.process.stop(ctx)
	s.process = nil
	if filepath.Dir(s.sockets) != s.dir {
		_ = os.RemoveAll(s.sockets) // a short name under the temporary directory: leave nothing there
	}
	s.lock.release()
	s.log.Info("stopped PostgreSQL", "dir", s.dir)
	if err != nil {
		return fmt.Errorf("stop PostgreSQL in %s: %w", s.dir, err)
	}
	return nil
}

func (s *Server) dataDir() string { return filepath.Join(s.dir, "data") }

// launch starts the server for the first time, trying other ports when it may.
func (s *Server) launch(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Port != 0 {
		return s.launchOn(ctx, s.cfg.Port)
	}
	const attemptsMax = 5 // the port is free when we look; another process may take it before the server does
	for attempt := 1; ; attempt++ {
		port, err := freePort(ctx, s.dir)
		if err != nil {
			return err
		}
		err = s.launchOn(ctx, port)
		if !errors.Is(err, errPortTaken) || attempt == attemptsMax {
			return err
		}
	}
}

func (s *Server) launchOn(ctx context.Context, port int) error {
	if err := s.clearStale(); err != nil {
		return err
	}
	began := time.Now() //nolint:forbidigo // how long a start took, for the log
	p, err := s.spawn(ctx, port)
	if err != nil {
		return err
	}
	s.port, s.process = port, p
	took := time.Since(began).Round(time.Millisecond)
	s.log.Info("started PostgreSQL", "version", s.binaries.version, "dir", s.dir, "port", port, "took", took)
	return nil
}
