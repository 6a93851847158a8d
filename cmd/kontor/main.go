// Command kontor is Kontor: see kontor --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/kontorhq/kontor/internal/app"
)

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // so that a second signal ends the process at once
	os.Exit(app.Main(ctx, app.SystemProcess()))
}
