package app_test

import (
	"os"
	"strings"
	"testing"
)

// verbsBelow are the verbs that a verb's help lists, each as a whole command line.
func verbsBelow(t *testing.T, verb []string) (lines [][]string) {
	t.Helper()
	lists := false
	for line := range strings.Lines(helpOf(t, verb)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.HasSuffix(line, ":\n"):
			lists = line != "Flags:\n" && line != "Usage:\n" && line != "Examples:\n"
		case lists && name != "" && strings.HasPrefix(line, "  ") && name != "help" && name != "completion":
			lines = append(lines, append(verb[:len(verb):len(verb)], name))
		}
	}
	return lines
}

func helpOf(t *testing.T, verb []string) string {
	t.Helper()
	code, out, errs := kontor(t, nil, append(verb, "--help")...)
	if code != 0 {
		t.Fatalf("%v --help: exit code %d: %s", verb, code, errs)
	}
	return out
}

// examplesOf are the command lines of a help's examples, without what is before a pipe and without variables.
func examplesOf(help string) (lines [][]string) {
	_, rest, _ := strings.Cut(help, "Examples:\n")
	examples, _, _ := strings.Cut(rest, "\n\n")
	for line := range strings.Lines(strings.ReplaceAll(examples, "|\n", "|")) {
		if _, after, piped := strings.Cut(line, "| "); piped {
			line = after
		}
		_, command, found := strings.Cut(" "+line, " kontor ")
		if found {
			lines = append(lines, words(command))
		}
	}
	return lines
}

// words splits a command line as a shell does, as far as examples need it.
func words(line string) (out []string) {
	quoted, inside := false, false
	for _, c := range strings.TrimSpace(line) {
		switch {
		case c == '\'':
			quoted = !quoted
		case c == ' ' && !quoted:
			inside = false
			continue
		}
		if !inside {
			out, inside = append(out, ""), true
		}
		if c != '\'' {
			out[len(out)-1] += string(c)
		}
	}
	return out
}

// TestEveryHelpHasAnExampleThatIsRight: an example is of a verb that there is, with flags that it has.
func TestEveryHelpHasAnExampleThatIsRight(t *testing.T) {
	t.Parallel()
	checked, examples := 0, 0
	var check func(verb []string)
	check = func(verb []string) {
		if len(verb) > 0 {
			checked++
			found := examplesOf(helpOf(t, verb))
			if len(found) == 0 || len(found) < len(verbsBelow(t, verb)) {
				t.Errorf("kontor %s --help has %d examples, and none for some verb of its own", strings.Join(verb, " "), len(found))
			}
			for _, example := range found {
				examples++
				if len(example) < len(verb) || strings.Join(example[:len(verb)], " ") != strings.Join(verb, " ") {
					t.Errorf("an example of %v is %q", verb, example)
				}
				if code, _, errs := kontor(t, nil, append(example, "--help")...); code != 0 {
					t.Errorf("%q: %s", example, errs)
				}
			}
		}
		for _, below := range verbsBelow(t, verb) {
			check(below)
		}
	}
	check(nil)
	if checked < 50 || examples < 70 {
		t.Errorf("only %d verbs with %d examples were found", checked, examples)
	}
}

// TestTheCommandsOfTheDocumentsAreRight: each is of a verb that there is, with flags that it has. What the guides have is pasted by
// other tests; what has a … in it is for the reader to fill in.
func TestTheCommandsOfTheDocumentsAreRight(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
			command, is := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "bin/"), "kontor ")
			command, _, _ = strings.Cut(command, " # ")
			command, _, _ = strings.Cut(command, " <<")
			if !is || !strings.HasPrefix(line, " ") || strings.ContainsAny(command, "…|") || strings.HasSuffix(words(command)[0], ":") { // the last is what it says
				continue
			}
			checked++
			if code, _, errs := kontor(t, nil, append(words(command), "--help")...); code != 0 {
				t.Errorf("%s: kontor %s: %s", path, command, errs)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d commands were found", checked)
	}
}

func TestTheWordsOfAnExample(t *testing.T) {
	t.Parallel()
	help := "Examples:\n  echo '{\"a\": 1}' | kontor tasks create --file -\n  A=b kontor verify --json\n\nFlags:\n  kontor no\n"
	got := examplesOf(help)
	if len(got) != 2 || strings.Join(got[0], "/") != "tasks/create/--file/-" || strings.Join(got[1], "/") != "verify/--json" {
		t.Errorf("%q", got)
	}
	if got := words("  a 'b c' --d='' '{\"x\": \"y z\"}' "); strings.Join(got, "|") != `a|b c|--d=|{"x": "y z"}` {
		t.Errorf("%q", got)
	}
}
