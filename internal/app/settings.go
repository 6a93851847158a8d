package app

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// variablePrefix begins every environment variable that is Kontor's.
const variablePrefix = "KONTOR_"

// Variables that are Kontor's, but not a node's: what verbs and programs that use the client keep address and key in, and what
// the test suite is told.
const (
	clientURLVariable  = "KONTOR_API_URL"
	clientKeyVariable  = "KONTOR_API_KEY"
	testVariablePrefix = "KONTOR_TEST_"
	testKeepVariable   = "KONTOR_KEEP_DB"
)

// setting is one field of Config as people meet it.
type setting struct {
	name  string // of the flag
	kind  string // what the value is, in help
	usage string
	show  func(Config) string
	set   func(*Config, string) error
}

// variable is the environment variable of a setting.
func (s setting) variable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// label names a setting in an error, by both of its names.
func (s setting) label() string { return "--" + s.name + " (" + s.variable() + ")" }

// settings are all of Config's fields, in the order of help.
func settings() []setting {
	return []setting{
		text("database-url", "url", "PostgreSQL, as postgres://user:password@host:port/database (required)",
			func(c *Config) *string { return &c.DatabaseURL }),
		number("database-connections-max", "connections", "size of this node's connection pool",
			func(c *Config) *int { return &c.DatabaseConnectionsMax }),
		poolerSetting(),
		rolesSetting(),
		text("listen", "address", "address of the API; port 0 takes a free one",
			func(c *Config) *string { return &c.Listen }),
		text("admin-listen", "address", "address of /livez, /readyz, /metrics and /debug/pprof; keep it private",
			func(c *Config) *string { return &c.AdminListen }),
		text("node", "name", "name of this process in leases and logs; must be unique (default: host, pid and a random part)",
			func(c *Config) *string { return &c.Node }),
		number("request-timeout-seconds", "seconds", "bound on one request",
			func(c *Config) *int { return &c.RequestTimeoutSeconds }),
		number("payment-wait-seconds", "seconds", "how long a request waits for the provider before it is answered 202",
			func(c *Config) *int { return &c.PaymentWaitSeconds }),
		number("shutdown-timeout-seconds", "seconds", "bound on a graceful stop",
			func(c *Config) *int { return &c.ShutdownTimeoutSeconds }),
		number("provider-timeout-seconds", "seconds", "how long one call to a provider may take before its outcome is unknown",
			func(c *Config) *int { return &c.ProviderTimeoutSeconds }),
		text("sandbox-url", "url", "base URL of the sandbox provider; without it there is no such provider",
			func(c *Config) *string { return &c.SandboxURL }),
		text("sandbox-key", "key", "credential for the sandbox provider",
			func(c *Config) *string { return &c.SandboxKey }),
		text("sandbox-webhook-secret", "secret", "whsec_… that signs the sandbox's webhooks",
			func(c *Config) *string { return &c.SandboxWebhookSecret }),
		number("task-workers", "tasks", "tasks this node runs at once",
			func(c *Config) *int { return &c.TaskWorkers }),
		number("task-lease-seconds", "seconds", "how long a silent node keeps a task before another takes it over",
			func(c *Config) *int { return &c.TaskLeaseSeconds }),
		number("task-history-days", "days", "how long tasks, attempts, resolved dead letters and ended replays are kept, in whole months",
			func(c *Config) *int { return &c.TaskHistoryDays }),
		logLevelSetting(),
		text("log-format", "format", "json or text",
			func(c *Config) *string { return &c.LogFormat }),
		text("otlp-endpoint", "url", "OpenTelemetry collector, such as http://localhost:4318; without it there is no tracing",
			func(c *Config) *string { return &c.OTLPEndpoint }),
	}
}

func text(name, kind, usage string, field func(*Config) *string) setting {
	return setting{
		name: name, kind: kind, usage: usage,
		show: func(c Config) string { return *field(&c) },
		set: func(c *Config, value string) error {
			*field(c) = value
			return nil
		},
	}
}

func number(name, kind, usage string, field func(*Config) *int) setting {
	return setting{
		name: name, kind: kind, usage: usage,
		show: func(c Config) string { return strconv.Itoa(*field(&c)) },
		set: func(c *Config, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("want a whole number of %s, not %q", kind, value)
			}
			*field(c) = n
			return nil
		},
	}
}

func poolerSetting() setting {
	return setting{
		name: "database-pooler", kind: "mode", usage: "what the database's URL leads to: none, or a pooler in mode transaction",
		show: func(c Config) string { return string(c.DatabasePooler) },
		set: func(c *Config, value string) error {
			c.DatabasePooler = postgres.Pooler(value)
			return nil
		},
	}
}

