package tidy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the floors into ARCHITECTURE.md anew")

// imports are what packages import of ours, as the table names them.
type imports struct {
	code  map[string][]string
	tests map[string][]string
}

// name is a package as the table has it.
func name(importPath string) (string, bool) {
	inside, ours := strings.CutPrefix(importPath, modulePath+"/")
	return strings.TrimPrefix(inside, "internal/"), ours
}

func importsOf(h *house) imports {
	all := imports{code: map[string][]string{}, tests: map[string][]string{}}
	ours := func(paths []string) []string {
		found := []string{}
		for _, path := range paths {
			if n, ok := name(path); ok {
				found = append(found, n)
			}
		}
		return found
	}
	for _, l := range h.listed {
		if l.Module != nil && l.Module.Main {
			n, _ := name(l.ImportPath)
			all.code[n] = ours(l.Imports)
			all.tests[n] = ours(append(slices.Clone(l.TestImports), l.XTestImports...))
		}
	}
	return all
}

// breaches holds imports against a table. Each is a sentence.
func breaches(table []storey, all imports) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	order, level := map[string]int{}, map[string]int{}
	for i, s := range table {
		for _, r := range s.rooms {
			if _, twice := order[r.path]; twice {
				say("%s stands in the table twice", r.path)
			}
			order[r.path], level[r.path] = len(order), i
		}
	}
	for _, s := range table {
		for _, r := range s.rooms {
			found = append(found, roomBreaches(r, order, all)...)
		}
	}
	for path, imported := range all.tests {
		for _, n := range imported {
			if _, known := order[path]; known && level[n] > level[path] {
				say("a test of %s imports %s, which stands on a higher floor", path, n)
			}
		}
	}
	for path := range all.code {
		if _, known := order[path]; !known {
			say("%s is not in the table of floors: put it where it belongs", path)
		}
	}
	slices.Sort(found)
	return found
}

func roomBreaches(r room, order map[string]int, all imports) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	imported, exists := all.code[r.path]
	if !exists {
		say("%s is in the table, but there is no such package", r.path)
		return found
	}
	allowed := strings.Fields(r.imports)
	for _, n := range imported {
		if !slices.Contains(allowed, n) {
			say("%s imports %s, which the table does not allow", r.path, n)
		}
	}
	for _, n := range allowed {
		at, known := order[n]
		switch {
		case !known:
			say("%s may import %s, but there is no such package", r.path, n)
		case at >= order[r.path]:
			say("%s may import %s, which does not stand above it in the table", r.path, n)
		case !slices.Contains(imported, n):
			say("%s may import %s, but does not: take the permission back", r.path, n)
		}
	}
	return found
}

func TestTheFloorsHold(t *testing.T) {
	t.Parallel()
	for _, b := range breaches(houseTable(), importsOf(theHouse(t))) {
		t.Error(b)
	}
}

