package tidy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exceptions excuse a rule's findings in a file, with the reason.
type exceptions map[string]string

// hold fails the test for every finding that is not excused, and for every excuse that nothing needs.
func hold(t *testing.T, found []finding, excused exceptions) {
	t.Helper()
	used := map[string]bool{}
	for _, f := range found {
		if excused[f.file] == "" {
			t.Error(f)
		}
		used[f.file] = true
	}
	for file := range excused {
		if !used[file] {
			t.Errorf("%s needs no exception any more: drop its line", file)
		}
	}
}

// rule looks at one package.
type rule func(p *pkg) []finding

// everywhere applies a rule to the whole house.
func everywhere(t *testing.T, r rule) []finding {
	t.Helper()
	var found []finding
	for _, p := range theHouse(t).packages {
		found = append(found, r(p)...)
	}
	return found
}

// mustReject applies a rule to the package in testdata/<name>. It must find what the fixture says beside it, and nothing
// else: a comment "want: words" on a line asks for a finding there that has the words. The fixture's first line says
// where in the house it pretends to stand.
func mustReject(t *testing.T, name string, r rule) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixture in %s: %v", dir, err)
	}
	place, want := "", map[string]string{}
	for i, path := range names {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		place = strings.TrimPrefix(first, "// stands in ")
		for n, line := range strings.Split(string(raw), "\n") {
			if _, words, found := strings.Cut(line, "want: "); found {
				want[fmt.Sprintf("%s:%d", relative(path), n+1)] = strings.TrimSpace(words)
			}
		}
		names[i] = filepath.Base(path)
	}
	p, err := theHouse(t).check(place, dir, names)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r(p) {
		got[fmt.Sprintf("%s:%d", f.file, f.line)] += f.text + "\n"
	}
	compareFindings(t, got, want)
}

func compareFindings(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, place := range slices.Sorted(maps.Keys(want)) {
		if !strings.Contains(got[place], want[place]) {
			t.Errorf("%s: the rule does not see %q, only %q", place, want[place], got[place])
		}
	}
	for _, place := range slices.Sorted(maps.Keys(got)) {
		if want[place] == "" {
			t.Errorf("%s: the rule sees what is not there: %s", place, got[place])
		}
	}
	if len(want) == 0 {
		t.Error("the fixture breaks nothing")
	}
}
