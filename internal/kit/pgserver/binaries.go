package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// The major versions that Kontor is written for and tested with.
const (
	majorMin = 15
	majorMax = 18
)

// ErrNoBinaries says that no PostgreSQL server of a usable version was found, nor could one be downloaded.
var ErrNoBinaries = fmt.Errorf("no PostgreSQL server of version %d to %d found: install one (apt-get install postgresql, brew install postgresql@17, dnf install postgresql-server)", majorMin, majorMax)

// binaries is one installed server.
type binaries struct {
	dir     string
	version string // 15.18
	major   int
}

// FindBinaries returns the directory of the newest installed server of a usable version: on PATH, or where Linux
// distributions, PostgreSQL's own packages, Homebrew and Postgres.app put it. None gives ErrNoBinaries.
func FindBinaries() (dir string, err error) {
	found := installedBinaries(context.Background())
	if len(found) == 0 {
		return "", ErrNoBinaries
	}
	return newest(found, "").dir, nil
}

// chooseBinaries prefers those that made the cluster, when there is one: another major version cannot read it.
func (s *Server) chooseBinaries(ctx context.Context) (binaries, error) {
	wanted := clusterMajor(s.dataDir())
	if s.cfg.BinDir != "" {
		b, err := examine(ctx, s.cfg.BinDir)
		if err != nil {
			return binaries{}, err
		}
		return b, b.checkMajor(wanted)
	}
	found := installedBinaries(ctx)
	fetched := filepath.Join(s.dir, "binaries", "bin")
	if b, err := examine(ctx, fetched); err == nil {
		found = append(found, b)
	}
	if len(found) == 0 {
		s.log.Info("downloading PostgreSQL: none is installed", "version", fetchVersion)
		if err := fetchBinaries(ctx, fetchRepository, filepath.Dir(fetched)); err != nil {
			return binaries{}, fmt.Errorf("%w; nor could one be downloaded: %w", ErrNoBinaries, err)
		}
		b, err := examine(ctx, fetched)
		if err != nil {
			return binaries{}, fmt.Errorf("%w; the downloaded one does not run: %w", ErrNoBinaries, err)
		}
		found = append(found, b)
	}
	b := newest(found, wanted)
	return b, b.checkMajor(wanted)
}

func (b binaries) checkMajor(wanted string) error {
	if wanted == "" || wanted == strconv.Itoa(b.major) {
		return nil
	}
	return fmt.Errorf("the cluster was made by PostgreSQL %s and the server found is %s (%s): install version %s, or move the directory away",
		wanted, b.version, b.dir, wanted)
}

// newest takes those of the wanted major version before all others.
func newest(found []binaries, wanted string) binaries {
	best := found[0]
	for _, b := range found[1:] {
		fits, bestFits := strconv.Itoa(b.major) == wanted, strconv.Itoa(best.major) == wanted
		if fits != bestFits {
			if fits {
				best = b
			}
			continue
		}
		if b.major > best.major || b.major == best.major && minor(b.version) > minor(best.version) {
			best = b
		}
	}
	return best
}

func minor(version string) int {
	_, after, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(after)
	return n
}

func installedBinaries(ctx context.Context) []binaries {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/usr/libexec/postgresql*",
		"/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, _ := filepath.Glob(pattern) // fails only on a bad pattern
		dirs = append(dirs, matches...)
	}
	var found []binaries
	for _, dir := range dirs {
		if b, err := examine(ctx, dir); err == nil {
			found = append(found, b)
		}
	}
	return found
}

// examine asks the server in dir for its version and refuses one that Kontor is not written for.
func examine(ctx context.Context, dir string) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("%s holds no PostgreSQL server: %w", dir, err)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("ask the server in %s for its version: %w", dir, err)
	}
	b := binaries{dir: dir}
	fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
	if len(fields) > 2 {
		b.version = fields[2]
		head, _, _ := strings.Cut(b.version, ".")
		b.major, _ = strconv.Atoi(head)
	}
	if b.major < majorMin || b.major > majorMax {
		return binaries{}, fmt.Errorf("the server in %s is %q, not of version %d to %d", dir, strings.TrimSpace(string(out)), majorMin, majorMax)
	}
	return b, nil
}
