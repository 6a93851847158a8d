// Package ids makes and shows Kontor's identifiers: UUIDv7 (RFC 9562), stored as uuid, shown as a prefix
// and 26 characters of Crockford's base32, as the TypeID specification (0.3) has it: pay_01h455vb4pex5vsknk084sn02q.
package ids

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ID is a UUID. The zero ID is no id.
type ID [16]byte

// Source makes time-ordered ids. Ids of one Source rise strictly, also within a millisecond, so that rows of one
// batch lie side by side in an index. Safe for concurrent use.
type Source struct {
	now    func() time.Time
	mu     sync.Mutex
	last   uint64 // milliseconds << 12 | sequence
	random [512]byte
	used   int
}

// NewSource makes ids from the given clock.
func NewSource(now func() time.Time) *Source {
	return &Source{now: now, used: 512}
}

// New makes the next id. 12 bits of sequence follow the millisecond (RFC 9562, method 1), then 62 random bits.
func (s *Source) New() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	tick := uint64(s.now().UnixMilli()) << 12
	if tick <= s.last {
		tick = s.last + 1
	}
	s.last = tick
	if s.used == len(s.random) {
		_, _ = rand.Read(s.random[:]) // never fails: it ends the process instead (crypto/rand)
		s.used = 0
	}
	var id ID
	binary.BigEndian.PutUint64(id[0:8], tick>>12<<16|tick&0xfff)
	copy(id[8:], s.random[s.used:s.used+8])
	s.used += 8
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Time is the millisecond in which the id was made.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[0:8]) >> 16)).UTC()
}

// IsZero tells whether it is no id.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids as PostgreSQL orders uuid: by bytes.
func Compare(a, b ID) int { return bytes.Compare(a[:], b[:]) }

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// Format shows an id with its prefix; the zero ID is shown as the empty string.
func Format(prefix string, id ID) string {
	if id.IsZero() {
		return ""
	}
	out := make([]byte, 0, len(prefix)+27)
	out = append(out, prefix...)
	out = append(out, '_')
	hi, lo := binary.BigEndian.Uint64(id[0:8]), binary.BigEndian.Uint64(id[8:16])
	for shift := 125; shift >= 0; shift -= 5 {
		out = append(out, alphabet[bits(hi, lo, shift)])
	}
	return string(out)
}

// bits takes five bits of the 128-bit number, from the given shift.
func bits(hi, lo uint64, shift int) uint64 {
	switch {
	case shift >= 64:
		return hi >> (shift - 64) & 31
	case shift > 59:
		return (hi<<(64-shift) | lo>>shift) & 31
	default:
		return lo >> shift & 31
	}
}

// ErrMalformed is what Parse wraps.
var ErrMalformed = errors.New("malformed id")

// Parse reads an id shown by Format. It is strict: the prefix must match, and only the canonical form is taken.
func Parse(prefix, s string) (ID, error) {
	if len(s) != len(prefix)+27 || s[:len(prefix)] != prefix || s[len(prefix)] != '_' {
		return ID{}, fmt.Errorf("%w: want %s_ and 26 characters", ErrMalformed, prefix)
	}
	digits := s[len(prefix)+1:]
	if digits[0] > '7' {
		return ID{}, fmt.Errorf("%w: out of range", ErrMalformed)
	}
	var hi, lo uint64
	for i := range len(digits) {
		v := value(digits[i])
		if v == 0xff {
			return ID{}, fmt.Errorf("%w: character %q", ErrMalformed, digits[i])
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var id ID
	binary.BigEndian.PutUint64(id[0:8], hi)
	binary.BigEndian.PutUint64(id[8:16], lo)
	return id, nil
}

func value(c byte) byte {
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return byte(i)
		}
	}
	return 0xff
}

// Before is the smallest id of a moment: every id made earlier is below it.
func Before(at time.Time) ID {
	var id ID
	binary.BigEndian.PutUint64(id[0:8], uint64(at.UnixMilli())<<16)
	return id
}
