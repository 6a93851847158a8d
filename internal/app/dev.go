package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/pgserver"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// devDatabase is the database in the private PostgreSQL.
const devDatabase = "kontor"

// devStopTimeout bounds stopping PostgreSQL; after that it is ended without a checkpoint.
const devStopTimeout = 10 * time.Second

// devOptions is what kontor dev can be told, beside the settings.
type devOptions struct {
	dir     string // where data, key and log are kept
	faults  sandbox.Faults
	story   bool // play the first run again
	verbose bool // log to standard error
	config  Config
}

// devDefaults are the settings of a node on a developer's machine: it gives up on the provider soon, so that nobody waits
// long for an answer that was lost on purpose.
func devDefaults() Config {
	cfg := DefaultConfig()
	cfg.ProviderTimeoutSeconds = 2
	cfg.ShutdownTimeoutSeconds = 5
	cfg.LogFormat = telemetry.FormatText
	return cfg
}

func newDevCommand(c *cli) *cobra.Command {
	var o devOptions
	var faults string
	cmd := &cobra.Command{
		Use: "dev", Short: "Start everything on this machine and show that it works", Args: takes(0), GroupID: groupRun,
		Example: "  kontor dev\n  kontor dev --faults heavy --story\n  kontor dev --dir /tmp/second --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0",
		Long: "Starts a private PostgreSQL, the sandbox provider, the API and the workers, plays a short first run, and serves\n" +
			"until it is stopped. Nothing needs to be installed or configured. Everything it keeps is in one directory.",
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", devDirectory, "where data, key and log are kept; remove it to begin anew")
	flags.StringVar(&faults, "faults", "none", "how the provider misbehaves: none, light, heavy, then ,key=value; see kontor sandbox")
	flags.BoolVar(&o.story, "story", false, "play the first run again")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "log here, not to kontor.log in the directory")
	BindSettings(flags, devDefaults(), "listen", "admin-listen", "database-connections-max", "payment-wait-seconds",
		"provider-timeout-seconds", "shutdown-timeout-seconds", "task-workers", "log-level", "log-format", "otlp-endpoint")
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.faults, err = sandbox.ParseFaults(faults); err != nil {
			return fmt.Errorf("%w: --faults: %w", errUsage, err)
		}
		o.config, err = c.config(cmd, devDefaults())
		if err := allWrong(err, o.config.checkButDatabase()); err != nil {
			return err
		}
		// An address that somebody asked for is taken at its word; only the defaults give way.
		if o.config.Listen == devDefaults().Listen && !flags.Changed("listen") {
			o.config.Listen = c.freeAddress(cmd.Context(), o.config.Listen)
		}
		if o.config.AdminListen == devDefaults().AdminListen && !flags.Changed("admin-listen") {
			o.config.AdminListen = c.freeAddress(cmd.Context(), o.config.AdminListen)
		}
		return runDev(cmd.Context(), o, c.process.Out, c.process.Err)
	})
	return cmd
}

// freeAddress gives the address, or one with a free port when that is taken.
func (c *cli) freeAddress(ctx context.Context, address string) string {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		_ = socket.Close()
		return address
	}
	host, port, splitErr := net.SplitHostPort(address)
	if splitErr != nil || !isAddressTaken(err) {
		return address // New says what is wrong with it
	}
	c.printf("Port %s is taken; a free one is used instead.\n", port)
	return net.JoinHostPort(host, "0")
}

// dev is everything that kontor dev has started.
type dev struct {
	devOptions
	out      io.Writer
	postgres *pgserver.Server
	app      *App
	key      string
	witness  string // base URL of the sandbox
	life     lifecycle
}

// runDev starts everything, tells the story and serves until ctx ends. Whatever happens, PostgreSQL is stopped.
func runDev(ctx context.Context, o devOptions, out, errOut io.Writer) (err error) {
	d := &dev{devOptions: o, out: out}
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user has to pass; what is secret has modes of its own
		return fmt.Errorf("make the data directory: %w", err)
	}
	closeLog, err := d.openLog(errOut)
	if err != nil {
		return err
	}
	defer closeLog()
	d.say("Kontor %s, data in %s\n\n", readBuild().Version, d.dir)
	defer func() { err = errors.Join(err, d.close(ctx)) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	return d.serve(ctx)
}

func (d *dev) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

