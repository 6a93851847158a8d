package app_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

const someURL = "postgres://kontor:secret@127.0.0.1:5432/kontor"

type readCase struct {
	name    string
	args    []string
	environ []string
	want    func(app.Config) bool
	errs    []string // each in one of the problems, in order
}

func readCases() []readCase {
	return []readCase{
		{name: "nothing", want: func(c app.Config) bool { return c.Listen == "127.0.0.1:8080" && c.DatabaseURL == "" }},
		{
			name: "a variable", environ: []string{"KONTOR_LISTEN=:1", "KONTOR_TASK_WORKERS=7", "HOME=/"},
			want: func(c app.Config) bool { return c.Listen == ":1" && c.TaskWorkers == 7 },
		},
		{
			name: "a flag wins", args: []string{"--listen=:2"}, environ: []string{"KONTOR_LISTEN=:1"},
			want: func(c app.Config) bool { return c.Listen == ":2" },
		},
		{
			name: "a pooler", environ: []string{"KONTOR_DATABASE_POOLER=transaction"},
			want: func(c app.Config) bool { return c.DatabasePooler == postgres.PoolerTransaction },
		},
		{
			name: "an empty variable is not set", environ: []string{"KONTOR_LISTEN="},
			want: func(c app.Config) bool { return c.Listen == "127.0.0.1:8080" },
		},
		{
			name: "roles", args: []string{"--roles", "api, relay"},
			want: func(c app.Config) bool { return slices.Equal(c.Roles, []app.Role{app.RoleAPI, app.RoleRelay}) },
		},
		{
			name: "the standard variable for the collector", environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318"},
			want: func(c app.Config) bool { return c.OTLPEndpoint == "http://otel:4318" },
		},
		{
			name: "ours wins", environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318", "KONTOR_OTLP_ENDPOINT=http://x"},
			want: func(c app.Config) bool { return c.OTLPEndpoint == "http://x" },
		},
		{
			name: "what Kubernetes adds for a service named kontor",
			environ: []string{
				"KONTOR_SERVICE_HOST=10.0.0.1", "KONTOR_SERVICE_PORT=80", "KONTOR_SERVICE_PORT_HTTP=80",
				"KONTOR_PORT=tcp://10.0.0.1:80", "KONTOR_PORT_80_TCP=tcp://10.0.0.1:80", "KONTOR_PORT_80_TCP_PROTO=tcp",
				"KONTOR_DB_PORT_5432_TCP_ADDR=10.0.0.2", "KONTOR_DB_SERVICE_HOST=10.0.0.2",
			},
			want: func(app.Config) bool { return true },
		},
		{
			name: "what is a user's of the client", environ: []string{"KONTOR_API_KEY=ktr_test_x", "KONTOR_API_URL=http://x"},
			want: func(app.Config) bool { return true },
		},
		{
			name: "everything wrong at once", args: []string{"--task-workers=many", "--log-level=loud"},
			environ: []string{"KONTOR_DATABASE_UTL=x", "KONTOR_SOMETHING=1", "KONTOR_PORT=8080", "KONTOR_TASK_LEASE_SECONDS=1.5"},
			errs: []string{
				"KONTOR_DATABASE_UTL: there is no such setting; did you mean KONTOR_DATABASE_URL?",
				"KONTOR_PORT: there is no such setting",
				"KONTOR_SOMETHING: there is no such setting",
				`--task-workers: want a whole number of tasks, not "many"`,
				`KONTOR_TASK_LEASE_SECONDS: want a whole number of seconds, not "1.5"`,
				`--log-level: want debug, info, warn or error, not "loud"`,
			},
		},
	}
}

func TestReadConfig(t *testing.T) {
	t.Parallel()
	for _, c := range readCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			app.BindSettings(flags, app.DefaultConfig())
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			cfg, err := app.ReadConfig(app.DefaultConfig(), flags, c.environ)
			checkProblems(t, err, c.errs)
			if c.want != nil && !c.want(cfg) {
				t.Errorf("got %+v", cfg)
			}
		})
	}
}

