// Package paging is cursors: opaque to callers, a list of int64 and ids inside, bound to the list they came from.
package paging

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The bounds of a page.
const (
	LimitDefault = 20
	LimitMax     = 100
)

// ErrMalformed is returned for a cursor that this list did not give out.
var ErrMalformed = errors.New("malformed cursor")

// Cursor is a position in a list: a number and an id; a list uses one or both.
type Cursor struct {
	Number int64
	ID     ids.ID
}

// IsZero tells whether it is the list's beginning.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Encode writes the cursor for the given list; the beginning is the empty string.
func (c Cursor) Encode(list byte) string {
	if c.IsZero() {
		return ""
	}
	var raw [25]byte
	raw[0] = list
	binary.BigEndian.PutUint64(raw[1:9], uint64(c.Number))
	copy(raw[9:], c.ID[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// Decode reads a cursor of the given list; the empty string is the beginning.
func Decode(list byte, s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != 25 || raw[0] != list {
		return Cursor{}, ErrMalformed
	}
	c := Cursor{Number: int64(binary.BigEndian.Uint64(raw[1:9]))}
	copy(c.ID[:], raw[9:])
	return c, nil
}

// Limit puts a wanted page size between its bounds; 0 means the default.
func Limit(wanted int) int {
	if wanted <= 0 {
		return LimitDefault
	}
	return min(wanted, LimitMax)
}
