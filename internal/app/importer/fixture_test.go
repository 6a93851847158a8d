package importer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/app/importer"
)

// errDown is why a destination takes nothing.
var errDown = errors.New("down")

// shop takes tasks and knows each name and each unique key once.
type shop struct {
	tasks   map[string]importer.Task
	order   []string
	existed int
	failing func() bool // before a batch is taken
	losing  func() bool // after it was taken
	refuses func(importer.Task) string
}

func newShop() *shop {
	never := func() bool { return false }
	return &shop{tasks: map[string]importer.Task{}, failing: never, losing: never, refuses: func(importer.Task) string { return "" }}
}

func (s *shop) send(_ context.Context, batch []importer.Task) ([]importer.Result, error) {
	if s.failing() {
		return nil, errDown
	}
	results := make([]importer.Result, len(batch))
	for n, task := range batch {
		if results[n].Refused = s.refuses(task); results[n].Refused != "" {
			continue
		}
		key := task.UniqueKey + task.Name
		if _, known := s.tasks[key]; known {
			results[n].Existed = true
			s.existed++
			continue
		}
		s.tasks[key] = task
		s.order = append(s.order, key)
	}
	if s.losing() {
		return nil, errDown
	}
	return results, nil
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	rewrite(t, path, content)
	return path
}

func rewrite(t testing.TB, path, content string) {
	t.Helper()
	raw := []byte(content)
	if strings.HasSuffix(path, ".gz") {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(raw)
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		raw = packed.Bytes()
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, text importer.TemplateText) *importer.Template {
	t.Helper()
	if text.Path == "" {
		text.Path = "/customers"
	}
	parsed, err := importer.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// of makes an import of a file into a shop, with its state beside the file.
func of(t testing.TB, path string, s *shop, text importer.TemplateText) *importer.Import {
	t.Helper()
	i := &importer.Import{Name: "c", Path: path, Template: parse(t, text), Send: s.send}
	i.Load, i.Save = importer.FileState(path + ".import")
	return i
}
