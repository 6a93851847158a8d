package app

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
)

// screen is what kontor dev has printed so far.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// running is kontor dev under way.
type running struct {
	screen *screen
	ended  chan error
	cancel context.CancelFunc
}

func startDev(t *testing.T, dir string, change func(*devOptions)) *running {
	t.Helper()
	o := devOptions{dir: dir, config: devDefaults()}
	o.config.Listen, o.config.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	o.config.ProviderTimeoutSeconds = 2
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{screen: &screen{}, ended: make(chan error, 1), cancel: cancel}
	go func() { r.ended <- runDev(ctx, o, r.screen, t.Output()) }()
	t.Cleanup(r.cancel)
	return r
}

// waitFor waits until the text has been printed.
func (r *running) waitFor(t *testing.T, text string) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for !strings.Contains(r.screen.String(), text) {
		select {
		case err := <-r.ended:
			t.Fatalf("it ended with %v, having printed\n%s", err, r.screen)
		case <-deadline.C:
			t.Fatalf("%q was not printed, only\n%s", text, r.screen)
		case <-ticker.C:
		}
	}
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("it stopped with %v", err)
	}
	if !strings.Contains(r.screen.String(), "Stopped.") {
		t.Errorf("it does not say that it stopped:\n%s", r.screen)
	}
}

// devDir is a directory that PostgreSQL's user can enter.
func devDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(pgserver.ScratchDir(), "kontor-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, ".kontor")
}

const devReady = "Kontor is running."

func TestFirstContact(t *testing.T) {
	t.Parallel()
	dir := devDir(t)
	first := startDev(t, dir, nil)
	first.waitFor(t, "/v1/ledger/accounts -H")
	text := first.screen.String()
	if told := strings.Count(text, "  ✓ "); told != 6 || strings.Contains(text, "✗") {
		t.Errorf("%d of 6 chapters went well:\n%s", told, text)
	}
	for _, part := range []string{
		"captured, pay_", "declined: insufficient_funds", "created → unknown → captured", "both callers were told of pay_",
		"2.50 EUR of 10.00 EUR given back", "debits ",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in the story:\n%s", part, text)
		}
	}
	tryCommands(t, text)
	if kept, err := os.ReadFile(filepath.Join(dir, devDatabaseURLFile)); err != nil || !strings.Contains(text, "psql '"+strings.TrimSpace(string(kept))+"'") {
		t.Errorf("the database's URL is kept as %q: %v", kept, err)
	}
	other := startDev(t, dir, nil)
	if err := <-other.ended; err == nil || !strings.Contains(err.Error(), "another kontor dev is running") {
		t.Errorf("a second one on the same data: %v", err)
	}
	first.stop(t)
	nothingLeft(t, dir, text)

	second := startDev(t, dir, nil)
	second.waitFor(t, devReady)
	again := second.screen.String()
	if strings.Contains(again, "✓") || !strings.Contains(again, "Welcome back: 5 payments are there, 0 of them not final yet") {
		t.Errorf("the second start says:\n%s", again)
	}
	if keyIn(text) == "" || keyIn(text) != keyIn(again) {
		t.Errorf("the keys are %q and %q", keyIn(text), keyIn(again))
	}
	second.stop(t)

	third := startDev(t, dir, func(o *devOptions) { o.story = true })
	third.waitFor(t, devReady)
	if told := strings.Count(third.screen.String(), "  ✓ "); told != 6 {
		t.Errorf("%d of 6 chapters went well when played again:\n%s", told, third.screen)
	}
	third.stop(t)
}

func keyIn(text string) string {
	return regexp.MustCompile(`ktr_test_\w+`).FindString(text)
}

// tryCommands pastes the three curl lines into a shell, the first of them twice.
func tryCommands(t *testing.T, text string) {
	t.Helper()
	commands := regexp.MustCompile(`(?m)^  curl (.*\\\n)*.*$`).FindAllString(text, -1)
	if len(commands) != 3 {
		t.Fatalf("%d curl lines in\n%s", len(commands), text)
	}
	answers := map[string]map[string]any{}
	for _, command := range append(commands, commands[0]) {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		var answer map[string]any
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatalf("%s: %v in %s", command, err, out)
		}
		if before := answers[command]; before != nil && before["id"] != answer["id"] {
			t.Errorf("pasted twice, it made two payments: %v and %v", before["id"], answer["id"])
		}
		answers[command] = answer
	}
	if status := answers[commands[0]]["status"]; status != "captured" {
		t.Errorf("the payment is %v", answers[commands[0]])
	}
	for _, list := range commands[1:] {
		if data, ok := answers[list]["data"].([]any); !ok || len(data) == 0 {
			t.Errorf("%s: %v", list, answers[list])
		}
	}
}

// nothingLeft checks that neither PostgreSQL nor the servers run any more, and that what is secret is not readable.
func nothingLeft(t *testing.T, dir, text string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "postgres", "data", "postmaster.pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("PostgreSQL was left running: %v", err)
	}
	for _, url := range regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindAllString(text, -1) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			t.Errorf("%s still answers", url)
		}
	}
	for _, name := range []string{"dev-key", "dev-url", "kontor.log"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestALostKeyIsReplaced(t *testing.T) {
	t.Parallel()
	dir := devDir(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	stale := "ktr_test_stale"
	if err := os.WriteFile(filepath.Join(dir, "dev-key"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startDev(t, dir, nil)
	r.waitFor(t, devReady)
	kept, err := os.ReadFile(filepath.Join(dir, "dev-key"))
	if err != nil || strings.TrimSpace(string(kept)) != keyIn(r.screen.String()) || keyIn(r.screen.String()) == stale {
		t.Errorf("kept %q (%v), printed %q", kept, err, keyIn(r.screen.String()))
	}
	r.stop(t)
}

func TestItIsSaidThatPostgresHasEnded(t *testing.T) {
	t.Parallel()
	dir := devDir(t)
	r := startDev(t, dir, nil)
	r.waitFor(t, devReady)
	pidFile, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(pidFile), "\n")
	pid, err := strconv.Atoi(first)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "PostgreSQL: it has ended; why is in "+filepath.Join(dir, "postgres", "postgres.log")) {
		t.Errorf("it ended with %v", err)
	}
}

func TestStoppedInTheMiddleOfTheStory(t *testing.T) {
	t.Parallel()
	dir := devDir(t)
	r := startDev(t, dir, nil)
	r.waitFor(t, "declined:")
	text := r.screen.String()
	r.stop(t)
	if strings.Contains(r.screen.String(), "✗") || strings.Contains(r.screen.String(), devReady) {
		t.Errorf("it went on talking:\n%s", r.screen)
	}
	nothingLeft(t, dir, text)
}
