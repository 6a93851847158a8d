package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// echo is how long a second signal counts as the first: a terminal, make and timeout signal the process and its group.
const echo = 500 * time.Millisecond

// UntilSignalled is a context that ends when the process is asked to stop. A second request ends the process at once.
func UntilSignalled() context.Context {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(echo, restore) })
	return ctx
}
