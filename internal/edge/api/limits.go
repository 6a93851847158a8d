package api

import (
	"context"
	"net/http"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// ConsumeLimit answers POST /v1/limits/consume.
func (s *Server) ConsumeLimit(ctx context.Context, r ConsumeLimitRequestObject) (ConsumeLimitResponseObject, error) {
	return s.once(ctx, http.StatusOK, func(ctx context.Context, tx postgres.Tx) (any, error) {
		granted, retry, err := s.deps.Tasks.ConsumeLimit(ctx, tx, org(ctx), r.Body.Limit, max(1, valueOf(r.Body.Units)))
		return struct {
			Granted bool   `json:"granted"`
			Retry   *int64 `json:"retry_after_milliseconds"`
		}{granted, orNone(retry.Milliseconds())}, err
	})
}
