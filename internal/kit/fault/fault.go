// Package fault is Kontor's one error type that may be shown to a caller: a kind, a stable code and a
// sentence. Every other error is internal: logged, and shown as "internal" without its text.
package fault

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind says who has to act.
type Kind string

// The kinds.
const (
	Invalid         Kind = "invalid"
	Unauthenticated Kind = "unauthenticated"
	Forbidden       Kind = "forbidden"
	NotFound        Kind = "not_found"
	Conflict        Kind = "conflict"
	Limited         Kind = "limited"
	Unavailable     Kind = "unavailable" // nothing is known to have happened; the same request may be repeated
	Internal        Kind = "internal"
)

// Status is the HTTP status of a kind, where nothing says more of a code.
func (k Kind) Status() int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Limited:
		return http.StatusTooManyRequests
	case Unavailable:
		return http.StatusServiceUnavailable
	case Internal:
	}
	return http.StatusInternalServerError
}

// Fault is an error with a stable code. Detail is for people and may change; Code may not.
type Fault struct {
	Kind       Kind
	Code       string
	Detail     string
	Param      string        // the field at fault, as a JSON pointer or a parameter's name; may be empty
	RetryAfter time.Duration // when a repeat makes sense; 0 means unsaid
	Params     []Problem     // every problem of a request, where several were found at once
	cause      error
}

// Problem is one of several things wrong with a request.
type Problem struct {
	Param  string
	Detail string
}

func (f *Fault) Error() string {
	if f.cause != nil {
		return f.Code + ": " + f.Detail + ": " + f.cause.Error()
	}
	return f.Code + ": " + f.Detail
}

// Unwrap gives the cause, which is for the log only.
func (f *Fault) Unwrap() error { return f.cause }

// Is makes two faults equal when their codes are, so that errors.Is works with a fault declared once.
func (f *Fault) Is(target error) bool {
	var other *Fault
	return errors.As(target, &other) && other.Code == f.Code
}

// New makes a fault; detail may have verbs.
func New(kind Kind, code, detail string, args ...any) *Fault {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	return &Fault{Kind: kind, Code: code, Detail: detail}
}

// At returns a copy that names the parameter at fault.
func (f *Fault) At(param string) *Fault {
	g := *f
	g.Param = param
	return &g
}

// After returns a copy that says when to come back.
func (f *Fault) After(d time.Duration) *Fault {
	g := *f
	g.RetryAfter = d
	return &g
}

// Because returns a copy that carries its cause, for the log.
func (f *Fault) Because(cause error) *Fault {
	g := *f
	g.cause = cause
	return &g
}

// From finds the fault in err's chain. Anything else becomes an internal fault that keeps err as its cause.
func From(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return New(Internal, "internal", "Something went wrong on our side; the request id finds it in the log.").Because(err)
}

// KindOf is From(err).Kind.
func KindOf(err error) Kind { return From(err).Kind }
