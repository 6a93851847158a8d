package app_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

// kontor runs a command line and gives what it printed.
func kontor(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = app.Main(t.Context(), app.Process{Args: args, Environ: environ, Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// kontorJSON runs a command line that must succeed and reads what it printed.
func kontorJSON[T any](t *testing.T, environ []string, args ...string) T {
	t.Helper()
	code, out, errOut := kontor(t, environ, append(args, "--json")...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, errOut)
	}
	var value T
	if err := json.Unmarshal([]byte(out), &value); err != nil {
		t.Fatalf("%v: %v in %s", args, err, out)
	}
	return value
}

func TestExitCodesAndErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args    string
		environ []string
		code    int
		err     string // within standard error
		out     string // within standard output
	}{
		{args: "", code: 0, out: "kontor dev"},
		{args: "--help", code: 0, out: "Operate:"},
		{args: "version", code: 0, out: "kontor "},
		{args: "completion bash", code: 0, out: "bash completion"},
		{args: "completion fish", code: 0, out: "fish completion"},
		{args: "serve --help", code: 0, out: "[KONTOR_TASK_LEASE_SECONDS] (default 30)"},
		{args: "srve", code: 2, err: `unknown command "srve"`},
		{args: "migrate", code: 2, err: "say what to do, one of: up status down"},
		{args: "migrate sideways", code: 2, err: "sideways"},
		{args: "serve now", code: 2, err: "now"},
		{args: "serve --fast", code: 2, err: "unknown flag: --fast"},
		{args: "serve", code: 2, err: "--database-url (KONTOR_DATABASE_URL): is required"},
		{args: "serve --roles api,foo --task-workers many", environ: []string{"KONTOR_ROLE=api"}, code: 2, err: "4 settings are wrong"},
		{args: "keys revoke", code: 2, err: "say <key id>"},
		{args: "tasks why tsk_1 tsk_2", code: 2, err: `it takes <task id>, and nothing more: "tsk_2" is too much`},
		{args: "verify all", code: 2, err: `it takes flags alone, and nothing like "all"`},
		{args: "why tsk_01k4x9d2rzfqe8s5v0m3t7a1bc", code: 2, err: "ask kontor tasks why tsk_01k4x9d2rzfqe8s5v0m3t7a1bc"},
		{args: "tasks list --api-url http://127.0.0.1:1", environ: []string{"KONTOR_API_KEY=x"}, code: 1, err: "nobody listens at http://127.0.0.1:1: start a node"},
		{args: "keys revoke key_1 --database-url postgres://127.0.0.1:1/x", code: 2, err: "kontor keys list shows them"},
		{args: "sandbox --faults moderate", code: 2, err: `no profile "moderate"`},
		{args: "dev --task-workers 0", code: 2, err: "must be 1 to 10000"},
		{args: "dev --faults moderate", code: 2, err: `no profile "moderate"`},
		{args: "serve", environ: []string{"KONTOR_DATABASE_URL=postgres://u:hush@127.0.0.1:1/x", "KONTOR_ROLE=api"}, code: 2, err: "did you mean KONTOR_ROLES?"},
		{args: "serve", environ: []string{"KONTOR_DATABASE_URL=postgres://u:hush@127.0.0.1:1/x", "KONTOR_ADMIN_LISTEN=127.0.0.1:0"}, code: 1, err: "connection refused"},
		{args: "keys list --database-url postgres://u:hush@127.0.0.1:1/x", code: 1, err: "connection refused"},
		{args: "migrate up --database-url postgres://u:hush@127.0.0.1:1/x", code: 1, err: "connection refused"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			code, out, errOut := kontor(t, c.environ, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(errOut, c.err) || !strings.Contains(out, c.out) {
				t.Errorf("exit code %d\nout: %s\nerr: %s", code, out, errOut)
			}
			if strings.Contains(out+errOut, "hush") {
				t.Error("the password is shown")
			}
			if code == 1 && strings.Count(errOut, "\n") != 1 {
				t.Errorf("not one line: %s", errOut)
			}
		})
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	environ := []string{"KONTOR_DATABASE_URL=" + postgrestest.DB(t).URL}
	type status struct {
		UpToDate bool `json:"up_to_date"`
		Pending  int  `json:"pending"`
		Steps    []struct {
			Name      string `json:"name"`
			AppliedAt string `json:"applied_at"`
		} `json:"steps"`
	}
	before := kontorJSON[status](t, environ, "migrate", "status")
	if !before.UpToDate || len(before.Steps) == 0 || before.Steps[0].AppliedAt == "" {
		t.Fatalf("got %+v", before)
	}
	last := before.Steps[len(before.Steps)-1].Name
	if code, out, errOut := kontor(t, environ, "migrate", "down"); code != 0 || out != "took back "+last+"\n" {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	if code, out, _ := kontor(t, environ, "migrate", "status"); code != 1 || !strings.Contains(out, "pending              "+last) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, _, errOut := kontor(t, append(environ, "KONTOR_ADMIN_LISTEN=127.0.0.1:0", "KONTOR_LISTEN=127.0.0.1:0"), "serve"); code != 1 ||
		!strings.Contains(errOut, "lacks 1 steps") || !strings.Contains(errOut, "run kontor migrate up") {
		t.Errorf("serve on an old schema: exit code %d: %s", code, errOut)
	}
	if code, out, errOut := kontor(t, environ, "migrate", "up"); code != 0 || !strings.Contains(out, "applied "+last) {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	if got := kontorJSON[map[string][]string](t, environ, "migrate", "up"); len(got["applied"]) != 0 {
		t.Errorf("applied again: %v", got)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	environ := []string{"KONTOR_DATABASE_URL=" + postgrestest.DB(t).URL}
	type key struct {
		ID        string  `json:"id"`
		Key       string  `json:"key"`
		Name      string  `json:"name"`
		Hint      string  `json:"hint"`
		ExpiresAt *string `json:"expires_at"`
		RevokedAt *string `json:"revoked_at"`
	}
	made := kontorJSON[key](t, environ, "keys", "create", "--organisation", "acme", "--name", "shop", "--expires-in", "720h")
	if made.Key == "" || made.ExpiresAt == nil || !strings.HasPrefix(made.ID, "key_") {
		t.Fatalf("got %+v", made)
	}
	code, out, errOut := kontor(t, environ, "keys", "create", "--organisation", "acme")
	if code != 0 || !strings.HasPrefix(out, made.Key[:8]) || strings.Count(out, "\n") != 1 {
		t.Errorf("standard output must be the key and nothing else: exit code %d: %s%s", code, out, errOut)
	}
	if revoked := kontorJSON[key](t, environ, "keys", "revoke", made.ID, "--organisation", "acme"); revoked.RevokedAt == nil {
		t.Errorf("got %+v", revoked)
	}
	listed := kontorJSON[map[string][]key](t, environ, "keys", "list", "--organisation", "acme")["keys"]
	if len(listed) != 2 || listed[1].ID != made.ID || listed[1].RevokedAt == nil || listed[1].Key != "" || listed[0].RevokedAt != nil {
		t.Errorf("got %+v", listed)
	}
	if _, out, _ := kontor(t, environ, "keys", "list", "--organisation", "acme"); !strings.Contains(out, made.ID+"  test  …"+made.Hint+"  revoked ") {
		t.Errorf("got %s", out)
	}
	if code, _, errOut := kontor(t, environ, "keys", "revoke", made.ID); code != 1 || !strings.Contains(errOut, "There is no such API key.") {
		t.Errorf("another organisation's key: exit code %d: %s", code, errOut)
	}
	if code, _, errOut := kontor(t, environ, "keys", "create", "--organisation", "Big Corp"); code != 1 || !strings.Contains(errOut, "a-z") {
		t.Errorf("a malformed name: exit code %d: %s", code, errOut)
	}
}
