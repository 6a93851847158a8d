// Command kontor is Kontor: see kontor --help.
package main

import (
	"os"

	"github.com/kontorhq/kontor/internal/app"
)

func main() { os.Exit(app.Main(app.UntilSignalled(), app.SystemProcess())) }
