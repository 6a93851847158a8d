package postgrestest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
)

// slotsMax bounds how many clusters run at once on a machine: one for each test process that has none to share.
const slotsMax = 32

// Cluster is a running server for tests.
type Cluster struct {
	*pgserver.Server
	Dir string
}

// StartCluster starts a cluster in dir, or, when dir is empty, in the first slot that no other process holds. Slots are
// directories that outlive their clusters, so that mostly neither initdb nor the migrations need to run. logger may be
// nil.
func StartCluster(ctx context.Context, dir string, logger *slog.Logger) (*Cluster, error) {
	binDir := os.Getenv(BinDirEnv)
	if dir != "" {
		return startIn(ctx, dir, binDir, logger)
	}
	base, err := slotsDir(binDir)
	if err != nil {
		return nil, fmt.Errorf("choose a directory for the test cluster: %w", err)
	}
	for slot := range slotsMax {
		c, err := startIn(ctx, filepath.Join(base, "slot-"+strconv.Itoa(slot)), binDir, logger)
		if !errors.Is(err, pgserver.ErrInUse) {
			return c, err
		}
	}
	return nil, fmt.Errorf("%d test clusters are running already, all of those in %s", slotsMax, base)
}

func startIn(ctx context.Context, dir, binDir string, logger *slog.Logger) (*Cluster, error) {
	s, err := pgserver.Start(ctx, pgserver.Config{
		Dir: dir, BinDir: binDir, Logger: logger, Ephemeral: true,
		Settings: map[string]string{"max_connections": "400"},
	})
	if err != nil {
		return nil, err
	}
	if err := sweep(ctx, s.URL("postgres")); err != nil {
		return nil, errors.Join(fmt.Errorf("sweep the test cluster: %w", err), s.Stop(ctx))
	}
	return &Cluster{Server: s, Dir: dir}, nil
}

// slotsDir is the same for the same user and server binaries. Where it lies others may write too, so it must be ours.
func slotsDir(binDir string) (string, error) {
	if binDir == "" {
		found, err := pgserver.FindBinaries()
		if err != nil {
			return "", err
		}
		binDir = found
	}
	sum := sha256.Sum256([]byte(binDir))
	dir := filepath.Join(pgserver.ScratchDir(), fmt.Sprintf("kontor-test-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:3])))
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() || !info.IsDir() {
		return "", fmt.Errorf("%s is not ours: remove it", dir)
	}
	return dir, os.Chmod(dir, 0o755)
}

// sweep drops what killed processes left, and all but the newest templates.
func sweep(ctx context.Context, url string) error {
	const templatesMax = 4
	admin, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer admin.Close()
	rows, err := admin.Query(ctx, `
		select datname from pg_database where starts_with(datname, $1)
		union all
		(select datname from pg_database where starts_with(datname, $2) order by oid desc offset $3)`,
		testPrefix, templatePrefix, templatesMax)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := drop(ctx, admin, name); err != nil {
			return err
		}
	}
	return nil
}
