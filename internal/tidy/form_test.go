package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	functionLinesMax = 70  // a function fits a screen
	fileLinesMax     = 400 // a file fits a sitting
)

// overlong are the functions and files that are longer than they may be, and how long they are. The list only shrinks: what
// is on it may not grow, and leaves it when it is short enough.
func overlong() map[string]int {
	return map[string]int{
		"internal/commerce/ledger/book.go": 455, // the rule of the books, which is one
	}
}

// lengths measures the files and functions of a package, tests included.
func lengths(p *pkg) (found []finding, lines map[string]int) {
	lines = map[string]int{}
	for _, file := range append(slices.Clone(p.files), p.tests...) {
		if generated(file) {
			continue
		}
		name := p.fileOf(file)
		if n := p.fset.File(file.Package).LineCount(); n > fileLinesMax {
			lines[name] = n
			found = append(found, p.at(file, "the file has %d lines; %d are the most", n, fileLinesMax))
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := p.span(f)
			if strings.HasSuffix(name, "_test.go") {
				n -= p.tableLines(f)
			}
			if n > functionLinesMax {
				lines[name+" "+f.Name.Name] = n
				found = append(found, p.at(f, "%s has %d lines; %d are the most", f.Name.Name, n, functionLinesMax))
			}
		}
	}
	return found, lines
}

// span is how many lines a node takes.
func (p *pkg) span(n ast.Node) int {
	return p.fset.Position(n.End()).Line - p.fset.Position(n.Pos()).Line + 1
}

// tableLines is how many lines of a test are its tables: data, of which there may be any amount.
func (p *pkg) tableLines(f *ast.FuncDecl) int {
	lines := 0
	ast.Inspect(f, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if ok {
			lines += p.span(literal) - 1
		}
		return !ok
	})
	return lines
}

func TestFunctionsFitAScreenAndFilesASitting(t *testing.T) {
	t.Parallel()
	allowed, seen := overlong(), map[string]bool{}
	for _, p := range theHouse(t).packages {
		_, lines := lengths(p)
		for what, n := range lines {
			seen[what] = true
			if n > allowed[what] {
				t.Errorf("%s has %d lines; allowed are %d for a function, %d for a file%s", what, n, functionLinesMax, fileLinesMax, was(allowed[what]))
			}
		}
	}
	for what := range allowed {
		if !seen[what] {
			t.Errorf("%s is short enough: take it off the list", what)
		}
	}
}

func was(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and for this one %d, which it may not outgrow", n)
}

func TestLengthIsSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "lengths", func(p *pkg) []finding {
		found, _ := lengths(p)
		return found
	})
}

// forms finds what has no place in any package: init functions, variables of the package, names that say nothing, a
// package without a word about itself.
func forms(p *pkg) []finding {
	var found []finding
	if len(p.files) > 0 && docOf(p) == "" {
		found = append(found, p.at(p.files[0], "the package has no documentation: say what it is for and what it owns"))
	}
	vague := []string{"util", "utils", "common", "helper", "helpers", "model", "models", "type", "types", "manager", "misc", "base", "shared"}
	if slices.Contains(vague, path.Base(p.path)) {
		found = append(found, p.at(p.files[0], "the package's name says nothing"))
	}
	for _, file := range p.files {
		name, _, _ := strings.Cut(strings.TrimSuffix(path.Base(p.fileOf(file)), ".go"), "_")
		if slices.Contains(vague, name) && p.fileOf(file) != "internal/kit/postgrestest/shared.go" {
			found = append(found, p.at(file, "the file's name says nothing"))
		}
		if generated(file) {
			continue
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					found = append(found, p.at(d, "an init function: let somebody call it"))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					found = append(found, variables(p, d)...)
				}
			}
		}
	}
	return found
}

// variables finds the package's variables that are more than names for what never changes: errors, patterns, embedded
// files, tables that nobody writes to, and guards that a type has an interface.
func variables(p *pkg, d *ast.GenDecl) []finding {
	var found []finding
	for _, s := range d.Specs {
		spec := s.(*ast.ValueSpec)
		if strings.Contains(commentsOf(d.Doc, spec.Doc), "//go:embed") {
			continue
		}
		for _, name := range spec.Names {
			v, isVar := p.info.Defs[name].(*types.Var)
			if name.Name == "_" || !isVar || constantLike(v.Type()) || isTable(p, v) {
				continue
			}
			found = append(found, p.at(name, "the variable %s belongs to the whole package: give it to a type", name.Name))
		}
	}
	return found
}

func commentsOf(groups ...*ast.CommentGroup) string {
	var all strings.Builder
	for _, g := range groups {
		if g != nil {
			for _, c := range g.List {
				all.WriteString(c.Text + "\n")
			}
		}
	}
	return all.String()
}

// constantLike tells whether values of the type are as good as constants: errors and compiled patterns.
func constantLike(t types.Type) bool {
	failure := types.Universe.Lookup("error").Type().Underlying().(*types.Interface)
	return types.Implements(t, failure) || t.String() == "*regexp.Regexp"
}

// isTable tells whether the variable is a map or a list that nobody writes to.
func isTable(p *pkg, v *types.Var) bool {
	switch v.Type().Underlying().(type) {
	case *types.Map, *types.Slice, *types.Array:
	default:
		return false
	}
	written := v.Exported()
	names := func(e ast.Expr) bool {
		if index, ok := e.(*ast.IndexExpr); ok {
			e = index.X
		}
		id, ok := e.(*ast.Ident)
		return ok && p.info.Uses[id] == v
	}
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				written = written || slices.ContainsFunc(n.Lhs, names)
			case *ast.IncDecStmt:
				written = written || names(n.X)
			case *ast.UnaryExpr:
				written = written || n.Op == token.AND && names(n.X)
			case *ast.CallExpr:
				id, ok := n.Fun.(*ast.Ident)
				written = written || ok && slices.Contains([]string{"delete", "clear", "append", "copy"}, id.Name) && len(n.Args) > 0 && names(n.Args[0])
			}
			return true
		})
	}
	return !written
}

func TestForms(t *testing.T) {
	t.Parallel()
	hold(t, everywhere(t, forms), exceptions{
		"internal/kit/postgrestest/shared.go": "the tests of a process share one cluster, which ends with the process",
	})
}

func TestFormsAreSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "form", forms)
	mustReject(t, "names", forms)
}

// unfinished finds notes that something is not done yet.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
