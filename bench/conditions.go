package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// conditions is what a figure is worthless without.
type conditions struct {
	Date       string            `json:"date"`
	Commit     string            `json:"commit"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	Load       string            `json:"load_average_at_start"`
	System     string            `json:"system"`
	Go         string            `json:"go"`
	Filesystem string            `json:"filesystem"` // of the data directory
	Sync       string            `json:"fdatasync"`  // how long the disk takes to keep 8 kB
	PostgreSQL string            `json:"postgresql"`
	Settings   map[string]string `json:"settings"`             // as the server tells them
	Binary     string            `json:"binary,omitempty"`     // the kontor that was given; without it, that of the commit
	ServeArgs  string            `json:"serve_args,omitempty"` // what kontor serve was told beside its defaults
}

// surroundings notes what can be known before the server runs. dir is where its data will be.
func surroundings(ctx context.Context, dir string) conditions {
	return conditions{
		Date: time.Now().UTC().Format(time.RFC3339), Commit: commit(ctx), CPU: cpuModel(), Cores: runtime.NumCPU(), Load: loadAverage(),
		System: firstLine("/proc/sys/kernel/ostype") + " " + firstLine("/proc/sys/kernel/osrelease") + " " + runtime.GOARCH,
		Go:     runtime.Version(), Filesystem: filesystem(dir), Sync: syncTime(dir), Settings: map[string]string{},
	}
}

const serverVersionSQL = `select current_setting('server_version')`

const serverSettingsSQL = `
	select s.name, current_setting(s.name)
	from pg_settings s
	join unnest($1::text[]) as k (name) on k.name = s.name`

// askServer adds what only the server knows.
func askServer(ctx context.Context, url string, c *conditions) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("ask the server for its settings: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, serverVersionSQL).Scan(&c.PostgreSQL); err != nil {
		return fmt.Errorf("ask the server for its version: %w", err)
	}
	names := []string{
		"fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "wal_compression", "shared_buffers", "max_wal_size",
		"checkpoint_timeout", "data_checksums",
	}
	rows, err := conn.Query(ctx, serverSettingsSQL, names)
	if err != nil {
		return fmt.Errorf("ask the server for its settings: %w", err)
	}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		c.Settings[name] = value
		return nil
	})
	return err
}

// commit is the short id, and whether the tree has changes that it does not hold.
func commit(ctx context.Context) string {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*"}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	id := git("rev-parse", "--short=12", "HEAD")
	if id == "" {
		return "unknown"
	}
	if git("status", "--porcelain", "--untracked-files=no") != "" {
		id += " and changes"
	}
	return id
}

func cpuModel() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	return strings.Join(strings.Fields(firstLine("/proc/loadavg") + " ? ? ?")[:3], " ")
}

func firstLine(path string) string {
	raw, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(raw), "\n")
	return line
}

// filesystem is the type of the one that a directory is on, and its device.
func filesystem(dir string) string {
	raw, _ := os.ReadFile("/proc/self/mounts")
	found, longest := "unknown", -1
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || len(fields[1]) <= longest {
			continue
		}
		if inside, err := filepath.Rel(fields[1], dir); err == nil && inside != ".." && !strings.HasPrefix(inside, "../") {
			found, longest = fields[2]+" on "+fields[0], len(fields[1])
		}
	}
	return found
}

// syncTime is the median of how long the disk takes to make one page of a file durable, which bounds a lone
// writer's transactions.
func syncTime(dir string) string {
	file, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return "unknown"
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	page := make([]byte, 8<<10)
	for range 64 {
		_, _ = file.Write(page)
	}
	_ = file.Sync()
	var took []time.Duration
	for i := range 64 {
		since := time.Now()
		if _, err := file.WriteAt(page, int64(i*len(page))); err != nil {
			return "unknown"
		}
		if err := file.Sync(); err != nil {
			return "unknown"
		}
		took = append(took, time.Since(since))
	}
	slices.Sort(took)
	return took[len(took)/2].Round(10 * time.Microsecond).String()
}
