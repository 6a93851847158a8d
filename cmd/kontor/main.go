// Command kontor is Kontor: see kontor --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kontorhq/kontor/internal/app"
)

// echo is how long a second signal counts as the first: a terminal, make and timeout signal the process and its group.
const echo = 300 * time.Millisecond

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(echo, restore) }) // so that a second signal ends the process at once
	os.Exit(app.Main(ctx, app.SystemProcess()))
}
