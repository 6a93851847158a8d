package e2e

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// reader pastes what a guide says into a shell, beside a node and the mock API.
type reader struct {
	*house
	dir     string
	prelude string
	rewrite *strings.Replacer
	open    *os.File // what the program reads while it is to live
}

// pasted are the blocks of a document that are to be pasted, in order, each with its lines.
func pasted(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	inside := false
	for line := range strings.Lines(string(text)) {
		code, is := strings.CutPrefix(line, "    ")
		switch {
		case is && inside:
			blocks[len(blocks)-1] += code
		case is:
			blocks = append(blocks, code)
		}
		inside = is
	}
	return blocks
}

// paste runs a block; every line of it must go well.
func (r *reader) paste(block string) string {
	r.Helper()
	shell := exec.CommandContext(r.Context(), "bash", "-e", "-c", r.prelude+r.rewrite.Replace(block))
	shell.Dir = r.dir
	shell.ExtraFiles = []*os.File{r.open}
	out, err := shell.CombinedOutput()
	if err != nil {
		r.Fatalf("%s%v:\n%s", block, err, out)
	}
	return string(out)
}

// newReader makes the directory in which the guide's reader is: with the program, and what kontor dev leaves there.
func newReader(h *house, nodeURL string, mock *url.URL) *reader {
	h.Helper()
	executable, err := os.Executable()
	if err != nil {
		h.Fatal(err)
	}
	r := &reader{house: h, dir: h.TempDir()}
	open, held, err := os.Pipe()
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _, _ = open.Close(), held.Close() })
	r.open = open
	// A function in place of the program; what it reads, if it reads anything, comes by a file.
	r.prelude = `kontor() { if [ "${@: -1}" = - ]; then cat > stdin.json; set -- "${@:1:$#-1}" stdin.json; fi; ` + playEnv + "=" + playKontor + " '" + executable + "' \"$@\" <&3; }\n"
	r.rewrite = strings.NewReplacer("bin/kontor", "kontor", "localhost:7302", mock.Host, "127.0.0.1:7302", mock.Host, "10000", "600", "2001", "301")
	if err := os.Mkdir(filepath.Join(r.dir, ".kontor"), 0o700); err != nil {
		h.Fatal(err)
	}
	for name, text := range map[string]string{"dev-url": nodeURL, "dev-key": h.key, "dev-database-url": h.cfg.DatabaseURL} {
		if err := os.WriteFile(filepath.Join(r.dir, ".kontor", name), []byte(text), 0o600); err != nil {
			h.Fatal(err)
		}
	}
	return r
}

// The first guide is pasted as it stands.
func TestTheFirstPaymentWorksWhenPasted(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	r := newReader(h, h.start("a").url, &url.URL{})
	r.rewrite = strings.NewReplacer("bin/kontor", "kontor")
	blocks := pasted(t, "../docs/guides/first-payment.md")
	if len(blocks) < 9 || blocks[0] != "make run\n" {
		t.Fatalf("%d blocks, the first of them %s", len(blocks), blocks[0])
	}
	out := r.paste(strings.Join(blocks[1:], ""))
	rest := out
	for _, said := range []string{
		"201 Created", `"status":"captured"`, "202 Accepted", `"amount_captured":300`, `"amount":100`, `"amount_capturable":0`,
		"provider/sandbox/clearing/USD", `"reference":"invoice-1"`, "payment.", "USD through sandbox", "checks hold",
	} {
		_, after, found := strings.Cut(rest, said)
		if !found {
			t.Fatalf("%s does not come, or not in its place, in\n%s", said, out)
		}
		rest = after
	}
}

// The guide is pasted as it stands, but with 600 records and with 300, at addresses of the test's own.
func TestTheGuideWorksWhenPasted(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	mock, err := mockapi.Start(t.Context(), mockapi.Config{Limits: mockapi.Limits{
		Limits: []mockapi.Limit{{Count: 500, Period: time.Second}, {Count: 50_000, Period: 24 * time.Hour}}, MaxConcurrent: 50,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mock.Close)
	at, err := url.Parse(mock.URL())
	if err != nil {
		t.Fatal(err)
	}
	node, p := h.start("a"), h.program()
	r := newReader(h, node.url, at)
	done := func() bool { return h.left(p) == 0 }
	blocks := pasted(t, "../docs/guides/call-an-api-10000-times.md")
	if len(blocks) < 15 || !strings.Contains(blocks[1], "mock-api --limit 500/1s --limit 50000/d --max-concurrent 50") {
		t.Fatalf("%d blocks, the second of them %s", len(blocks), blocks[1])
	}
	imports := 0
	for _, block := range blocks[2:] {
		replays := strings.Contains(block, "--canary")
		if replays && mock.Summary().Faults["error_422"] == 0 {
			t.Log("no task was answered 422; there is nothing to replay")
		}
		out := r.paste(block)
		switch {
		case strings.Contains(block, "--dry-run") && !replays:
			if !strings.Contains(out, "600 records, of which 600 would be tasks and 0 are bad") {
				t.Errorf("%s", out)
			}
		case strings.Contains(block, "tasks import"):
			imports++
			h.within(90*time.Second, "the calls are made", done)
			s := mock.Summary()
			if imports == 1 && (s.Effects != 600 || s.Refused > h.late(p, mock, time.Second/4) || s.Crowded != 0) {
				t.Errorf("%+v", s)
			}
			// What was done though its answer was lost, and was refused when it was repeated, is an effect and a dead letter.
			if least := 300 - s.Faults["error_422"]; imports == 2 && (s.Effects < least || s.Effects > 300 || s.DuplicateEffects != 0) {
				t.Errorf("%d effects, want %d to 300: %+v", s.Effects, least, s)
			}
		case replays:
			h.within(time.Minute, "all is replayed", func() bool { return mock.Summary().Effects == 300 && done() })
		}
	}
	if s := mock.Summary(); s.Effects != 300 || s.DuplicateEffects != 0 || imports != 2 {
		t.Errorf("%+v", s)
	}
	if out := r.paste("bin/kontor dead-letters list --destination crm\n"); strings.Contains(out, "tsk_") {
		t.Errorf("dead letters are left: %s", out)
	}
}
