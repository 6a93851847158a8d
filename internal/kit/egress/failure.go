package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// Failure names why there is no answer, or not a whole one.
type Failure string

// The failures. Whether the request may have left is told by Response.Sent.
const (
	FailureRequest     Failure = "request_invalid"     // it cannot be written as HTTP
	FailureForbidden   Failure = "address_forbidden"   // the policy refused the address
	FailureResolve     Failure = "name_not_resolved"   // no address for the name
	FailureConnect     Failure = "connect_failed"      // nobody answers there
	FailureTLS         Failure = "tls_failed"          // no trust, or no common language
	FailureCertificate Failure = "certificate_refused" // ours, or that we have none
	FailureTimeout     Failure = "timed_out"           // at any stage
	FailureInterrupted Failure = "interrupted"         // the caller's context was cancelled
	FailureBroken      Failure = "connection_broken"   // closed or reset before the answer was whole
	FailureMalformed   Failure = "response_malformed"  // the answer is not HTTP, or its header is too long
)

// name finds the failure in what the transport says.
func (p *passage) name(ctx context.Context, err error) Failure {
	if errors.Is(err, errWithheld) {
		return FailureInterrupted
	}
	if errors.Is(err, errNotRepeated) {
		return FailureBroken
	}
	if failure := nameCommon(ctx, err); failure != "" {
		return failure
	}
	if _, ok := errors.AsType[*ForbiddenError](err); ok {
		return FailureForbidden
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return FailureConnect
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case isRefusal(err) && !p.kept && !p.answered:
		return FailureCertificate
	case isTLS(err), p.tls && p.conn == nil:
		return FailureTLS
	case p.conn == nil:
		return FailureRequest
	case p.answered && !isCut(err):
		return FailureMalformed
	default:
		return FailureBroken
	}
}

// nameBroken finds the failure of reading a body.
func nameBroken(ctx context.Context, err error) Failure {
	if failure := nameCommon(ctx, err); failure != "" {
		return failure
	}
	return FailureBroken
}

// nameCommon knows what may happen at any stage.
func nameCommon(ctx context.Context, err error) Failure {
	if errors.Is(ctx.Err(), context.Canceled) {
		return FailureInterrupted
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok && ctx.Err() == nil {
		return FailureResolve
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return FailureTimeout
	}
	return ""
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.AlertError](err)
	return ok
}

// isRefusal tells whether the other side says that our certificate will not do. On a new connection that ends the handshake. Since TLS
// 1.3 we may think it over and have written by then. On a kept one it may come after the other side has read, whatever it means then.
func isRefusal(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return false
	}
	switch op.Err.Error() { // the alerts' type is not exported
	case "tls: bad certificate", "tls: unsupported certificate", "tls: revoked certificate", "tls: expired certificate", "tls: unknown certificate",
		"tls: unknown certificate authority", "tls: access denied", "tls: certificate required":
		return true
	}
	return false
}

// isCut tells whether the connection ended rather than said something odd.
func isCut(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}
