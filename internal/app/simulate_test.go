package app_test

import (
	"strings"
	"testing"
)

func TestSimulateRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		err  []string
	}{
		{"--payments 0 --nodes 99", []string{"--payments must be 1 to 1000000, not 0", "--nodes must be 1 to 16, not 99"}},
		{"--faults moderate", []string{"--faults", `no profile "moderate"`}},
		{"--kill-every 1ms", []string{"--kill-every must be 500ms or more"}},
		{"--kill-database --database-url postgres://u:hush@127.0.0.1:1/x", []string{"--kill-database needs a private PostgreSQL"}},
		{"--fast", []string{"unknown flag: --fast"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			code, out, errOut := kontor(t, nil, append([]string{"simulate"}, strings.Fields(c.args)...)...)
			if code != 2 || out != "" || strings.Contains(errOut, "hush") {
				t.Errorf("exit code %d\nout: %s\nerr: %s", code, out, errOut)
			}
			for _, part := range c.err {
				if !strings.Contains(errOut, part) {
					t.Errorf("%q is not in %s", part, errOut)
				}
			}
		})
	}
}

// A database that cannot be reached is a failure that the exit code tells, and the URL's password is not shown.
func TestSimulateWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	code, _, errOut := kontor(t, nil, "simulate", "--database-url", "postgres://u:hush@127.0.0.1:1/x")
	if code != 1 || !strings.Contains(errOut, "connection refused") || strings.Contains(errOut, "hush") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}
