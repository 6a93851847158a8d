package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// readyTimeout bounds one look at everything that readiness depends on.
const readyTimeout = 2 * time.Second

// schemaVersionSQL finds the newest step that was taken. A newer one than this binary knows is well: the schema is
// migrated first, and an older binary keeps working on it.
const schemaVersionSQL = `select coalesce(max(version_id), 0) from goose_db_version where is_applied`

// readiness answers whether the node should be sent work.
type readiness struct {
	db       *postgres.DB
	schema   int64           // the newest step this binary knows
	draining func() bool     // the node is stopping
	stopped  func() []string // parts that ought to be running
}

// report is what /readyz answers: each check is "ok" or says what is wrong.
type report struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"`
}

func (r *readiness) check(ctx context.Context) report {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	checks := map[string]string{"draining": "ok", "parts": "ok", "database": "ok", "schema": "ok"}
	if r.draining() {
		checks["draining"] = "the node is stopping"
	}
	if stopped := r.stopped(); len(stopped) > 0 {
		checks["parts"] = "not running: " + strings.Join(stopped, ", ")
	}
	var version int64
	if err := r.db.Pool().QueryRow(ctx, schemaVersionSQL).Scan(&version); err != nil {
		checks["database"] = "it does not answer" // why is in the log: a probe is no place for driver errors
		checks["schema"] = "unknown"
	} else if version < r.schema {
		checks["schema"] = fmt.Sprintf("it is at step %d, and this binary needs %d: kontor migrate up", version, r.schema)
	}
	out := report{Ready: true, Checks: checks}
	for _, result := range checks {
		out.Ready = out.Ready && result == "ok"
	}
	return out
}

// newAdminHandler is everything that must not be public.
func newAdminHandler(ready *readiness, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		state := ready.check(r.Context())
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !state.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(state)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	// Not the command line: it may hold a password.
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
