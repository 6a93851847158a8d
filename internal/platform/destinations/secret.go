package destinations

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Secret refers to a secret: env:NAME or file:/path. The secret itself is read where it is needed and kept nowhere else.
type Secret string

// SecretSources says where secrets may be read from. Whoever may create a destination may send what it refers to
// anywhere, so a reference reaches only what was put there for this purpose.
type SecretSources struct {
	Lookup      func(name string) (string, bool) // of the environment; nil: there is none
	EnvPrefixes []string                         // of the variables that may be named; empty means SECRET_
	Dirs        []string                         // that files may lie in, at any depth; empty means /run/secrets
}

const (
	envScheme      = "env:"
	fileScheme     = "file:"
	secretBytesMax = 64 << 10
	secretFilesMax = 4096 // kept in memory
)

// errSecretForm does not repeat what it was given: that may be the secret itself.
var errSecretForm = errors.New("a secret is given by reference, as env:NAME or file:/path, never as itself")

type secrets struct {
	SecretSources
	mu    sync.Mutex
	files map[string]secretFile
}

type secretFile struct {
	changedAt time.Time
	size      int64
	value     string
}

func newSecrets(from SecretSources) *secrets {
	if from.Lookup == nil {
		from.Lookup = func(string) (string, bool) { return "", false }
	}
	if len(from.EnvPrefixes) == 0 {
		from.EnvPrefixes = []string{"SECRET_"}
	}
	if len(from.Dirs) == 0 {
		from.Dirs = []string{"/run/secrets"}
	}
	return &secrets{SecretSources: from, files: map[string]secretFile{}}
}

// check tells what is wrong with a reference, without reading what it refers to: that may come later.
func (s *secrets) check(ref Secret) error {
	if name, ok := strings.CutPrefix(string(ref), envScheme); ok {
		if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			return errSecretForm
		}
		for _, prefix := range s.EnvPrefixes {
			if strings.HasPrefix(name, prefix) {
				return nil
			}
		}
		return fmt.Errorf("only variables that begin with %s may be named", strings.Join(s.EnvPrefixes, " or "))
	}
	if path, ok := strings.CutPrefix(string(ref), fileScheme); ok {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) || len(path) > 1024 {
			return errSecretForm
		}
		if dir, _ := s.within(path); dir == "" {
			return fmt.Errorf("only files below %s may be named", strings.Join(s.Dirs, " or "))
		}
		return nil
	}
	return errSecretForm
}

// within is the directory of ours that a path lies below, and the rest of the path.
func (s *secrets) within(path string) (dir, rest string) {
	for _, dir := range s.Dirs {
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(filepath.Clean(dir), "/")+"/"); ok && rest != "" {
			return dir, rest
		}
	}
	return "", ""
}

// read gives the secret. Errors name the reference, never the secret.
func (s *secrets) read(ref Secret) (string, error) {
	if err := s.check(ref); err != nil {
		return "", err
	}
	if name, ok := strings.CutPrefix(string(ref), envScheme); ok {
		value, found := s.Lookup(name)
		if !found || value == "" {
			return "", fmt.Errorf("the variable %s is not set", name)
		}
		return value, nil
	}
	path := strings.TrimPrefix(string(ref), fileScheme)
	value, err := s.readFile(path)
	if err != nil {
		return "", fmt.Errorf("read the secret %s: %w", ref, err)
	}
	return value, nil
}

// readFile reads a file again when it has changed. Links may not lead out of the directory.
func (s *secrets) readFile(path string) (string, error) {
	dir, rest := s.within(path)
	file, err := os.OpenInRoot(dir, rest)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.files[path]; ok && known.changedAt.Equal(info.ModTime()) && known.size == info.Size() {
		return known.value, nil
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	raw, err := io.ReadAll(io.LimitReader(file, secretBytesMax+1))
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(raw), "\r\n")
	if value == "" || len(raw) > secretBytesMax {
		return "", fmt.Errorf("it is empty, or longer than %d bytes", secretBytesMax)
	}
	if len(s.files) >= secretFilesMax {
		clear(s.files)
	}
	s.files[path] = secretFile{changedAt: info.ModTime(), size: info.Size(), value: value}
	return value, nil
}
