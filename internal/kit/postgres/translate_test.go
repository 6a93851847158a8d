package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// What the driver says is for the log. What a caller is shown is ours, whatever went wrong.
func TestNothingOfTheDriverIsShown(t *testing.T) {
	t.Parallel()
	const secret = "users_email_key (email)=(ada@example.org)"
	server := func(code string) error {
		return &pgconn.PgError{Severity: "ERROR", Code: code, Message: secret, Detail: secret, Hint: secret, Where: secret, ConstraintName: secret, TableName: secret}
	}
	ours := fault.New(fault.Conflict, "no_luck", "Not today.")
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
	}{
		"serialisation":      {server("40001"), fault.Unavailable},
		"deadlock":           {server("40P01"), fault.Unavailable},
		"lock":               {server("55P03"), fault.Unavailable},
		"connection":         {server("08006"), fault.Unavailable},
		"shutdown":           {server("57P01"), fault.Unavailable},
		"crash":              {server("57P02"), fault.Unavailable},
		"starting":           {server("57P03"), fault.Unavailable},
		"too many":           {server("53300"), fault.Unavailable},
		"idle":               {server("25P03"), fault.Unavailable},
		"statement timeout":  {server("57014"), fault.Internal},
		"unique":             {server("23505"), fault.Internal},
		"foreign key":        {server("23503"), fault.Internal},
		"check":              {server("23514"), fault.Internal},
		"syntax":             {server("42601"), fault.Internal},
		"text":               {server("22021"), fault.Internal},
		"no code":            {server(""), fault.Internal},
		"disk":               {server("53100"), fault.Internal},
		"end":                {fmt.Errorf("%s: %w", secret, io.EOF), fault.Unavailable},
		"cut":                {fmt.Errorf("%s: %w", secret, io.ErrUnexpectedEOF), fault.Unavailable},
		"closed":             {fmt.Errorf("%s: %w", secret, net.ErrClosed), fault.Unavailable},
		"conn closed":        {errors.New(secret + ": conn closed"), fault.Unavailable},
		"reset":              {fmt.Errorf("%s: %w", secret, syscall.ECONNRESET), fault.Unavailable},
		"pipe":               {fmt.Errorf("%s: %w", secret, syscall.EPIPE), fault.Unavailable},
		"refused":            {fmt.Errorf("%s: %w", secret, syscall.ECONNREFUSED), fault.Unavailable},
		"name":               {&net.DNSError{Err: secret, Name: secret}, fault.Unavailable},
		"other":              {errors.New(secret), fault.Internal},
		"deadline":           {fmt.Errorf("%s: %w", secret, context.DeadlineExceeded), fault.Internal},
		"canceled":           {fmt.Errorf("%s: %w", secret, context.Canceled), fault.Internal},
		"again":              {fmt.Errorf("%s: %w", secret, ErrAgain), fault.Unavailable},
		"ours":               {fmt.Errorf("%s: %w", secret, ours), fault.Conflict},
		"ours, with a cause": {ours.Because(server("23505")), fault.Conflict},
	} {
		err := translate(fmt.Errorf("write the users: %w", c.err))
		f := fault.From(err)
		if f.Kind != c.kind {
			t.Errorf("%s: is %s, want %s", name, f.Kind, c.kind)
		}
		shown := fmt.Sprint(f.Code, f.Detail, f.Param, f.Params)
		if strings.Contains(shown, "ada") || strings.Contains(shown, "users") || strings.Contains(shown, "SQLSTATE") {
			t.Errorf("%s: is shown as %q", name, shown)
		}
		if (f.Kind == fault.Unavailable) != (f.RetryAfter > 0) {
			t.Errorf("%s: come back after %s", name, f.RetryAfter)
		}
		if !errors.Is(err, c.err) && !strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the log does not learn what happened: %v", name, err)
		}
	}
}

// A server that hangs up as soon as it is reached is not a wrong URL.
func TestWhatIsSaidOfAServerThatHangsUp(t *testing.T) {
	t.Parallel()
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, errors.New("conn closed")} {
		if said := withoutURL(closed); !errors.Is(said, closed) {
			t.Errorf("of %q is said: %v", closed, said)
		}
	}
	_, err := pgconn.ParseConfig("nowhere password=secret")
	if said := withoutURL(err); strings.Contains(said.Error(), "secret") {
		t.Errorf("the password is shown: %v", said)
	}
}
