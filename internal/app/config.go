package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// Role is a part of the work that a node may take on.
type Role string

// The roles.
const (
	RoleAPI    Role = "api"    // answers HTTP requests
	RoleWorker Role = "worker" // runs tasks and sweeps
	RoleRelay  Role = "relay"  // publishes events to brokers and webhooks
)

// Config is everything a node can be told. Each field is a flag of kontor serve, and the variable KONTOR_ with the
// flag's name in capitals; ReadConfig reads both, and settings.go has the words for people.
type Config struct {
	// DatabaseURL is where PostgreSQL is, as postgres://user:password@host:port/database. Required.
	DatabaseURL string
	// DatabaseConnectionsMax is the size of this node's pool. The sum over all nodes must stay below the server's
	// max_connections.
	DatabaseConnectionsMax int
	// DatabasePooler is what the URL leads to: PostgreSQL itself, or a pooler that gives each transaction another backend.
	DatabasePooler postgres.Pooler

	// Roles are the parts this node plays; at least one.
	Roles []Role
	// Node names this process in leases, attempts and logs. Two living processes must not share a name.
	Node string
	// Listen is the address of the public API. Port 0 takes a free one.
	Listen string
	// AdminListen is the address of health, metrics and profiles. Never make it public.
	AdminListen string

	// RequestTimeoutSeconds bounds one request to the API, from its first byte to the answer's last.
	RequestTimeoutSeconds int
	// PaymentWaitSeconds is how long a request for a payment waits for the provider's answer before it is answered
	// 202. Below RequestTimeoutSeconds.
	PaymentWaitSeconds int
	// ShutdownTimeoutSeconds bounds the whole of a graceful stop. Below the grace period of whatever runs Kontor,
	// which is 30 s in Kubernetes.
	ShutdownTimeoutSeconds int

	// ProviderTimeoutSeconds is how long one call to a provider may take before its outcome counts as unknown.
	ProviderTimeoutSeconds int
	// SandboxURL is the base URL of the sandbox provider. Empty: there is no provider "sandbox".
	SandboxURL string
	// SandboxKey is the credential Kontor presents to the sandbox, which takes any.
	SandboxKey string
	// SandboxWebhookSecret checks the sandbox's webhooks (Standard Webhooks, whsec_…). Empty: none are taken in.
	SandboxWebhookSecret string

	// TaskWorkers is how many tasks this node runs at once.
	TaskWorkers int
	// TaskLeaseSeconds is how long a task stays with a node that has stopped answering before another takes it over.
	TaskLeaseSeconds int
	// TaskHistoryDays is how long tasks, their attempts, dead letters that were resolved and replays that have ended are kept, in
	// whole months that end before that. A month in which a task was queued that is still to be done is kept, and so are open dead letters.
	TaskHistoryDays int

	// LogLevel is the lowest level that is logged.
	LogLevel slog.Level
	// LogFormat is telemetry.FormatJSON or telemetry.FormatText.
	LogFormat string
	// OTLPEndpoint is the base URL of an OpenTelemetry collector. Empty: no traces are made.
	OTLPEndpoint string

	// LogOutput is where log lines go; nil means standard error. The one field that is no setting.
	LogOutput io.Writer
}

// DefaultConfig is the configuration of a node that was told nothing. It has no DatabaseURL, so it does not pass
// Check.
func DefaultConfig() Config {
	return Config{
		DatabaseConnectionsMax: 16,
		DatabasePooler:         postgres.PoolerNone,
		Roles:                  []Role{RoleAPI, RoleWorker, RoleRelay},
		Node:                   nodeName(),
		Listen:                 "127.0.0.1:8080",
		AdminListen:            "127.0.0.1:9464",
		RequestTimeoutSeconds:  35,
		PaymentWaitSeconds:     10,
		ShutdownTimeoutSeconds: 25,
		ProviderTimeoutSeconds: 5,
		SandboxKey:             "sandbox",
		TaskWorkers:            128,
		TaskLeaseSeconds:       30,
		TaskHistoryDays:        90,
		LogLevel:               slog.LevelInfo,
		LogFormat:              telemetry.FormatJSON,
	}
}

// Has tells whether the node plays the role.
func (c Config) Has(role Role) bool {
	for _, r := range c.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// sessionName is how PostgreSQL lists this node. A pooler would have to rename a session whenever it passes from node to
// node, which is a round trip.
func (c Config) sessionName() string {
	if c.DatabasePooler == postgres.PoolerTransaction {
		return "kontor"
	}
	return "kontor " + c.Node
}

// ConfigError is everything that is wrong with a configuration, one sentence each.
type ConfigError struct{ Problems []string }

func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0]
	}
	return fmt.Sprintf("%d settings are wrong:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// allWrong joins what is wrong with a configuration to one error.
func allWrong(errs ...error) error {
	var problems []string
	for _, err := range errs {
		if wrong, ok := errors.AsType[*ConfigError](err); ok {
			problems = append(problems, wrong.Problems...)
		} else if err != nil {
			return err
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &ConfigError{Problems: problems}
}

// nodeName is unique to this process: leases of a crashed process must not look like ours.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "kontor"
	}
	var random [3]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead
	return fmt.Sprintf("%.60s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
