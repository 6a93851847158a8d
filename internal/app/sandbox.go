package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// sandboxTimeout is above the longest time for which the sandbox hangs on purpose.
const sandboxTimeout = 40 * time.Second

func newSandboxCommand(c *cli) *cobra.Command {
	var listenAt, faults string
	var cfg sandbox.ServerConfig
	cmd := &cobra.Command{
		Use: "sandbox", Short: "Run the sandbox provider, which remembers what it really charged", Args: takes(0),
		Example: "  kontor sandbox\n  kontor sandbox --faults light,seed=7,hang_after=0.1",
		GroupID: groupRun,
		Long: "Runs a payment provider to test against, with its own memory of every charge it really made. The payment\n" +
			"method's token chooses the outcome (tok_approved, tok_declined, tok_insufficient_funds,\n" +
			"tok_timeout_after_charge, …); a fault profile makes it misbehave. GET /witness/summary tells the truth.",
	}
	flags := cmd.Flags()
	flags.StringVar(&listenAt, "listen", "127.0.0.1:7301", "address; port 0 takes a free one")
	flags.StringVar(&faults, "faults", "none", "none, light or heavy, then ,key=value for details, as in light,seed=7,hang_after=0.1")
	flags.StringVar(&cfg.WebhookURL, "webhook-url", "", "where webhooks are sent; none without it")
	flags.StringVar(&cfg.WebhookSecret, "webhook-secret", "", "whsec_… that signs the webhooks")
	flags.DurationVar(&cfg.SettleDelay, "settle-delay", sandbox.SettleDelayDefault, "how long tok_requires_time takes")
	flags.DurationVar(&cfg.AuthorisationTTL, "authorisation-ttl", sandbox.AuthorisationTTLDefault, "how long an authorisation can be captured")
	BindSettings(flags, DefaultConfig(), "log-level", "log-format")
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		var err error
		if cfg.Faults, err = sandbox.ParseFaults(faults); err != nil {
			return fmt.Errorf("%w: --faults: %w", errUsage, err)
		}
		return c.runSandbox(cmd, cfg, listenAt)
	})
	return cmd
}

func (c *cli) runSandbox(cmd *cobra.Command, cfg sandbox.ServerConfig, listenAt string) error {
	settings, err := c.config(cmd, DefaultConfig())
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	tel, err := telemetry.New(ctx, telemetry.Config{
		Service: "kontor-sandbox", LogLevel: settings.LogLevel, LogFormat: settings.LogFormat, Output: c.process.Err,
	})
	if err != nil {
		return err
	}
	defer func() { _ = tel.Shutdown(ctx) }()
	cfg.Clock, cfg.Logger = clock.System, tel.Logger
	l, err := listen(ctx, "sandbox", listenAt, sandboxTimeout, tel.Logger)
	if err != nil {
		return err
	}
	server := sandbox.NewServer(cfg)
	c.printf("The sandbox provider listens on %s; the truth is at %s/witness/summary\n", l.URL(), l.URL())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { return l.serve(ctx, server, time.Second) })
	if err := group.Wait(); err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}
