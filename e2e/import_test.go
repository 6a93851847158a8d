package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/app/importer"
	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// importing is kontor tasks import in a process of its own.
type importing struct {
	*house
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan error
}

func (n *node) startImport(args ...string) *importing {
	n.Helper()
	executable, err := os.Executable()
	if err != nil {
		n.Fatal(err)
	}
	i := &importing{house: n.house, out: &bytes.Buffer{}, done: make(chan error, 1)}
	i.cmd = exec.CommandContext(context.WithoutCancel(n.Context()), executable, append([]string{"tasks", "import"}, args...)...)
	i.cmd.Env = append(os.Environ(), playEnv+"="+playKontor, "KONTOR_API_URL="+n.url, "KONTOR_API_KEY="+n.key)
	i.cmd.Stdout, i.cmd.Stderr = i.out, i.out
	held, err := i.cmd.StdinPipe()
	if err != nil {
		n.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		n.Fatal(err)
	}
	go func() {
		i.done <- i.cmd.Wait()
		_ = held.Close()
	}()
	return i
}

// records is how many records the state says are done with.
func records(state string) int64 {
	var s importer.State
	text, err := os.ReadFile(state)
	if err != nil || json.Unmarshal(text, &s) != nil {
		return 0
	}
	return s.Records
}

// An import is killed twice in its middle, and the second time what it remembers is lost as well. Each record has one effect.
func TestAKilledImportMakesEachRecordOneTask(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	mock, err := mockapi.Start(t.Context(), mockapi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mock.Close)
	p := h.program()
	h.destination(p, "crm", destinations.Settings{BaseURL: mock.URL()})
	node := h.start("a")
	const people = 2000
	path := filepath.Join(t.TempDir(), "people.jsonl")
	var file strings.Builder
	for i := range people {
		fmt.Fprintf(&file, `{"id": %d, "name": "person %d"}`+"\n", i, i)
	}
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{path, "--destination", "crm", "--path", "/people/{{.id}}", "--subject-type", "person", "--subject-id", "{{.id}}"}
	state := path + ".crm.import"
	for _, until := range []int64{people / 4, people / 2} {
		i := node.startImport(append(args, "--batch", "20")...)
		h.eventually("it is in its middle", func() bool { return records(state) >= until })
		_ = i.cmd.Process.Kill()
		if err := <-i.done; err == nil {
			t.Fatalf("it came to its end before it was killed: %s", i.out)
		}
	}
	t.Logf("killed after %d records", records(state))
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	last := node.startImport(append(args, "--json")...)
	if err := <-last.done; err != nil {
		t.Fatalf("%v: %s", err, last.out)
	}
	var report importer.Report
	if err := json.Unmarshal(last.out.Bytes(), &report); err != nil || !report.Complete || report.Created+report.Existed != people || report.Existed < people/2 {
		t.Errorf("%+v, %v", report, err)
	}
	h.eventually("all calls are made", func() bool { return h.left(p) == 0 })
	if s := mock.Summary(); s.Effects != people || s.Arrivals != people || s.Keys != people || s.DuplicateEffects != 0 {
		t.Errorf("%+v", s)
	}
	var subjects int
	if err := p.db.Pool().QueryRow(t.Context(), `select count(distinct subject_id) from task`).Scan(&subjects); err != nil || subjects != people {
		t.Errorf("tasks about %d people, %v", subjects, err)
	}
}
