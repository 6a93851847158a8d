// stands in internal/commerce/fixture

package fixture // want: no documentation

import (
	"embed"
	"errors"
	"io"
	"regexp"
	"sync"
)

// ErrNone is as good as a constant.
var ErrNone = errors.New("none")

var form = regexp.MustCompile(`^x$`)

//go:embed form.go
var files embed.FS

var _ io.Closer = (*thing)(nil)

var table = map[string]int{"one": 1}

var (
	mu      sync.Mutex         // want: mu
	counter int                // want: counter
	cache   = map[string]int{} // want: cache
)

// Registry can be written to by anyone.
var Registry = map[string]int{} // want: Registry

type thing struct{}

func (*thing) Close() error { return ErrNone }

func (*thing) init() {}

func init() { // want: init
	cache["x"] = table["one"] + counter
}
