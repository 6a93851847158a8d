// Command cluster runs a command with a PostgreSQL cluster for tests, so that all test processes share one:
//
//	go run ./internal/kit/postgrestest/cluster go test ./...
//
// Without a command it prints how to reach the cluster and runs until it is interrupted: tests then start fastest, and
// the databases of failed ones (KONTOR_KEEP_DB=1) can be looked at. With -find it only says where the server's binaries
// are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/kontorhq/kontor/internal/kit/pgserver"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
)

func main() {
	dir := flag.String("dir", "", "the cluster's directory; empty means any that is free")
	find := flag.Bool("find", false, "print the directory of the server's binaries and end")
	flag.Parse()
	if *find {
		binDir, err := pgserver.FindBinaries()
		if err != nil {
			fmt.Fprintln(os.Stderr, "test cluster:", err)
			os.Exit(1)
		}
		fmt.Println(binDir)
		return
	}
	code, err := run(*dir, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "test cluster:", err)
	}
	os.Exit(code)
}

func run(dir string, command []string) (code int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	c, err := postgrestest.StartCluster(ctx, dir, nil)
	if err != nil {
		return 1, err
	}
	defer func() {
		const patience = 30 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if stopErr := c.Stop(ctx); stopErr != nil {
			code, err = max(code, 1), errors.Join(err, stopErr)
		}
	}()
	if len(command) == 0 {
		fmt.Printf("export %s='%s'\n# or from another user: psql '%s'\n", postgrestest.URLEnv, c.URL("postgres"), c.TCPURL("postgres"))
		<-ctx.Done()
		return 0, nil
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), postgrestest.URLEnv+"="+c.URL("postgres"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if os.Getenv(postgrestest.KeepEnv) == "1" {
			fmt.Printf("the databases kept: go run ./internal/kit/postgrestest/cluster -dir %s\n", c.Dir)
		}
		return max(exit.ExitCode(), 1), nil // the command has said why
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
