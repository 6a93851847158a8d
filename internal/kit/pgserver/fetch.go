package pgserver

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/xi2/xz"
)

// The builds of zonky.io: PostgreSQL with all it needs, for Linux and macOS, made for use within tests. They are
// published on Maven Central as zip files that hold one .txz.
const (
	fetchRepository = "https://repo1.maven.org/maven2"
	fetchVersion    = "18.3.0"
	fetchBytesMax   = 200 << 20
)

// fetchBinaries downloads a build, checks its checksum and unpacks it as into. It is renamed at the end, so that a
// half-unpacked one is never used.
func fetchBinaries(ctx context.Context, repository, into string) error {
	name := "embedded-postgres-binaries-" + fetchPlatform()
	address := fmt.Sprintf("%s/io/zonky/test/postgres/%s/%s/%s-%s.jar", repository, name, fetchVersion, name, fetchVersion)
	archive, err := fetch(ctx, address)
	if err != nil {
		return err
	}
	checksum, err := fetch(ctx, address+".sha256")
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(archive); hex.EncodeToString(sum[:]) != strings.TrimSpace(string(checksum)) {
		return fmt.Errorf("%s is damaged: its checksum is another", address)
	}
	fresh := into + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove a half-unpacked download: %w", err)
	}
	if err := unpack(archive, fresh); err != nil {
		return fmt.Errorf("unpack %s: %w", address, err)
	}
	if err := os.Rename(fresh, into); err != nil {
		return fmt.Errorf("name the download: %w", err)
	}
	return nil
}

func fetchPlatform() string {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch = "arm64v8"
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		arch += "-alpine"
	}
	return runtime.GOOS + "-" + arch
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("download PostgreSQL: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("download PostgreSQL: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download PostgreSQL: %s answers %s", address, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchBytesMax))
	if err != nil {
		return nil, fmt.Errorf("download PostgreSQL: %w", err)
	}
	return body, nil
}

func unpack(archive []byte, into string) error {
	jar, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return err
	}
	for _, member := range jar.File {
		if !strings.HasSuffix(member.Name, ".txz") {
			continue
		}
		r, err := member.Open()
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		plain, err := xz.NewReader(r, 0)
		if err != nil {
			return err
		}
		if err := unpackTar(tar.NewReader(plain), into); err != nil {
			return err
		}
		return openDirectories(into)
	}
	return errors.New("it holds no .txz")
}

// unpackTar writes below into and nowhere else, whatever the names in the archive say.
func unpackTar(r *tar.Reader, into string) error {
	if err := makeParents(into); err != nil {
		return err
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackMember(root, header, r)
		}
		if err != nil {
			return err
		}
	}
}

// openDirectories lets everyone pass, whatever the umask was: the server's user is not the one who unpacks.
func openDirectories(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o755)
	})
}

func unpackMember(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeReg:
		mode := header.FileInfo().Mode().Perm() | 0o444 // for the server's user too
		file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Chmod(mode), file.Close())
	default:
		return nil // hard links and devices: these builds have none
	}
}
