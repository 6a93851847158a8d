package app

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kontorhq/kontor/internal/app/mockapi"
	"github.com/kontorhq/kontor/internal/kit/telemetry"
)

// mockTimeout is above the longest time for which the mock API delays or hangs on purpose.
const mockTimeout = 11 * time.Minute

// mockFlags are the flags of the verb as they were written.
type mockFlags struct {
	listenAt           string
	limits             []string
	faults             string
	seed               int64
	bearer, basic, key string
	oauth2, hmac       string
	tokenTTL           time.Duration
	noLimitHeaders     bool
	algorithm          string
	cfg                mockapi.Config
}

func newMockCommand(c *cli) *cobra.Command {
	var f mockFlags
	cmd := &cobra.Command{
		Use: "mock-api", Short: "Run an API with strict limits, which remembers what arrived when", Args: takes(0),
		GroupID: groupRun,
		Long: "Runs a third-party API to test against: it answers any method and path, refuses what is over its limits, misbehaves\n" +
			"as it is told, and keeps an exact record. GET /_mock/summary tells the truth; it is printed at the end as well.\n" +
			"A request may say itself what becomes of it: by path, as in POST /status/503/times/2/orders (the first two requests\n" +
			"of an idempotency key are answered 503), or by the headers X-Mock-Status, X-Mock-Drop and so on.",
		Example: "  kontor mock-api --limit 50/1s --limit 5000/24h\n" +
			"  kontor mock-api --limit header:X-Tenant=10/1s --max-concurrent 20\n" +
			"  kontor mock-api --faults light,seed=7,error_503=5%,latency=5ms..50ms\n" +
			"  kontor mock-api --require-oauth2 client:secret --token-ttl 30s",
	}
	f.bind(cmd)
	BindSettings(cmd.Flags(), DefaultConfig(), "log-level", "log-format")
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.read(cmd)
		if err != nil {
			return err
		}
		return c.runMock(cmd, cfg, f.listenAt)
	})
	return cmd
}

func (f *mockFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listenAt, "listen", "127.0.0.1:7302", "address; port 0 takes a free one")
	flags.StringArrayVar(&f.limits, "limit", nil,
		"count/period, as in 50/1s or 5000/d; header:NAME=10/1s for each value of a header, likewise query:NAME and path:N; may be repeated")
	flags.StringVar(&f.algorithm, "algorithm", string(mockapi.SlidingWindow), "how limits count: sliding_window, fixed_window or token_bucket")
	flags.BoolVar(&f.cfg.Limits.CountRefused, "count-refused", false, "refused requests count against the limits as well")
	flags.IntVar(&f.cfg.Limits.MaxConcurrent, "max-concurrent", 0, "requests at once; 0: any number")
	flags.IntVar(&f.cfg.Limits.CrowdedStatus, "max-concurrent-status", 429, "the answer to a request over --max-concurrent: 429 or 503")
	flags.StringVar(&f.cfg.RetryAfterStyle, "retry-after-style", mockapi.StyleSeconds, "of Retry-After: seconds or http-date")
	flags.StringVar(&f.cfg.ResetStyle, "reset-style", mockapi.StyleUnix, "of X-RateLimit-Reset: unix or seconds")
	flags.BoolVar(&f.noLimitHeaders, "no-limit-headers", false, "say nothing of the limits but Retry-After")
	flags.StringVar(&f.faults, "faults", "none",
		"none, light or heavy, and details, as in light,error_503=5%,latency=5ms..50ms; the reference has all")
	flags.Int64Var(&f.seed, "seed", 0, "what the faults are drawn from; the same as seed= in --faults")
	flags.BoolVar(&f.cfg.IgnoreIdempotencyKeys, "ignore-idempotency-keys", false, "a repeated request has its effect again")
	flags.StringVar(&f.bearer, "require-bearer", "", "TOKEN that every request must show")
	flags.StringVar(&f.key, "require-api-key", "", "KEY that every request must show as X-Api-Key; or HEADER:KEY")
	flags.StringVar(&f.basic, "require-basic", "", "USER:PASSWORD that every request must show")
	flags.StringVar(&f.oauth2, "require-oauth2", "", "CLIENT:SECRET that POST /oauth/token takes; every request must show a token from there")
	flags.DurationVar(&f.tokenTTL, "token-ttl", time.Minute, "how long such a token is good")
	flags.StringVar(&f.hmac, "require-hmac", "", "SECRET by which every request must be signed")
	flags.IntVar(&f.cfg.RecordMax, "record-max", mockapi.RecordMaxDefault, "arrivals, and keys, that are remembered; the oldest are dropped")
}

