package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kontorhq/kontor/client"
)

// counter takes batches as the API does, but knows each unique key once, whatever else.
type counter struct {
	*httptest.Server
	mu       sync.Mutex
	tasks    []client.TaskRequest
	keys     map[string]bool
	requests int
	// answer may take the place of the answer: before anything is queued, or, with the tasks queued, in place of a 200.
	before, after func(w http.ResponseWriter, n int, tasks []client.TaskRequest) bool
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	never := func(http.ResponseWriter, int, []client.TaskRequest) bool { return false }
	c := &counter{keys: map[string]bool{}, before: never, after: never}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.Close)
	return c
}

func (c *counter) take(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var body client.TaskBatchRequest
	raw, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(raw, &body); err != nil || r.URL.Path != "/v1/tasks/batch" || r.Header.Get("Authorization") != "Bearer k" || r.Header.Get("Idempotency-Key") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.requests++
	if c.before(w, c.requests, body.Tasks) {
		return
	}
	answer := client.TaskBatch{}
	for _, task := range body.Tasks {
		known := c.keys[*task.UniqueKey]
		if !known {
			c.keys[*task.UniqueKey] = true
			c.tasks = append(c.tasks, task)
		}
		answer.Tasks = append(answer.Tasks, client.TaskCreated{ID: "tsk_x", Deduplicated: known})
	}
	if c.after(w, c.requests, body.Tasks) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// refuseTasks is a problem with some of the tasks.
func refuseTasks(w http.ResponseWriter, status int, code string, items ...client.ProblemItem) bool {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(client.Problem{Code: code, Detail: "no", Errors: &items})
	return true
}

// importFile runs the verb on a file with that content.
func (c *counter) importFile(t *testing.T, path, content string, args ...string) (code int, out, errs string) {
	t.Helper()
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"tasks", "import", path, "--destination", "crm", "--path", "/c/{{.id}}"}, args...)
	return kontor(t, []string{"KONTOR_API_URL=" + c.URL, "KONTOR_API_KEY=k"}, args...)
}

func people(n int) string {
	var b strings.Builder
	b.WriteString("id,name\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,\"n, %d\"\n", i, i)
	}
	return b.String()
}

func TestAFileBecomesTasks(t *testing.T) {
	t.Parallel()
	c, path := newCounter(t), filepath.Join(t.TempDir(), "people.csv")
	code, out, errs := c.importFile(t, path, people(2500), "--queue", "q", "--method", "PUT", "--header", "X-Tenant: t{{.id}}", "--priority", "2", "--subject-id", "{{.id}}",
		"--schedule-time", "2100-01-01T00:00:00Z", "--tag", "nightly")
	if code != 0 || len(c.tasks) != 2500 || c.requests != 3 || !strings.Contains(out, "2500 records, 2500 tasks queued, 0 there already, 0 skipped") {
		t.Fatalf("%d %s %s: %d tasks in %d requests", code, out, errs, len(c.tasks), c.requests)
	}
	task := c.tasks[41]
	if task.Destination != "crm" || *task.Queue != "q" || *task.Priority != 2 || task.HTTPRequest.Method != "PUT" || task.HTTPRequest.URL != "/c/41" ||
		*task.HTTPRequest.Body != `{"id":"41","name":"n, 41"}` || (*task.HTTPRequest.Headers)["X-Tenant"] != "t41" || *task.SubjectID != "41" ||
		!strings.HasPrefix(*task.UniqueKey, "people-") || !strings.HasSuffix(*task.UniqueKey, "-crm/43") || *task.UniquePeriodSeconds != 2_592_000 || task.Name != nil ||
		task.ScheduleTime.Year() != 2100 || len(*task.Tags) != 2 || (*task.Tags)[0]+"/43" != *task.UniqueKey || (*task.Tags)[1] != "nightly" {
		t.Errorf("%+v", task)
	}
	code, out, _ = c.importFile(t, path, "", "--queue", "q")
	if code != 0 || len(c.tasks) != 2500 || !strings.Contains(out, "2500 tasks queued, 0 there already") {
		t.Errorf("again: %d %s", code, out)
	}
	if err := os.Remove(path + ".crm.import"); err != nil {
		t.Fatal(err)
	}
	code, out, _ = c.importFile(t, path, "", "--json")
	var report struct {
		Records, Created, Existed int
		Complete                  bool
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || report.Existed != 2500 || report.Created != 0 || !report.Complete || len(c.tasks) != 2500 {
		t.Errorf("without its state: %d %s, %v", code, out, err)
	}
}

func TestAnImportGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	c, path := newCounter(t), filepath.Join(t.TempDir(), "people.csv")
	c.before = func(w http.ResponseWriter, n int, _ []client.TaskRequest) bool {
		switch n {
		case 2: // for a moment
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case 4:
			return refuseTasks(w, http.StatusUnauthorized, "key_revoked")
		}
		return false
	}
	c.after = func(_ http.ResponseWriter, n int, _ []client.TaskRequest) bool {
		if n == 3 {
			panic(http.ErrAbortHandler) // an answer that is lost
		}
		return false
	}
	code, out, errs := c.importFile(t, path, people(50), "--batch", "10")
	if code != 1 || !strings.Contains(out, "It is not complete: all up to line 11 is queued. Run the same command again to go on.") || !strings.Contains(errs, "lines 12 to 21") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	code, out, errs = c.importFile(t, path, "", "--batch", "10")
	if code != 0 || len(c.tasks) != 50 || !strings.Contains(out, "It went on at line 12") || !strings.Contains(out, "40 tasks queued, 10 there already") {
		t.Fatalf("%d %s %s: %d tasks", code, out, errs, len(c.tasks))
	}
	code, out, errs = c.importFile(t, path, "", "--path", "/another/{{.id}}")
	if code != 0 || len(c.tasks) != 50 || !strings.Contains(out, "Nothing is new") {
		t.Errorf("again, with another template: %d %s %s", code, out, errs)
	}
	if code, _, errs = c.importFile(t, path, "", "--as", "again"); code != 1 || !strings.Contains(errs, "--state of its own") {
		t.Errorf("under another name: %d %s", code, errs)
	}
	code, out, errs = c.importFile(t, path, "", "--as", "again", "--state", path+".again")
	if code != 0 || len(c.tasks) != 100 {
		t.Errorf("under another name, in a state of its own: %d %s %s: %d tasks", code, out, errs, len(c.tasks))
	}
}