func rolesSetting() setting {
	return setting{
		name: "roles", kind: "roles", usage: "parts this node plays, separated by commas: api, worker, relay",
		show: func(c Config) string {
			names := make([]string, len(c.Roles))
			for i, r := range c.Roles {
				names[i] = string(r)
			}
			return strings.Join(names, ",")
		},
		set: func(c *Config, value string) error {
			c.Roles = nil
			for name := range strings.SplitSeq(value, ",") {
				if name = strings.TrimSpace(name); name != "" {
					c.Roles = append(c.Roles, Role(name))
				}
			}
			return nil
		},
	}
}

func logLevelSetting() setting {
	return setting{
		name: "log-level", kind: "level", usage: "lowest level that is logged: debug, info, warn or error",
		show: func(c Config) string { return strings.ToLower(c.LogLevel.String()) },
		set: func(c *Config, value string) error {
			var level slog.Level
			if err := level.UnmarshalText([]byte(value)); err != nil {
				return fmt.Errorf("want debug, info, warn or error, not %q", value)
			}
			c.LogLevel = level
			return nil
		},
	}
}

// flagText is a flag that only remembers what was written, so that reading it can report all faults at once.
type flagText struct {
	kind, text string
}

// String implements pflag.Value.
func (f *flagText) String() string { return f.text }

// Set implements pflag.Value.
func (f *flagText) Set(value string) error {
	f.text = value
	return nil
}

// Type implements pflag.Value.
func (f *flagText) Type() string { return f.kind }

// BindSettings adds flags for the named settings, or for all.
func BindSettings(flags *pflag.FlagSet, defaults Config, names ...string) {
	flags.SortFlags = false // what belongs together stays together
	for _, s := range settings() {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		value := &flagText{kind: s.kind}
		if s.name != "node" { // it differs in each process, which would make help differ too
			value.text = s.show(defaults)
		}
		flags.Var(value, s.name, s.usage+" ["+s.variable()+"]")
	}
}

// ReadConfig puts a configuration together: defaults, over them the environment, over it the flags that were given.
// It reports everything that is wrong at once, also a KONTOR_ variable that nothing reads. A variable that is set
// but empty counts as not set. It does not judge the values: Check does, and allWrong tells what both have found.
func ReadConfig(defaults Config, flags *pflag.FlagSet, environ []string) (Config, error) {
	cfg, environment := defaults, map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		environment[name] = value
	}
	problems := unknownVariables(environ)
	cfg.OTLPEndpoint = environment["OTEL_EXPORTER_OTLP_ENDPOINT"]
	for _, s := range settings() {
		flag := flags.Lookup(s.name)
		if flag == nil {
			continue // this verb has no such setting, though the variable is known
		}
		label, value := s.variable(), environment[s.variable()]
		if flag.Changed {
			label, value = "--"+s.name, flag.Value.String()
		} else if value == "" {
			continue
		}
		if err := s.set(&cfg, value); err != nil {
			problems = append(problems, label+": "+err.Error())
		}
	}
	if len(problems) > 0 {
		return cfg, &ConfigError{Problems: problems}
	}
	return cfg, nil
}

// serviceLinkForm is the form of the variables that Kubernetes adds to every container for a service named kontor or
// kontor-…: they look like ours, but nobody wrote them. Those that end in _PORT hold a URL.
const (
	serviceLinkForm    = `^KONTOR(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`
	serviceLinkURLForm = `^KONTOR(_[A-Z0-9_]+)?_PORT=(tcp|udp|sctp)://`
)

// unknownVariables refuses, by name, each KONTOR_ variable that is no setting.
func unknownVariables(environ []string) []string {
	link, linkURL := regexp.MustCompile(serviceLinkForm), regexp.MustCompile(serviceLinkURLForm)
	var known, problems []string
	for _, s := range settings() {
		known = append(known, s.variable())
	}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, name) ||
			name == clientKeyVariable || name == clientURLVariable || name == testKeepVariable || strings.HasPrefix(name, testVariablePrefix) ||
			link.MatchString(name) || linkURL.MatchString(pair) {
			continue
		}
		problem := name + ": there is no such setting"
		if like := nearest(name, known); like != "" {
			problem += "; did you mean " + like + "?"
		}
		problems = append(problems, problem)
	}
	slices.Sort(problems)
	return problems
}

// nearest finds the known name that is most like the given one, if any is like it at all.
func nearest(name string, known []string) string {
	best, bestDistance := "", (len(name)-len(variablePrefix))/3+1
	for _, k := range known {
		if d := distance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is how many characters have to be added, dropped or changed to turn one name into the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
