package postgres

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// isClosed knows the ways in which a connection ends under its user.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED) ||
		strings.Contains(err.Error(), "conn closed") // pgx has no exported error for its own closed connection
}

// withoutURL drops the connection string that pgx puts into its errors: it holds the password.
func withoutURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	if isClosed(err) {
		return err // as the network said it: of a server that hung up at once
	}
	return errors.New("the URL is not one of PostgreSQL: want postgres://user:password@host:port/database")
}
