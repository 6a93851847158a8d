package pgserver

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository serves an archive as Maven Central does.
func repository(t *testing.T, fixture string, damaged bool) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", fixture))
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	w := zip.NewWriter(&jar)
	member, err := w.Create("postgres.txz")
	if err == nil {
		_, err = member.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(jar.Bytes())
	if damaged {
		sum[0]++
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.Contains(r.URL.Path, fetchVersion) || !strings.Contains(r.URL.Path, fetchPlatform()):
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".jar.sha256"):
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
		case strings.HasSuffix(r.URL.Path, ".jar"):
			_, _ = w.Write(jar.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestFetchBinaries(t *testing.T) {
	t.Parallel()
	into := filepath.Join(t.TempDir(), "binaries")
	if err := fetchBinaries(t.Context(), repository(t, "build.txz", false), into); err != nil {
		t.Fatal(err)
	}
	b, err := examine(t.Context(), filepath.Join(into, "bin"))
	if err != nil || b.major != 18 {
		t.Errorf("found %+v, %v", b, err)
	}
	if link, err := os.Readlink(filepath.Join(into, "lib", "libpq.so")); err != nil || link != "libpq.so.5" {
		t.Errorf("link to %q, %v", link, err)
	}
	for _, dir := range []string{into, filepath.Join(into, "lib")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}

func TestFetchBinariesRefuses(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(gone.Close)
	for name, c := range map[string]struct{ repository, says string }{
		"a damaged archive":                {repository(t, "build.txz", true), "damaged"},
		"an archive that leaves its place": {repository(t, "escape.txz", false), "escapes"},
		"a repository without it":          {gone.URL, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			err := fetchBinaries(t.Context(), c.repository, filepath.Join(dir, "binaries"))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want an error that says %q, got %v", c.says, err)
			}
			for _, name := range []string{"binaries", "escaped"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					t.Errorf("%s was made all the same", name)
				}
			}
		})
	}
}

func TestNewest(t *testing.T) {
	t.Parallel()
	found := []binaries{
		{dir: "a", version: "16.9", major: 16},
		{dir: "b", version: "16.10", major: 16},
		{dir: "c", version: "15.18", major: 15},
		{dir: "d", version: "18.3", major: 18},
	}
	for wanted, dir := range map[string]string{"": "d", "15": "c", "16": "b", "17": "d"} {
		if got := newest(found, wanted).dir; got != dir {
			t.Errorf("wanted %q: got %s, want %s", wanted, got, dir)
		}
	}
}
