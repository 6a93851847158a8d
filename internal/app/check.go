package app

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// checker gathers what is wrong with a Config.
type checker struct {
	labels   map[string]string
	problems []string
}

func newChecker() *checker {
	k := &checker{labels: map[string]string{}}
	for _, s := range settings() {
		k.labels[s.name] = s.label()
	}
	return k
}

// refuse notes a problem of a setting unless all is well with it.
func (k *checker) refuse(unless bool, name, problem string) {
	if !unless {
		k.problems = append(k.problems, k.labels[name]+": "+problem)
	}
}

func (k *checker) between(name string, value, lowest, highest int) {
	k.refuse(value >= lowest && value <= highest, name,
		"must be "+strconv.Itoa(lowest)+" to "+strconv.Itoa(highest)+", not "+strconv.Itoa(value))
}

func (k *checker) err() error {
	if len(k.problems) == 0 {
		return nil
	}
	return &ConfigError{Problems: k.problems}
}

// Check refuses impossible settings, all of them at once.
func (c Config) Check() error {
	k := newChecker()
	k.database(c.DatabaseURL)
	k.pooler(c.DatabasePooler)
	k.between("database-connections-max", c.DatabaseConnectionsMax, 4, 1000)
	k.roles(c.Roles)
	k.refuse(regexp.MustCompile(`^[A-Za-z0-9._:-]{1,100}$`).MatchString(c.Node), "node",
		"want 1 to 100 letters, digits and ._:-")
	apiPort, adminPort := k.address("listen", c.Listen), k.address("admin-listen", c.AdminListen)
	k.refuse(apiPort <= 0 || apiPort != adminPort, "admin-listen", "must have another port than --listen")
	k.between("request-timeout-seconds", c.RequestTimeoutSeconds, 1, 600)
	k.between("payment-wait-seconds", c.PaymentWaitSeconds, 1, 600)
	k.refuse(c.PaymentWaitSeconds < c.RequestTimeoutSeconds || c.RequestTimeoutSeconds < 1, "payment-wait-seconds",
		"must be below --request-timeout-seconds, or the request ends before its answer")
	k.between("shutdown-timeout-seconds", c.ShutdownTimeoutSeconds, 1, 3600)
	k.between("provider-timeout-seconds", c.ProviderTimeoutSeconds, 1, 300)
	k.webAddress("sandbox-url", c.SandboxURL)
	k.refuse(c.SandboxURL != "" || c.SandboxWebhookSecret == "", "sandbox-webhook-secret", "has no meaning without --sandbox-url")
	k.refuse(c.SandboxKey != "", "sandbox-key", "must not be empty; the sandbox takes any")
	k.refuse(c.SandboxWebhookSecret == "" || strings.HasPrefix(c.SandboxWebhookSecret, "whsec_"), "sandbox-webhook-secret",
		"must begin with whsec_")
	k.between("task-workers", c.TaskWorkers, 1, 10_000)
	k.between("task-lease-seconds", c.TaskLeaseSeconds, 3, 3600)
	k.between("task-history-days", c.TaskHistoryDays, 1, 3660)
	k.refuse(c.LogFormat == telemetry.FormatJSON || c.LogFormat == telemetry.FormatText, "log-format",
		"want json or text, not "+strconv.Quote(c.LogFormat))
	k.webAddress("otlp-endpoint", c.OTLPEndpoint)
	return k.err()
}

// checkButDatabase is Check for a verb that brings the database.
func (c Config) checkButDatabase() error {
	c.DatabaseURL = "postgres://127.0.0.1/" + devDatabase
	return c.Check()
}

// checkDatabase is Check for verbs that only need the database.
func (c Config) checkDatabase() error {
	k := newChecker()
	k.database(c.DatabaseURL)
	k.pooler(c.DatabasePooler)
	return k.err()
}

// database never shows the URL: it holds a password.
func (k *checker) database(databaseURL string) {
	k.refuse(databaseURL != "", "database-url", "is required")
	if databaseURL != "" {
		_, err := pgx.ParseConfig(databaseURL)
		k.refuse(err == nil, "database-url", "want postgres://user:password@host:port/database")
	}
}

func (k *checker) pooler(pooler postgres.Pooler) {
	k.refuse(pooler == postgres.PoolerNone || pooler == postgres.PoolerTransaction, "database-pooler",
		"want none or transaction, not "+strconv.Quote(string(pooler)))
}

func (k *checker) roles(roles []Role) {
	k.refuse(len(roles) > 0, "roles", "want at least one of api, worker, relay")
	seen := map[Role]bool{}
	for _, r := range roles {
		switch r {
		case RoleAPI, RoleWorker, RoleRelay:
			k.refuse(!seen[r], "roles", string(r)+" is there twice")
			seen[r] = true
		default:
			k.refuse(false, "roles", "there is no role "+strconv.Quote(string(r))+"; want api, worker or relay")
		}
	}
}

// address checks host:port and gives the port, or -1.
func (k *checker) address(name, value string) int {
	_, port, err := net.SplitHostPort(value)
	n, portErr := strconv.Atoi(port)
	if err != nil || portErr != nil || n < 0 || n > 65535 {
		k.refuse(false, name, "want host:port, not "+strconv.Quote(value))
		return -1
	}
	return n
}

func (k *checker) webAddress(name, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	k.refuse(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", name,
		"want http://host:port or https://host:port")
}
