// Package paging is cursors: opaque to callers, a number, an id and a name inside, bound to the list they came from.
package paging

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The bounds of a page.
const (
	LimitDefault = 20
	LimitMax     = 100
)

// ErrMalformed is returned for a cursor that this list did not give out.
var ErrMalformed = errors.New("malformed cursor")

// Cursor is a position in a list: a number, an id and a name; a list uses some of them.
type Cursor struct {
	Number int64
	ID     ids.ID
	Name   string
}

// IsZero tells whether it is the list's beginning.
func (c Cursor) IsZero() bool { return c == Cursor{} }

const (
	fixedBytes   = 25 // of a cursor, before the name
	nameBytesMax = 255
)

// Cut makes a page of what a list has found that looked for one more than the page holds, and tells where the next one begins: at the
// place of this one's last item, or nowhere, if there was no more.
func Cut[T any](found []T, limit int, place func(last *T) Cursor) ([]T, Cursor) {
	if len(found) <= limit {
		return found, Cursor{}
	}
	return found[:limit], place(&found[limit-1])
}

// Encode writes the cursor for the given list; the beginning is the empty string.
func (c Cursor) Encode(list byte) string {
	if c.IsZero() {
		return ""
	}
	raw := make([]byte, fixedBytes, fixedBytes+len(c.Name))
	raw[0] = list
	binary.BigEndian.PutUint64(raw[1:9], uint64(c.Number))
	copy(raw[9:], c.ID[:])
	return base64.RawURLEncoding.EncodeToString(append(raw, c.Name...))
}

// Decode reads a cursor of the given list; the empty string is the beginning.
func Decode(list byte, s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) < fixedBytes || len(raw) > fixedBytes+nameBytesMax || raw[0] != list || !isName(raw[fixedBytes:]) {
		return Cursor{}, ErrMalformed
	}
	c := Cursor{Number: int64(binary.BigEndian.Uint64(raw[1:9]))}
	copy(c.ID[:], raw[9:])
	c.Name = string(raw[fixedBytes:])
	return c, nil
}

// isName tells whether it is text that PostgreSQL can store.
func isName(raw []byte) bool { return utf8.Valid(raw) && bytes.IndexByte(raw, 0) < 0 }

// Limit puts a wanted page size between its bounds; 0 means the default.
func Limit(wanted int) int {
	if wanted <= 0 {
		return LimitDefault
	}
	return min(wanted, LimitMax)
}
