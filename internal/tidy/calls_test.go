package tidy

import (
	"go/ast"
	"go/types"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ban forbids some functions outside the one place that may call them.
type ban struct {
	functions []string // package path and name; a path that ends in / stands for all below it
	home      []string // packages that may
	instead   string
	excused   exceptions
}

func bans() []ban {
	return []ban{
		{
			functions: []string{"time.Now", "time.Since", "time.Until"}, home: []string{"internal/kit/clock"},
			instead: "the time comes from kit/clock",
			excused: exceptions{
				"internal/kit/lane/lane.go":              "measures how long a batch took, for the metrics",
				"internal/kit/egress/do.go":              "measures how long a request took, for the history",
				"internal/kit/postgres/dial.go":          "deadlines of the operating system's go by its clock",
				"internal/kit/postgres/now.go":           "the database's clock, carried on by the monotonic one",
				"internal/kit/pgserver/pgserver.go":      "measures how long a start took, for the log",
				"internal/kit/postgrestest/template.go":  "names the template after the month whose partitions it has",
				"internal/platform/limits/limits.go":     "leases and periods are measured by the monotonic clock, which nobody sets",
				"internal/platform/destinations/now.go":  "the database's clock, carried on by the monotonic one",
				"internal/platform/events/metrics.go":    "measures how far readers are behind, for the metrics",
				"internal/platform/schedules/metrics.go": "measures how long a tick waits, for the metrics",
				"internal/platform/tasks/lease.go":       "a lease is trusted by the monotonic clock, which nobody sets",
				"internal/platform/tasks/poll.go":        "measures how long rounds and looks take",
				"internal/app/mockapi/moment.go":         "a witness tells arrivals apart by the nanosecond, and by a clock that nobody sets",
				"internal/commerce/payments/work.go":     "measures how long a provider took to answer, for the attempt's history",
				"internal/commerce/payments/metrics.go":  "measures how long a payment took, for the metrics",
			},
		},
		{
			functions: []string{"time.Sleep"}, home: nil,
			instead: "wait for a signal, a timer or the context, whichever comes first",
		},
		{
			functions: []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv"}, home: []string{"internal/app"},
			instead: "the environment is read in internal/app, once",
			excused: exceptions{
				"internal/kit/pgserver/process.go":          "a server's environment is made from ours",
				"internal/kit/postgrestest/cluster.go":      "tests are told their server by variables",
				"internal/kit/postgrestest/shared.go":       "tests are told their cluster by a variable",
				"internal/kit/postgrestest/postgrestest.go": "tests are told by a variable to keep their databases",
				"internal/kit/postgrestest/cluster/main.go": "hands the cluster to the tests in a variable",
			},
		},
		{
			functions: []string{
				"github.com/jackc/pgx/.Begin", "github.com/jackc/pgx/.BeginTx", "github.com/jackc/pgx/.BeginFunc",
				"github.com/jackc/pgx/.BeginTxFunc", "github.com/jackc/pgx/.Commit", "database/sql.Begin", "database/sql.BeginTx", "database/sql.Commit",
				modulePath + "/internal/kit/postgres.Begin", modulePath + "/internal/kit/postgres.BeginTx",
			},
			home: []string{"internal/kit/postgres"}, instead: "transactions are opened by kit/postgres",
		},
		{
			functions: []string{"fmt.Print", "fmt.Printf", "fmt.Println"}, home: []string{"internal/kit/postgrestest/cluster"},
			instead: "write to a writer that the caller gives",
		},
	}
}

// uses finds where a package uses what is banned, called or not.
func (b ban) uses(p *pkg) []finding {
	if slices.ContainsFunc(b.home, func(home string) bool { return p.path == home }) {
		return nil
	}
	var found []finding
	for _, file := range p.files {
		if generated(file) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			if f, ok := p.info.Uses[id].(*types.Func); ok && f.Pkg() != nil && b.covers(f) {
				found = append(found, p.at(id, "%s: %s", f.FullName(), b.instead))
			}
			return true
		})
	}
	return found
}