// A small house in which everything is wrong.
func TestTheFloorsCanBreak(t *testing.T) {
	t.Parallel()
	table := []storey{
		{"kit", "", []room{{"kit/a", ""}, {"kit/b", "kit/a kit/c"}, {"kit/c", ""}}},
		{"commerce", "", []room{{"commerce/payments", "kit/a"}, {"commerce/payments/sandbox", "commerce/payments"}, {"commerce/gone", ""}}},
	}
	got := breaches(table, imports{
		code: map[string][]string{
			"kit/a": {"commerce/payments"}, "kit/b": {"kit/a", "kit/c"}, "kit/c": {}, "commerce/payments": {"commerce/payments/sandbox"},
			"commerce/payments/sandbox": {"commerce/payments"}, "commerce/new": {},
		},
		tests: map[string][]string{"kit/c": {"commerce/payments"}, "commerce/payments": {"commerce/payments/sandbox"}},
	})
	want := []string{
		"a test of kit/c imports commerce/payments, which stands on a higher floor",
		"commerce/gone is in the table, but there is no such package",
		"commerce/new is not in the table of floors: put it where it belongs",
		"commerce/payments imports commerce/payments/sandbox, which the table does not allow",
		"commerce/payments may import kit/a, but does not: take the permission back",
		"kit/a imports commerce/payments, which the table does not allow",
		"kit/b may import kit/c, which does not stand above it in the table",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const (
	architecture = root + "/ARCHITECTURE.md"
	floorsBegin  = "<!-- floors:begin -->"
	floorsEnd    = "<!-- floors:end -->"
)

// draw makes the diagram: the floors with their packages and, above kit, who stands on whom; and the table itself.
func draw(table []storey) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("%s\n<!-- Drawn by internal/tidy from its table: go test ./internal/tidy -update -->\n\n```mermaid\nflowchart TD", floorsBegin)
	reach := reachable(table)
	for i := len(table) - 1; i > 0; i-- {
		line("  subgraph %s[\"%s: %s\"]", table[i].name, table[i].name, table[i].owns)
		if table[i].name == "kit" {
			var names []string
			for _, r := range table[i].rooms {
				names = append(names, strings.TrimPrefix(r.path, "kit/"))
			}
			line("    kit_all[\"%s\"]", strings.Join(names, " · "))
		} else {
			for _, r := range table[i].rooms {
				if r.imports != "" { // tests alone are not drawn
					line("    %s[\"%s\"]", node(r.path), r.path)
				}
			}
		}
		line("  end")
	}
	for i := len(table) - 1; i > 1; i-- {
		for _, r := range table[i].rooms {
			for _, n := range direct(r, reach) {
				line("  %s --> %s", node(r.path), node(n))
			}
		}
	}
	line("  platform --> kit\n```\n\n| package | may import |\n|---|---|")
	for _, s := range table {
		for _, r := range s.rooms {
			may := strings.ReplaceAll(strings.ReplaceAll(r.imports, "kit/", ""), " ", ", ")
			line("| `%s` | %s |", r.path, may)
		}
	}
	out.WriteString(floorsEnd)
	return out.String()
}

// node is a package's name in the diagram, where floors have names too.
func node(path string) string { return "p_" + strings.ReplaceAll(path, "/", "_") }

// reachable is what each package stands on, directly or not.
func reachable(table []storey) map[string]map[string]bool {
	reach := map[string]map[string]bool{}
	for _, s := range table {
		for _, r := range s.rooms {
			reach[r.path] = map[string]bool{}
			for n := range strings.FieldsSeq(r.imports) {
				reach[r.path][n] = true
				for below := range reach[n] {
					reach[r.path][below] = true
				}
			}
		}
	}
	return reach
}

// direct are the arrows worth drawing: not into kit and the ground, and none that another arrow implies.
func direct(r room, reach map[string]map[string]bool) []string {
	var arrows []string
	all := strings.Fields(r.imports)
	for _, n := range all {
		implied := slices.ContainsFunc(all, func(other string) bool { return reach[other][n] })
		if strings.Contains(n, "/") && !under(n, "kit") && !implied {
			arrows = append(arrows, n)
		}
	}
	if r.path == "cmd/kontor" {
		arrows = all
	}
	return arrows
}

func TestTheFloorsAreDrawn(t *testing.T) {
	t.Parallel()
	picture := draw(houseTable())
	raw, err := os.ReadFile(filepath.FromSlash(architecture))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	text := string(raw)
	begin, end := strings.Index(text, floorsBegin), strings.Index(text, floorsEnd)
	drawn := begin >= 0 && end > begin
	if drawn && text[begin:end+len(floorsEnd)] == picture {
		return
	}
	if !*update {
		t.Fatal("the floors in ARCHITECTURE.md are not those of the table: go test ./internal/tidy -update")
	}
	switch {
	case drawn:
		text = text[:begin] + picture + text[end+len(floorsEnd):]
	case text == "":
		text = "# Architecture\n\n" + picture + "\n"
	default:
		text += "\n" + picture + "\n"
	}
	if err := os.WriteFile(filepath.FromSlash(architecture), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
