package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating-system user that the server runs as.
type account struct {
	name     string
	uid, gid int
	stepDown bool // we are root and must become this user: PostgreSQL refuses to run as root
}

// chooseAccount is the present user, or, for root, the data root's owner (the user who started it before), else
// postgres, else nobody. PostgreSQL looks itself up by name, so a uid that has none will not do.
func chooseAccount(dir string) (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{name: "uid " + strconv.Itoa(uid), uid: uid, gid: os.Getegid()}, nil
	}
	names := []string{"postgres", "nobody"}
	if uid, err := ownerOf(dir); err == nil && uid != 0 {
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			names = []string{u.Username}
		}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if err := errors.Join(errUID, errGID); err != nil {
			return account{}, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return account{name: name, uid: uid, gid: gid, stepDown: true}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody to step down to: make one, or start kontor as another user")
}

// prepareRoot makes the data root, gives it to the account and returns its real path.
func prepareRoot(dir string) (account, string, error) {
	if dir == "" {
		return account{}, "", errors.New("Config.Dir is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return account{}, "", fmt.Errorf("make the path absolute: %w", err)
	}
	if err := makeParents(filepath.Dir(dir)); err != nil {
		return account{}, "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return account{}, "", fmt.Errorf("make the data root: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return account{}, "", fmt.Errorf("resolve the data root: %w", err)
	}
	a, err := chooseAccount(dir)
	if err != nil {
		return account{}, "", err
	}
	if err := a.checkEnterable(filepath.Dir(dir)); err != nil {
		return account{}, "", err
	}
	return a, dir, a.takeRoot(dir)
}

// makeParents is MkdirAll, but what it makes can be entered by everyone whatever the umask: the server's user has to
// pass. What was there before is left alone.
func makeParents(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("make a parent of the data root: %w", err)
	}
	return nil
}

// takeRoot makes the account the owner of the root, unless there is already a cluster of somebody else's in it.
func (a account) takeRoot(dir string) error {
	uid, err := ownerOf(dir)
	if err != nil {
		return fmt.Errorf("look at the data root: %w", err)
	}
	if uid != a.uid && !a.stepDown {
		return fmt.Errorf("the directory belongs to uid %d and PostgreSQL would run as %s: start kontor as its owner, or choose another directory", uid, a.name)
	}
	data := filepath.Join(dir, "data")
	if owner, err := ownerOf(data); err == nil && owner != a.uid {
		return fmt.Errorf("%s belongs to uid %d and PostgreSQL would run as %s: chown -R %d %s, or choose another directory", data, owner, a.name, a.uid, dir)
	}
	if err := a.own(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close the data root to others: %w", err)
	}
	return nil
}

// own gives a path to the account when we are root.
func (a account) own(path string) error {
	if !a.stepDown {
		return nil
	}
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, a.name, err)
	}
	return nil
}

// checkEnterable says which parent keeps the account out: root's home and many temporary directories do.
func (a account) checkEnterable(dir string) error {
	if !a.stepDown {
		return nil // our own rights: the first use tells
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("resolve %s: %w", dir, err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("look at %s: %w", at, err)
		}
		if !a.canEnter(info) {
			return fmt.Errorf("PostgreSQL does not run as root, and the user %s that it would run as cannot enter %s (mode %o): chmod a+x %s, use a directory elsewhere, /var/lib/kontor for example, or start kontor as another user than root",
				a.name, at, info.Mode().Perm(), at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func (a account) canEnter(info fs.FileInfo) bool {
	const x = 0o1
	perm := info.Mode().Perm()
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(stat.Uid) == a.uid:
		return perm>>6&x != 0
	case ok && int(stat.Gid) == a.gid:
		return perm>>3&x != 0
	default:
		return perm&x != 0
	}
}

// ownerOf does not follow a symbolic link.
func ownerOf(path string) (uid int, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s: this system does not say who owns a file", path)
	}
	return int(stat.Uid), nil
}
