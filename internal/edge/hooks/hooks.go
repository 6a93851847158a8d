// Package hooks takes in the webhooks of payment providers: POST /hooks/{provider}.
//
// A provider is answered 204 only once its notification is durable, because that is when it stops repeating it. Nothing
// is decided here: a notification makes Kontor ask the provider what happened. It owns no tables.
package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// The bounds of one notification.
const (
	bodyBytesMax = 256 << 10
	timeout      = 15 * time.Second
)

// receiver takes a notification in: payments.Payments.Receive.
type receiver func(ctx context.Context, provider string, header http.Header, body []byte) error

// Hooks answers providers. Safe for concurrent use.
type Hooks struct {
	receive  receiver
	ids      *ids.Source
	logger   *slog.Logger
	received *prometheus.CounterVec
}

// New makes the hooks; p must be running.
func New(p *payments.Payments, source *ids.Source, registry prometheus.Registerer, logger *slog.Logger) *Hooks {
	return newHooks(p.Receive, source, registry, logger)
}

func newHooks(receive receiver, source *ids.Source, registry prometheus.Registerer, logger *slog.Logger) *Hooks {
	received := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kontor_webhooks_received_total", Help: "Notifications of providers, by the status they were answered with. 401 and 400 that grow: the webhook secret is not the provider's.",
	}, []string{"status"})
	for _, status := range []int{
		http.StatusNoContent, http.StatusBadRequest, http.StatusUnauthorized, http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		received.WithLabelValues(strconv.Itoa(status))
	}
	registry.MustRegister(received)
	return &Hooks{receive: receive, ids: source, logger: logger, received: received}
}

// Handler serves POST /hooks/{provider}; mount it at /hooks/.
func (h *Hooks) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks/{provider}", h.take)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		requestID := h.begin(w)
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			h.refuse(r.Context(), w, requestID, fault.New(fault.Invalid, "method_not_allowed", "Webhooks are sent with POST."))
			return
		}
		h.refuse(r.Context(), w, requestID, fault.New(fault.NotFound, "not_found", "Webhooks are taken at /hooks/{provider}."))
	})
	return mux
}

// begin names a request, to its sender too.
func (h *Hooks) begin(w http.ResponseWriter) string {
	requestID := ids.Format("req", h.ids.New())
	w.Header().Set("Request-Id", requestID)
	return requestID
}

func (h *Hooks) take(w http.ResponseWriter, r *http.Request) {
	requestID := h.begin(w)
	ctx, cancel := context.WithTimeout(telemetry.WithRequestID(r.Context(), requestID), timeout)
	defer cancel()
	defer func() {
		p := recover()
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		if p != nil {
			h.refuse(ctx, w, requestID, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		h.refuse(ctx, w, requestID, fault.New(fault.Invalid, "request_too_large", "A webhook has at most 256 KiB."))
		return
	}
	if err != nil {
		h.refuse(ctx, w, requestID, fault.New(fault.Invalid, "invalid_request", "The body did not arrive as a whole.").Because(err))
		return
	}
	provider := r.PathValue("provider")
	if err := h.receive(ctx, provider, r.Header, body); err != nil {
		h.refuse(ctx, w, requestID, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	h.received.WithLabelValues(strconv.Itoa(http.StatusNoContent)).Inc()
	h.logger.LogAttrs(ctx, slog.LevelInfo, "webhook", slog.String("provider", provider), slog.Int("status", http.StatusNoContent))
}

// refuse answers with a problem. Everything that may go away by itself is answered so that the provider repeats it.
func (h *Hooks) refuse(ctx context.Context, w http.ResponseWriter, requestID string, err error) {
	f := fault.From(err)
	status := statusOf(f)
	if f.Kind == fault.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		f = fault.New(fault.Unavailable, "timeout", "The webhook could not be recorded in time; send it again.").Because(err)
		status = http.StatusServiceUnavailable
	}
	body, _ := json.Marshal(map[string]any{ // strings and an integer: it cannot fail
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": f.Detail, "code": f.Code, "request_id": requestID,
	})
	w.Header().Set("Content-Type", "application/problem+json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever sent it may have gone
	h.received.WithLabelValues(strconv.Itoa(status)).Inc()
	level := slog.LevelWarn
	if status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.logger.LogAttrs(ctx, level, "webhook refused", slog.Int("status", status), slog.String("error", f.Error()))
}

func statusOf(f *fault.Fault) int {
	switch f.Code {
	case "request_too_large":
		return http.StatusRequestEntityTooLarge
	case "method_not_allowed":
		return http.StatusMethodNotAllowed
	}
	return f.Kind.Status()
}