// read makes a configuration of the flags and reports everything that is wrong at once.
func (f *mockFlags) read(cmd *cobra.Command) (mockapi.Config, error) {
	cfg := f.cfg
	var problems []string
	report := func(flag string, err error) {
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			problems = append(problems, flag+strings.TrimSpace(line))
		}
	}
	var err error
	cfg.Limits.Limits, err = mockapi.ParseLimits(f.limits)
	report("--limit: ", err)
	cfg.Limits.Algorithm = mockapi.Algorithm(f.algorithm)
	cfg.Faults, err = mockapi.ParseFaults(f.faults)
	report("--faults: ", err)
	if cmd.Flags().Changed("seed") {
		cfg.Faults.Seed = f.seed
	}
	cfg.OmitLimitHeaders = f.noLimitHeaders
	cfg.Auth, err = f.auth()
	report("", err)
	if len(problems) == 0 {
		report("", cfg.Check())
	}
	if len(problems) > 0 {
		return mockapi.Config{}, &ConfigError{Problems: problems}
	}
	return cfg, nil
}

// auth is the one credential that is demanded, if any is.
func (f *mockFlags) auth() (mockapi.Auth, error) {
	var demanded []mockapi.Auth
	var problems []error
	pair := func(flag, text string, auth mockapi.Auth) {
		if text == "" {
			return
		}
		var found bool
		if auth.User, auth.Password, found = strings.Cut(text, ":"); !found {
			problems = append(problems, fmt.Errorf("--%s: want two parts with a colon between them", flag))
		}
		demanded = append(demanded, auth)
	}
	if f.bearer != "" {
		demanded = append(demanded, mockapi.Auth{Kind: mockapi.AuthBearer, Token: f.bearer})
	}
	if f.key != "" {
		auth := mockapi.Auth{Kind: mockapi.AuthAPIKey, Token: f.key}
		if header, key, found := strings.Cut(f.key, ":"); found {
			auth.Header, auth.Token = header, key
		}
		demanded = append(demanded, auth)
	}
	pair("require-basic", f.basic, mockapi.Auth{Kind: mockapi.AuthBasic})
	seconds := int((f.tokenTTL + time.Second - 1) / time.Second)
	pair("require-oauth2", f.oauth2, mockapi.Auth{Kind: mockapi.AuthOAuth2, TokenTTLSeconds: seconds})
	if f.hmac != "" {
		demanded = append(demanded, mockapi.Auth{Kind: mockapi.AuthHMAC, Secret: f.hmac})
	}
	if len(demanded) > 1 {
		problems = append(problems, errors.New("--require-…: one kind of credential can be demanded at a time"))
	}
	if len(demanded) == 0 || len(problems) > 0 {
		return mockapi.Auth{}, errors.Join(problems...)
	}
	return demanded[0], nil
}

// runMock serves until it is told to stop, and then tells what it saw.
func (c *cli) runMock(cmd *cobra.Command, cfg mockapi.Config, listenAt string) error {
	settings, err := c.config(cmd, DefaultConfig())
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	tel, err := telemetry.New(ctx, telemetry.Config{
		Service: "kontor-mock-api", LogLevel: settings.LogLevel, LogFormat: settings.LogFormat, Output: c.process.Err,
	})
	if err != nil {
		return err
	}
	defer func() { _ = tel.Shutdown(ctx) }()
	cfg.Logger = tel.Logger
	server, err := mockapi.New(cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	l, err := listen(ctx, "mock API", listenAt, mockTimeout, tel.Logger)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		err = c.printJSON(map[string]string{"url": l.URL(), "control_url": l.URL() + "/_mock/"})
	} else {
		c.printf("The mock API listens on %s; the truth is at %s/_mock/summary\n", l.URL(), l.URL())
	}
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		server.Close() // who hangs is let go
		return nil
	})
	group.Go(func() error { return l.serve(ctx, server, time.Second) })
	if err := group.Wait(); err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	return c.tellMock(cmd, server.Summary())
}

// tellMock prints what the mock API saw.
func (c *cli) tellMock(cmd *cobra.Command, s mockapi.Summary) error {
	if wantsJSON(cmd) {
		return c.printJSON(s)
	}
	s.WriteText(c.process.Out)
	return nil
}
