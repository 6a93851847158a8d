package tx_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// outside makes a module of somebody else's that has the guide's program, and requires this repository as it lies here.
func outside(t *testing.T) string {
	t.Helper()
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(repository, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/shop\n\ngo 1.26\n\nrequire github.com/kontorhq/kontor v0.0.0\n\n" +
			"replace github.com/kontorhq/kontor => " + repository + "\n",
		"go.sum":  string(sums),
		"main.go": block(t, "go", 0),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runOutside runs a command of the module's; nothing is downloaded that the tests have not needed before.
func runOutside(t *testing.T, dir string, environ []string, command string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), command, args...)
	c.Dir, c.Env = dir, append(append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off"), environ...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
}

// TestAModuleOutsideQueuesTasks: the guide's program, in a module of its own, as whoever pastes it has it.
func TestAModuleOutsideQueuesTasks(t *testing.T) {
	b := setup(t)
	b.destination("mailer", "https://mail.example.org")
	dir := outside(t)
	runOutside(t, dir, nil, "go", "build", "-o", "shop", ".")
	for _, mode := range []string{"", "exec", "simple_protocol"} { // the last two are those that poolers need
		runOutside(t, dir, []string{"DATABASE_URL=" + b.appURL(mode)}, filepath.Join(dir, "shop"))
		b.exec(`delete from shop_order`) // and the next run finds its task there
	}
	got := b.text(`select concat_ws(' ', k.destination, k.subject_id, l.state, l.key) from task k join task_live l on l.org_id = k.org_id and l.task_id = k.id`)
	if got != "mailer 1001 available unique/confirmation-1001" {
		t.Errorf("queued is %q", got)
	}
}