func TestBadRecordsStopAnImportOrAreSkipped(t *testing.T) {
	t.Parallel()
	c, path := newCounter(t), filepath.Join(t.TempDir(), "people.csv")
	code4 := func(s string) *string { return &s }
	c.before = func(w http.ResponseWriter, _ int, tasks []client.TaskRequest) bool {
		for n, task := range tasks {
			if task.HTTPRequest.URL == "/c/4" {
				return refuseTasks(w, http.StatusConflict, "batch_rejected", client.ProblemItem{Detail: "It is four.", Param: code4(fmt.Sprintf("/tasks/%d/http_request/url", n))})
			}
		}
		return false
	}
	const content = "id,name\n1,a\n2,b,c\n3,d\n4,e\n5,f\n"
	code, out, errs := c.importFile(t, path, content)
	if code != 1 || !strings.Contains(errs, path+": line 3: the record has another number of fields") || len(c.tasks) != 1 || !strings.Contains(out, "all up to line 2 is queued") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	code, out, errs = c.importFile(t, path, "", "--skip-invalid")
	if code != 3 || len(c.tasks) != 3 || !strings.Contains(errs, "line 5: the task is refused: http_request/url: It is four.") || !strings.Contains(out, "people.skipped.csv: correct and import them") {
		t.Fatalf("%d %s %s: %d tasks", code, out, errs, len(c.tasks))
	}
	if kept, err := os.ReadFile(filepath.Join(filepath.Dir(path), "people.skipped.csv")); err != nil || string(kept) != "id,name\n2,b,c\n4,e\n" {
		t.Errorf("%q, %v", kept, err)
	}
	// What is wrong with all of them is no reason to skip any.
	c.before = func(w http.ResponseWriter, _ int, _ []client.TaskRequest) bool {
		return refuseTasks(w, http.StatusConflict, "batch_rejected", client.ProblemItem{Code: code4("destination_not_found"), Detail: "There is no such destination.", Param: code4("/tasks/0/destination")})
	}
	code, out, errs = c.importFile(t, path, content, "--skip-invalid", "--as", "other", "--state", path+".other")
	if code != 1 || !strings.Contains(errs, "There is no such destination") || !strings.Contains(out, "0 skipped") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestADryRunOfAnImport(t *testing.T) {
	t.Parallel()
	c, path := newCounter(t), filepath.Join(t.TempDir(), "people.csv")
	template := filepath.Join(t.TempDir(), "t.json")
	if err := os.WriteFile(template, []byte(`{"method": "PATCH", "path": "/x", "body": "{\"n\": \"{{.name}}\"}", "headers": {"X": "{{.id}}"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := c.importFile(t, path, people(20)+"7\n", "--template", template, "--dry-run", "--show", "1")
	if code != 1 || c.requests != 0 || !strings.Contains(out, "21 records, of which 20 would be tasks and 1 are bad") || !strings.Contains(out, `"path": "/c/0"`) ||
		!strings.Contains(out, `"method": "PATCH"`) || !strings.Contains(out, `"n": "n, 0"`) || strings.Contains(out, `"/c/1"`) || !strings.Contains(errs, "line 22:") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if found, _ := filepath.Glob(path + ".*"); len(found) > 0 {
		t.Errorf("%v is left", found)
	}
}

func TestAWrongImportTellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	code, _, errs := c.importFile(t, filepath.Join(t.TempDir(), "people.xls"), "x", "--destination", "", "--priority", "9", "--delimiter", "ab", "--body", "{{json .}", "--batch", "99999")
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"--destination", "--priority", "--delimiter", "body:1", "people.xls", "10000"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no word of %s in %s", want, errs)
		}
	}
}
