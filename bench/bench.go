package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
)

// bench is one run: its private PostgreSQL, the directory of everything it makes, and what it has measured.
type bench struct {
	options options
	dir     string
	server  *pgserver.Server
	report  *report
	kontor  string // the binary, once there is one
}

// start brings PostgreSQL up, in a directory of its own, and notes the conditions.
func start(ctx context.Context, o options) (b *bench, err error) {
	if _, err := os.Stat(filepath.Join("..", "cmd", "kontor")); err != nil {
		return nil, fmt.Errorf("run it in the directory bench, or by make bench: %w", err)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory: %w", err)
	}
	parent, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, fmt.Errorf("find the directory: %w", err)
	}
	b = &bench{options: o}
	if o.kontor != "" {
		if b.kontor, err = filepath.Abs(o.kontor); err != nil {
			return nil, fmt.Errorf("find kontor: %w", err)
		}
	}
	if b.dir, err = os.MkdirTemp(parent, "bench-"); err != nil {
		return nil, fmt.Errorf("make the directory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(b.dir)
		}
	}()
	if err := os.Chmod(b.dir, 0o755); err != nil { // the server's user has to pass
		return nil, fmt.Errorf("open the directory: %w", err)
	}
	conditions := surroundings(ctx, b.dir)
	conditions.Binary, conditions.ServeArgs = b.kontor, o.serveArgs
	b.note("starting PostgreSQL in %s", b.dir)
	if b.server, err = pgserver.Start(ctx, pgserver.Config{Dir: filepath.Join(b.dir, "postgres")}); err != nil {
		return nil, err
	}
	url := b.server.URL("postgres")
	if err := errors.Join(askServer(ctx, url, &conditions), makeSegments(ctx, url)); err != nil {
		_ = b.server.Stop(ctx)
		return nil, err
	}
	b.report = &report{Conditions: conditions}
	return b, nil
}

// stop ends PostgreSQL and removes everything that the run has made.
func (b *bench) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := b.server.Stop(ctx)
	_ = os.RemoveAll(b.dir)
	return err
}

// note tells whoever waits what is being done.
func (b *bench) note(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// database makes a database and returns its URL.
func (b *bench) database(ctx context.Context, name string) (string, error) {
	if err := b.server.CreateDatabase(ctx, name); err != nil {
		return "", err
	}
	return b.server.URL(name), nil
}

// build makes the binary of kontor as a user would, once.
func (b *bench) build(ctx context.Context) (string, error) {
	if b.kontor != "" {
		return b.kontor, nil
	}
	b.note("building kontor")
	path := filepath.Join(b.dir, "kontor")
	out, err := exec.CommandContext(ctx, "go", "build", "-C", "..", "-buildvcs=false", "-o", path, "./cmd/kontor").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build kontor: %w: %s", err, out)
	}
	b.kontor = path
	return path, nil
}

// profileSelf profiles this process until the function it returns is called.
func profileSelf(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, fmt.Errorf("begin the profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}
