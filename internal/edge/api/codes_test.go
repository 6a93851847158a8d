package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notForCallers are codes of faults that no request over HTTP can cause: those of the command line and of workers.
var notForCallers = []string{
	"organisation_malformed", "organisation_not_found", "key_name_malformed", "key_expiry_passed", "key_not_found", "lease_lost",
}

// faultCodes reads the codes of all faults out of the source of the packages that the API stands on.
func faultCodes(t *testing.T) map[string]string {
	t.Helper()
	codes := map[string]string{}
	for _, dir := range []string{"../../kit", "../../platform", "../../commerce", "."} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && strings.HasSuffix(path, "payments/sandbox") {
				return filepath.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, code := range codesOf(t, path, source) {
				codes[code] = path
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return codes
}

// codesOf finds the second argument of every fault.New, and New within kit/fault itself.
func codesOf(t *testing.T, path string, source []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		called, ok := n.(*ast.CallExpr)
		if !ok || len(called.Args) < 3 {
			return true
		}
		selector, ok := called.Fun.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "New" {
			return true
		}
		if owner, ok := selector.X.(*ast.Ident); !ok || owner.Name != "fault" {
			return true
		}
		if literal, ok := called.Args[1].(*ast.BasicLit); ok {
			code, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	return codes
}

func TestTheContractNamesEveryFault(t *testing.T) {
	t.Parallel()
	c := testContract(t)
	codes := faultCodes(t)
	if len(codes) < 30 {
		t.Fatalf("only %d codes found: the search is broken", len(codes))
	}
	for code, path := range codes {
		if _, named := c.statuses[code]; !named && !slices.Contains(notForCallers, code) {
			t.Errorf("%s: %s is not among the contract's x-problems", path, code)
		}
	}
	for code := range c.statuses {
		if _, made := codes[code]; !made {
			t.Errorf("the contract names %s, which nothing makes", code)
		}
	}
}

func TestEveryOperationNamesProblemsThatExist(t *testing.T) {
	t.Parallel()
	c := testContract(t)
	for path, item := range object(c.source, "paths") {
		for method, details := range item.(map[string]any) {
			operation, _ := details.(map[string]any)
			list, _ := operation["x-problems"].([]any)
			for _, code := range list {
				if _, known := c.statuses[code.(string)]; !known {
					t.Errorf("%s %s: there is no problem %s", method, path, code)
				}
			}
		}
	}
}
