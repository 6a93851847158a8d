package app

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run works until ctx ends, then stops within Config.ShutdownTimeoutSeconds: first what takes requests in, then the
// workers, then the lanes they hand their outcomes to, at last the pool. The error names what was still running. Call it
// once; the App is closed afterwards.
func (a *App) Run(ctx context.Context) error {
	a.log.InfoContext(ctx, "started", "api", a.URL(), "admin", a.AdminURL(), "roles", a.cfg.Roles)
	err := a.life.run(ctx)
	if err != nil {
		a.log.ErrorContext(ctx, "stopped, but not as it should", "error", err)
	} else {
		a.log.InfoContext(ctx, "stopped")
	}
	return errors.Join(err, a.closeWithin(ctx, a.budget(sharePool)))
}

// announceStop makes the node not ready before anything of it stops.
func (a *App) announceStop(cause error) {
	a.draining.Store(true)
	if cause != nil {
		a.log.Error("stopping because a part has failed", "error", cause)
		return
	}
	a.log.Info("stopping", "within", seconds(a.cfg.ShutdownTimeoutSeconds).String())
}

// closeWithin closes the App; a connection that somebody still holds must not hold up the end.
func (a *App) closeWithin(ctx context.Context, budget time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Close(ctx)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the database connections were still in use at the end")
	}
}
