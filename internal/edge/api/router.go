package api

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

func newGate(authenticate authenticator, now clock.Clock, source *ids.Source, timeout time.Duration, registry prometheus.Registerer, logger *slog.Logger) (*gate, error) {
	c, err := loadContract()
	if err != nil {
		return nil, err
	}
	page, err := renderDocs(c.json)
	if err != nil {
		return nil, err
	}
	durations := newDurations(registry)
	for _, op := range c.operations {
		op.figures = newFigures(durations, op.route, op.method)
	}
	return &gate{
		contract: c, authenticate: authenticate, clock: now, ids: source, timeout: timeout, logger: logger, durations: durations, active: newActive(registry), page: page,
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }},
	}, nil
}

// router puts the gate before each route that the generated code registers.
type router struct {
	*http.ServeMux
	gate *gate
}

// HandleFunc registers a route of the contract.
func (r *router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.ServeMux.HandleFunc(pattern, r.gate.wrap(r.gate.contract.operations[pattern], handler))
}

// handler serves the contract with the given server, and problems for everything else.
func (g *gate) handler(server StrictServerInterface) *http.ServeMux {
	mux := http.NewServeMux()
	strict := NewStrictHandlerWithOptions(server, nil, StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  g.refuseBinding,
		ResponseErrorHandlerFunc: func(_ http.ResponseWriter, r *http.Request, err error) { g.fail(callOf(r.Context()), err) },
	})
	HandlerWithOptions(strict, StdHTTPServerOptions{
		BaseRouter: &router{ServeMux: mux, gate: g}, ErrorHandlerFunc: g.refuseBinding,
	})
	mux.HandleFunc("GET /docs", g.docs())
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusSeeOther))
	nothing := &operation{public: true, route: "none", method: "_OTHER", figures: newFigures(g.durations, "none", "_OTHER")}
	mux.HandleFunc("/", g.wrap(nothing, func(_ http.ResponseWriter, r *http.Request) { g.nothingHere(mux, r) }))
	return mux
}

// refuseBinding answers a request whose values the generated code could not read. The gate has checked them against the
// contract, so this is for what the two see differently.
func (g *gate) refuseBinding(_ http.ResponseWriter, r *http.Request, err error) {
	f := fault.New(fault.Invalid, "invalid_request", "The request is not as the contract has it.").Because(err)
	if format, ok := errors.AsType[*InvalidParamFormatError](err); ok {
		f.Param = format.ParamName
	}
	g.fail(callOf(r.Context()), f)
}

// nothingHere answers a path without a route, or one that has other methods.
func (g *gate) nothingHere(mux *http.ServeMux, r *http.Request) {
	var allowed []string
	for _, method := range methods() {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 || slices.Contains(allowed, r.Method) {
		g.fail(callOf(r.Context()), errNotFound)
		return
	}
	slices.Sort(allowed)
	c := callOf(r.Context())
	c.Header().Set("Allow", strings.Join(allowed, ", "))
	g.fail(c, errMethodNotAllowed)
}
