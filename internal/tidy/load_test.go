package tidy

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	modulePath = "github.com/kontorhq/kontor"
	root       = "../.."
)

// house is the whole repository as the go command and the type checker know it.
type house struct {
	fset     *token.FileSet
	listed   map[string]*listing // by import path, dependencies included
	packages []*pkg              // ours, by path
	mu       sync.Mutex          // the importer is not made for several at once
	importer types.Importer
}

// listing is what go list says of a package.
type listing struct {
	ImportPath, Dir, Export            string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Module                             *struct{ Main bool }
}

// pkg is one of our packages, without its tests, type-checked; tests are parsed only.
type pkg struct {
	path  string // relative to the module: internal/kit/ids
	files []*ast.File
	tests []*ast.File
	types *types.Package
	info  *types.Info
	fset  *token.FileSet
}

// finding is one breach of a rule.
type finding struct {
	file string // relative to the repository
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text) }

// at makes a finding at a node of the package.
func (p *pkg) at(n ast.Node, format string, args ...any) finding {
	position := p.fset.Position(n.Pos())
	return finding{file: relative(position.Filename), line: position.Line, text: fmt.Sprintf(format, args...)}
}

func relative(file string) string {
	absolute, err := filepath.Abs(root)
	if err != nil {
		return file
	}
	if inside, err := filepath.Rel(absolute, file); err == nil {
		return filepath.ToSlash(inside)
	}
	return file
}

// loadHouse is shared by all tests of this package; what it gives is only read.
var loadHouse = sync.OnceValues(func() (*house, error) {
	h := &house{fset: token.NewFileSet(), listed: map[string]*listing{}}
	if err := h.list(); err != nil {
		return nil, err
	}
	h.importer = importer.ForCompiler(h.fset, "gc", func(path string) (io.ReadCloser, error) {
		l := h.listed[path]
		if l == nil || l.Export == "" {
			return nil, fmt.Errorf("go list knows no export data of %s", path)
		}
		return os.Open(l.Export)
	})
	for _, l := range h.listed {
		if l.Module == nil || !l.Module.Main {
			continue
		}
		p, err := h.check(strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, modulePath), "/"), l.Dir, l.GoFiles)
		if err != nil {
			return nil, err
		}
		for _, name := range append(slices.Clone(l.TestGoFiles), l.XTestGoFiles...) {
			file, err := parser.ParseFile(h.fset, filepath.Join(l.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			p.tests = append(p.tests, file)
		}
		h.packages = append(h.packages, p)
	}
	slices.SortFunc(h.packages, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return h, nil
})

func (h *house) list() error {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Module", "./...")
	cmd.Dir = root
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for decoder := json.NewDecoder(out); ; {
		var l listing
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read what go list says: %w\n%s", err, complaints.String())
		}
		h.listed[l.ImportPath] = &l
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go list: %w\n%s", err, complaints.String())
	}
	return nil
}

// check type-checks files as the package of the given path.
func (h *house) check(path, dir string, names []string) (*pkg, error) {
	p := &pkg{path: path, fset: h.fset, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	for _, name := range names {
		file, err := parser.ParseFile(h.fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, file)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	config := types.Config{Importer: h.importer}
	if p.types, err = config.Check(modulePath+"/"+path, h.fset, p.files, p.info); err != nil {
		return nil, fmt.Errorf("check the types of %s: %w", path, err)
	}
	return p, nil
}

// theHouse fails the test when the repository cannot be read.
func theHouse(t *testing.T) *house {
	t.Helper()
	h, err := loadHouse()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// generated tells whether nobody wrote the file.
func generated(f *ast.File) bool { return ast.IsGenerated(f) }

// fileOf is the name of the file, relative to the repository.
func (p *pkg) fileOf(f *ast.File) string { return relative(p.fset.Position(f.Package).Filename) }

// under tells whether the package is the given one or lies below it.
func under(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