// openLog sends log lines to a file, where they do not drown the story.
func (d *dev) openLog(errOut io.Writer) (func(), error) {
	d.config.LogOutput = errOut
	if d.verbose {
		return func() {}, nil
	}
	const bytesMax = 16 << 20
	path := filepath.Join(d.dir, "kontor.log")
	if info, err := os.Stat(path); err == nil && info.Size() > bytesMax {
		_ = os.Rename(path, path+".old") // else the log only grows further
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	d.config.LogOutput = file
	return func() { _ = file.Close() }, nil
}

// start brings everything up, from the bottom to the top.
func (d *dev) start(ctx context.Context) error {
	if err := d.startPostgres(ctx); err != nil {
		return err
	}
	sandboxListener, err := listen(ctx, "sandbox", "127.0.0.1:0", sandboxTimeout, nil)
	if err != nil {
		return err
	}
	d.witness = sandboxListener.URL()
	secret := webhookSecret()
	d.config.SandboxURL, d.config.SandboxWebhookSecret = d.witness, secret
	if d.app, err = New(ctx, d.config); err != nil {
		sandboxListener.close()
		return err
	}
	provider := sandbox.NewServer(sandbox.ServerConfig{
		Faults: d.faults, WebhookURL: d.app.URL() + hooksPath + "sandbox", WebhookSecret: secret,
		Clock: clock.System, Logger: d.app.log.With("part", "sandbox"),
	})
	if err := d.ensureKey(ctx); err != nil {
		sandboxListener.close()
		return err
	}
	d.life = lifecycle{stages: []stage{
		{budget: seconds(d.config.ShutdownTimeoutSeconds) + time.Second, parts: []part{{"kontor", d.app.Run}}},
		{budget: 2 * time.Second, parts: []part{
			{"sandbox provider", provider.Run},
			sandboxListener.part(provider, time.Second),
			{"PostgreSQL", d.watchPostgres},
		}},
	}}
	return nil
}

func (d *dev) startPostgres(ctx context.Context) error {
	began := clock.System()
	var err error
	d.postgres, err = pgserver.Start(ctx, pgserver.Config{Dir: filepath.Join(d.dir, "postgres")})
	switch {
	case errors.Is(err, pgserver.ErrInUse):
		return fmt.Errorf("another kontor dev is running with the data in %s: stop it, or give this one another --dir", d.dir)
	case err != nil:
		return err
	}
	if err := d.postgres.CreateDatabase(ctx, devDatabase); err != nil {
		return err
	}
	d.config.DatabaseURL = d.postgres.URL(devDatabase)
	if err := writeSecret(filepath.Join(d.dir, devDatabaseURLFile), d.postgres.TCPURL(devDatabase)+"\n"); err != nil {
		return fmt.Errorf("keep the database's URL: %w", err)
	}
	if err := postgres.Migrate(ctx, d.config.DatabaseURL); err != nil {
		return err
	}
	d.say("  PostgreSQL %-10s ready in %d ms, schema up to date\n", d.postgres.Version(), clock.System().Sub(began).Milliseconds())
	return nil
}

// watchPostgres ends when PostgreSQL does: nobody else would say so to who sits before this terminal.
func (d *dev) watchPostgres(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.postgres.Ended():
		return fmt.Errorf("it has ended; why is in %s", filepath.Join(d.dir, "postgres", "postgres.log"))
	}
}

// serve runs everything, tells the story meanwhile, and returns when ctx has ended and all has stopped.
func (d *dev) serve(ctx context.Context) error {
	telling, stopTelling := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.tell(telling)
	}()
	d.life.stopping = func(cause error) {
		stopTelling()
		<-done
		if cause == nil {
			d.say("\nStopping …\n")
		}
	}
	return d.life.run(ctx)
}

// close stops PostgreSQL, and what was started of the rest when not all of it was.
func (d *dev) close(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), devStopTimeout)
	defer cancel()
	if d.app != nil {
		d.app.Close(bounded)
	}
	if d.postgres == nil {
		return nil
	}
	if err := d.postgres.Stop(bounded); err != nil {
		return err
	}
	d.say("Stopped. The data stays in %s; kontor dev goes on with it.\n", d.dir)
	return nil
}

// webhookSecret is made anew at each start: the sandbox that signs with it starts anew as well.
func webhookSecret() string {
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead
	return "whsec_" + base64.StdEncoding.EncodeToString(random[:])
}