func (b ban) covers(f *types.Func) bool {
	return slices.ContainsFunc(b.functions, func(banned string) bool {
		dot := strings.LastIndex(banned, ".")
		path, name := banned[:dot], banned[dot+1:]
		return f.Name() == name && (f.Pkg().Path() == path || strings.HasSuffix(path, "/") && strings.HasPrefix(f.Pkg().Path(), path))
	})
}

func TestForbiddenCalls(t *testing.T) {
	t.Parallel()
	for _, b := range bans() {
		hold(t, everywhere(t, b.uses), b.excused)
	}
}

func TestForbiddenCallsAreSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "calls", func(p *pkg) []finding {
		var found []finding
		for _, b := range bans() {
			found = append(found, b.uses(p)...)
		}
		return found
	})
}

// floats finds fractions in commerce, where money is whole numbers: whatever has the type, and whatever is computed in it.
func floats(p *pkg) []finding {
	if !under(p.path, "internal/commerce") {
		return nil
	}
	var found []finding
	for _, file := range p.files {
		seen := map[int]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			basic, ok := types.Unalias(p.info.TypeOf(e)).(*types.Basic)
			line := p.fset.Position(n.Pos()).Line
			if ok && basic.Info()&types.IsFloat != 0 && !seen[line] {
				seen[line] = true
				found = append(found, p.at(n, "a fraction: money and quantities are whole numbers"))
			}
			return true
		})
	}
	return found
}

func TestNoFractionsInCommerce(t *testing.T) {
	t.Parallel()
	hold(t, everywhere(t, floats), exceptions{
		"internal/commerce/payments/store.go":            "an attempt's age comes in seconds by the database's clock",
		"internal/commerce/payments/measure.go":          "Prometheus counts seconds in fractions",
		"internal/commerce/payments/metrics.go":          "Prometheus counts seconds in fractions",
		"internal/commerce/payments/sandbox/api.go":      "shares of requests that meet a fault",
		"internal/commerce/payments/sandbox/chance.go":   "shares of requests that meet a fault",
		"internal/commerce/payments/sandbox/faults.go":   "shares of requests that meet a fault",
		"internal/commerce/payments/sandbox/webhooks.go": "shares of webhooks that meet a fault",
	})
}

func TestFractionsAreSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "floats", floats)
}

// dice finds chance in commerce: what happens to money is decided.
func dice(p *pkg) []finding {
	if !under(p.path, "internal/commerce") {
		return nil
	}
	return imported(p, "math/rand", "math/rand/v2")
}

func imported(p *pkg, banned ...string) []finding {
	var found []finding
	for _, file := range p.files {
		for _, spec := range file.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err == nil && slices.Contains(banned, path) {
				found = append(found, p.at(spec, "imports %s", path))
			}
		}
	}
	return found
}

func TestNoChanceInCommerce(t *testing.T) {
	t.Parallel()
	hold(t, everywhere(t, dice), exceptions{})
}

func TestChanceIsSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "dice", dice)
}

// sleepers finds tests that sleep on the real clock, or that skip: they wait for signals, and what cannot run fails.
func sleepers(p *pkg) []finding {
	var found []finding
	for _, file := range p.tests {
		bubbles := slices.ContainsFunc(file.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"testing/synctest"` })
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, _ := selector.X.(*ast.Ident)
			switch {
			case on == nil:
			case on.Name == "time" && selector.Sel.Name == "Sleep" && !bubbles:
				found = append(found, p.at(n, "a test sleeps: wait for a signal"))
			case slices.Contains([]string{"t", "b", "f"}, on.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, selector.Sel.Name):
				found = append(found, p.at(n, "a test skips: what cannot run must fail"))
			}
			return true
		})
	}
	return found
}

func TestTestsNeitherSleepNorSkip(t *testing.T) {
	t.Parallel()
	hold(t, everywhere(t, sleepers), exceptions{})
}

func TestSleepersAreSeen(t *testing.T) {
	t.Parallel()
	mustReject(t, "sleepers", func(p *pkg) []finding {
		p.tests, p.files = p.files, nil
		return sleepers(p)
	})
}