func checkProblems(t *testing.T, err error, want []string) {
	t.Helper()
	var problems []string
	if wrong, ok := errors.AsType[*app.ConfigError](err); ok {
		problems = wrong.Problems
	} else if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(problems, want, strings.Contains) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(problems, "\n"), strings.Join(want, "\n"))
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*app.Config)
		errs   []string
	}{
		{name: "the defaults and a database", change: func(*app.Config) {}},
		{name: "no database", change: func(c *app.Config) { c.DatabaseURL = "" }, errs: []string{"--database-url (KONTOR_DATABASE_URL): is required"}},
		{name: "no database at all", change: func(c *app.Config) { c.DatabaseURL = "postgres://u:secret@host:port/x" }, errs: []string{"want postgres://"}},
		{name: "a strange pooler", change: func(c *app.Config) { c.DatabasePooler = "session" }, errs: []string{`--database-pooler (KONTOR_DATABASE_POOLER): want none or transaction, not "session"`}},
		{name: "no role", change: func(c *app.Config) { c.Roles = nil }, errs: []string{"at least one"}},
		{name: "a strange role", change: func(c *app.Config) { c.Roles = []app.Role{"api", "boss"} }, errs: []string{`no role "boss"`}},
		{name: "a role twice", change: func(c *app.Config) { c.Roles = []app.Role{"api", "api"} }, errs: []string{"api is there twice"}},
		{name: "equal ports", change: func(c *app.Config) { c.Listen, c.AdminListen = ":8080", "127.0.0.1:8080" }, errs: []string{"another port"}},
		{name: "two free ports", change: func(c *app.Config) { c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0" }},
		{name: "no address", change: func(c *app.Config) { c.Listen, c.AdminListen = "8080", "x:99999" }, errs: []string{"--listen", "--admin-listen"}},
		{name: "a node with a space", change: func(c *app.Config) { c.Node = "a b" }, errs: []string{"--node"}},
		{
			name: "no time at all",
			change: func(c *app.Config) {
				c.RequestTimeoutSeconds, c.PaymentWaitSeconds, c.ShutdownTimeoutSeconds = 0, 0, -1
				c.ProviderTimeoutSeconds, c.TaskLeaseSeconds = 0, 0
			},
			errs: []string{
				"--request-timeout-seconds", "--payment-wait-seconds", "--shutdown-timeout-seconds",
				"--provider-timeout-seconds", "--task-lease-seconds",
			},
		},
		{name: "waits longer than a request", change: func(c *app.Config) { c.PaymentWaitSeconds = 35 }, errs: []string{"below --request-timeout-seconds"}},
		{name: "too few connections", change: func(c *app.Config) { c.DatabaseConnectionsMax = 1 }, errs: []string{"4 to 1000, not 1"}},
		{name: "no workers", change: func(c *app.Config) { c.TaskWorkers = 0 }, errs: []string{"--task-workers"}},
		{
			name:   "a sandbox that is none",
			change: func(c *app.Config) { c.SandboxURL, c.SandboxKey, c.SandboxWebhookSecret = "sandbox:7301", "", "x" },
			errs:   []string{"--sandbox-url", "--sandbox-key", "--sandbox-webhook-secret"},
		},
		{name: "a secret without a sandbox", change: func(c *app.Config) { c.SandboxWebhookSecret = "whsec_eA==" }, errs: []string{"has no meaning"}},
		{name: "strange logs", change: func(c *app.Config) { c.LogFormat = "xml" }, errs: []string{`not "xml"`}},
		{name: "a collector that is none", change: func(c *app.Config) { c.OTLPEndpoint = "otel:4317" }, errs: []string{"--otlp-endpoint"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := app.DefaultConfig()
			cfg.DatabaseURL = someURL
			c.change(&cfg)
			err := cfg.Check()
			checkProblems(t, err, c.errs)
			if err != nil && strings.Contains(err.Error(), "secret@") {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

func TestNodesHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	if a, b := app.DefaultConfig().Node, app.DefaultConfig().Node; a == b {
		t.Errorf("two are named %s", a)
	}
}
