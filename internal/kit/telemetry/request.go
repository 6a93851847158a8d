package telemetry

import "context"

type requestIDKey struct{}

// WithRequestID gives everything done under the context the request's id: each log line carries it.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID is the id given by WithRequestID, or the empty string.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
