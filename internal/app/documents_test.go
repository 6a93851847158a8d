package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/app/verify"
)

const repository = "../.."

// rows reads the tables of a document: the cells of each row, without the marks of code.
func rows(t *testing.T, path string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "`", "")
		}
		out = append(out, cells)
	}
	return out
}

func TestTheReferenceHasEverySettingAsItIs(t *testing.T) {
	t.Parallel()
	const path = "docs/reference/configuration.md"
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	app.BindSettings(flags, app.DefaultConfig())
	var want, got []string
	flags.VisitAll(func(f *pflag.Flag) {
		_, variable, _ := strings.Cut(f.Usage, "[")
		want = append(want, "--"+f.Name+" "+strings.TrimSuffix(variable, "]")+" "+f.DefValue)
	})
	for _, cells := range rows(t, path) {
		if strings.HasPrefix(cells[0], "--") {
			got = append(got, strings.Join(cells[:3], " "))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has\n%s\nand kontor serve\n%s", path, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheDocumentsNameEveryCheckAsItIs(t *testing.T) {
	t.Parallel()
	const path = "docs/operating/verify.md"
	var want, got []string
	for _, part := range verify.Parts() {
		for _, check := range part.Checks {
			want = append(want, check.Name+": "+check.Sentence)
		}
	}
	form := regexp.MustCompile(`^[a-z]+(\.[a-z]+){2}$`)
	for _, cells := range rows(t, path) {
		if form.MatchString(cells[0]) {
			got = append(got, cells[0]+": "+cells[1])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has\n%s\nand kontor verify\n%s", path, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// documents are all of the repository's own.
func documents(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repository, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(repository, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// anchor is what a heading is reached by.
func anchor(heading string) string {
	heading = strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	heading = regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(heading, "")
	return strings.ReplaceAll(heading, " ", "-")
}

// brokenLinks are the links of a document that lead nowhere within the repository.
func brokenLinks(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var broken []string
	for _, match := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(text), -1) {
		link := match[1]
		if strings.Contains(link, "://") {
			continue
		}
		file, heading, _ := strings.Cut(link, "#")
		target := path
		if file != "" {
			target = filepath.Join(filepath.Dir(path), file)
		}
		if !leadsSomewhere(target, heading) {
			broken = append(broken, link)
		}
	}
	return broken
}

func leadsSomewhere(target, heading string) bool {
	text, err := os.ReadFile(target)
	if err != nil || heading == "" {
		_, err := os.Stat(target)
		return err == nil
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") && anchor(line) == heading {
			return true
		}
	}
	return false
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	list := documents(t)
	if len(list) < 20 {
		t.Fatalf("only %d documents were found", len(list))
	}
	for _, path := range list {
		for _, link := range brokenLinks(t, path) {
			t.Errorf("%s: %s leads nowhere", strings.TrimPrefix(path, repository+"/"), link)
		}
	}
}

// reachable are the documents that links lead to from one, itself among them.
func reachable(t *testing.T, from string, seen map[string]bool) {
	t.Helper()
	if seen[from] {
		return
	}
	seen[from] = true
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`\]\(([^)\s#]+\.md)[^)\s]*\)`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(match[1], "://") {
			reachable(t, filepath.Join(filepath.Dir(from), match[1]), seen)
		}
	}
}

func TestEveryDocumentIsReachedFromTheFirst(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"README.md", "docs/README.md"} {
		seen := map[string]bool{}
		reachable(t, filepath.Join(repository, first), seen)
		for _, path := range documents(t) {
			if strings.Contains(path, "/docs/") && !seen[filepath.Clean(path)] {
				t.Errorf("no links lead from %s to %s", first, path)
			}
		}
	}
}

func TestABrokenLinkIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.md")
	text := "# One thing, and `another`\n[here](#one-thing-and-another) [file](a.md) [dir](.) [gone](b.md) [nowhere](#two) [out](https://example.org/x)\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := brokenLinks(t, path); !slices.Equal(got, []string{"b.md", "#two"}) {
		t.Errorf("found %v", got)
	}
}
