package tidy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// appModules are the modules that whoever imports client/tx gets into a program, and into go.sum. It needs pgx; the rest comes with
// the packages of the engine that it shares: the metrics of its lanes, the traces of its connections, the steps of its schema.
// A new name here is a burden on every application: think twice. One fewer is good news.
const appModules = `
	github.com/beorn7/perks
	github.com/cespare/xxhash/v2
	github.com/exaring/otelpgx
	github.com/go-logr/logr
	github.com/go-logr/stdr
	github.com/jackc/pgpassfile
	github.com/jackc/pgservicefile
	github.com/jackc/pgx/v5
	github.com/jackc/puddle/v2
	github.com/kontorhq/kontor
	github.com/mfridman/interpolate
	github.com/munnerz/goautoneg
	github.com/pressly/goose/v3
	github.com/prometheus/client_golang
	github.com/prometheus/client_model
	github.com/prometheus/common
	github.com/prometheus/procfs
	github.com/sethvargo/go-retry
	github.com/standard-webhooks/standard-webhooks/libraries
	go.opentelemetry.io/auto/sdk
	go.opentelemetry.io/otel
	go.opentelemetry.io/otel/log
	go.opentelemetry.io/otel/metric
	go.opentelemetry.io/otel/trace
	go.uber.org/multierr
	golang.org/x/sync
	golang.org/x/sys
	golang.org/x/term
	golang.org/x/text
	google.golang.org/protobuf`

// clientModules are those that come with the client for the API.
const clientModules = `
	github.com/apapsch/go-jsonmerge/v2
	github.com/google/uuid
	github.com/kontorhq/kontor
	github.com/oapi-codegen/runtime`

// modulesOf are the modules that a package's imports come from, directly or not.
func modulesOf(t *testing.T, path string) []string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", path)
	c.Dir = "../.."
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	found := strings.Fields(string(out))
	slices.Sort(found)
	return slices.Compact(found)
}

func TestWhatAnApplicationGetsByImportingTheClients(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"./client/tx": appModules, "./client": clientModules} {
		got, want := modulesOf(t, path), strings.Fields(want)
		for _, module := range got {
			if !slices.Contains(want, module) {
				t.Errorf("%s brings %s", path, module)
			}
		}
		for _, module := range want {
			if !slices.Contains(got, module) {
				t.Errorf("%s does without %s: take it off the list", path, module)
			}
		}
	}
}
