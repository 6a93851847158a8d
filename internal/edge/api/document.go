package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// depthMax bounds how deep a body may nest. The contract's deepest goes to five.
const depthMax = 32

// document is a request body, read once: its value for validation and binding, its canonical form for the fingerprint.
type document struct {
	value     any             // nil, bool, int64, json.Number (what has a fraction), string, []any or map[string]any
	canonical []byte          // members sorted, no insignificant space, strings escaped in one way, numbers as written
	problems  []fault.Problem // numbers that JSON allows and the contract does not anywhere: exponents, beyond 64 bits, many decimals
}

// readDocument is stricter than encoding/json, because two readers of a body must never see two different bodies: no
// member twice, no text that is not UTF-8, no half of a surrogate pair, nothing after the end. It also refuses NUL, which
// PostgreSQL cannot store. valuesMax bounds the memory that a small body can ask for.
func readDocument(raw []byte, valuesMax int) (document, error) {
	r := documentReader{raw: raw, valuesLeft: valuesMax, canonical: make([]byte, 0, len(raw))}
	r.space()
	value, err := r.value(0)
	if err != nil {
		return document{}, err
	}
	if r.space(); r.at < len(r.raw) {
		return document{}, r.malformed("Something follows the end of the JSON text")
	}
	return document{value: value, canonical: r.canonical, problems: r.problems}, nil
}

type documentReader struct {
	raw        []byte
	at         int
	canonical  []byte
	scratch    []byte
	path       []string
	members    []member // of the objects being read, one above the other
	problems   []fault.Problem
	valuesLeft int
}

// member is where an object's member lies in the canonical form.
type member struct {
	name     string
	from, to int
}

func (r *documentReader) malformed(what string, args ...any) error {
	line := 1 + bytes.Count(r.raw[:min(r.at, len(r.raw))], []byte{'\n'})
	f := fault.New(fault.Invalid, "malformed_json", fmt.Sprintf(what, args...)+fmt.Sprintf(" (line %d, byte %d).", line, r.at))
	return f.At(pointer(r.path))
}

// pointer writes a path as a JSON pointer (RFC 6901).
func pointer(path []string) string {
	var b strings.Builder
	for _, token := range path {
		b.WriteByte('/')
		b.WriteString(pointerEscape(token))
	}
	return b.String()
}

func pointerEscape(token string) string {
	if !strings.ContainsAny(token, "~/") {
		return token
	}
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}

func (r *documentReader) space() {
	for r.at < len(r.raw) {
		switch r.raw[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next is the next byte that is not space, or 0 at the end.
func (r *documentReader) next() byte {
	r.space()
	if r.at == len(r.raw) {
		return 0
	}
	return r.raw[r.at]
}

func (r *documentReader) value(depth int) (any, error) {
	if depth > depthMax {
		return nil, r.malformed("The JSON nests deeper than %d levels", depthMax)
	}
	if r.valuesLeft--; r.valuesLeft < 0 {
		return nil, r.malformed("The JSON has more values than this request can need")
	}
	switch c := r.next(); {
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '"':
		return r.text()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == 't':
		return r.literal("true", true)
	case c == 'f':
		return r.literal("false", false)
	case c == 'n':
		return r.literal("null", nil)
	case r.at == len(r.raw):
		return nil, r.malformed("The JSON ends too early")
	default:
		return nil, r.malformed("A value cannot begin with %q", c)
	}
}

func (r *documentReader) literal(word string, value any) (any, error) {
	if !bytes.HasPrefix(r.raw[r.at:], []byte(word)) {
		return nil, r.malformed("There is no such word in JSON; did you mean %s?", word)
	}
	r.at += len(word)
	r.canonical = append(r.canonical, word...)
	return value, nil
}

func (r *documentReader) object(depth int) (any, error) {
	value := make(map[string]any)
	base, start := len(r.members), len(r.canonical)
	r.canonical = append(r.canonical, '{')
	r.at++
	sorted := true
	for c := r.next(); c != '}'; c = r.next() {
		if len(value) > 0 {
			if c != ',' {
				return nil, r.malformed("An object goes on with a comma or ends with }")
			}
			r.at++
			r.canonical = append(r.canonical, ',')
			c = r.next()
		}
		if c != '"' {
			return nil, r.malformed("An object's member begins with its name in double quotes")
		}
		m := member{from: len(r.canonical)}
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		m.name = name
		r.path = append(r.path, name)
		if _, twice := value[name]; twice {
			return nil, r.malformed("The member %q is there twice", name)
		}
		if r.next() != ':' {
			return nil, r.malformed("A member's name is followed by a colon")
		}
		r.at++
		r.canonical = append(r.canonical, ':')
		if value[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
		r.path = r.path[:len(r.path)-1]
		m.to = len(r.canonical)
		sorted = sorted && (len(r.members) == base || r.members[len(r.members)-1].name < name)
		r.members = append(r.members, m)
	}
	r.at++
	if !sorted {
		r.sort(r.members[base:], start)
	}
	r.members = r.members[:base]
	r.canonical = append(r.canonical, '}')
	return value, nil
}

// sort puts the members of the object that begins at start into the order of their names.
func (r *documentReader) sort(members []member, start int) {
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	r.scratch = append(r.scratch[:0], r.canonical[start:]...)
	out := append(r.canonical[:start], '{')
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, r.scratch[m.from-start:m.to-start]...)
	}
	r.canonical = out
}

func (r *documentReader) array(depth int) (any, error) {
	value := make([]any, 0, 4)
	r.canonical = append(r.canonical, '[')
	r.at++
	for c := r.next(); c != ']'; c = r.next() {
		if len(value) > 0 {
			if c != ',' {
				return nil, r.malformed("An array goes on with a comma or ends with ]")
			}
			r.at++
			r.canonical = append(r.canonical, ',')
		}
		r.path = append(r.path, index(len(value)))
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		r.path = r.path[:len(r.path)-1]
		value = append(value, item)
	}
	r.at++
	r.canonical = append(r.canonical, ']')
	return value, nil
}

// index writes an array's index without allocating for the small ones.
func index(i int) string {
	const digits = "0123456789"
	if i < len(digits) {
		return digits[i : i+1]
	}
	return fmt.Sprint(i)
}

// decimalsMax is how many decimals a number of the contract has at most.
const decimalsMax = 3

// number reads a number. Those of the contract fit 64 bits or have few decimals; others are noted, not fatal, so that they are
// reported together with everything else that is wrong.
func (r *documentReader) number() (any, error) {
	start := r.at
	if r.raw[r.at] == '-' {
		r.at++
	}
	digits := r.digits()
	if digits == 0 || digits > 1 && r.raw[r.at-digits] == '0' {
		return nil, r.malformed("This is not a number as JSON writes it")
	}
	whole := r.raw[start:r.at]
	decimals := 0
	if r.at < len(r.raw) && r.raw[r.at] == '.' {
		r.at++
		if decimals = r.digits(); decimals == 0 {
			return nil, r.malformed("This is not a number as JSON writes it")
		}
	}
	exponent, err := r.exponent()
	if err != nil {
		return nil, err
	}
	text := r.raw[start:r.at]
	r.canonical = append(r.canonical, text...)
	value, fits := parseInt64(whole)
	switch {
	case exponent || decimals > decimalsMax:
		r.note("must be a whole number, or one of at most %d decimals, without an exponent", decimalsMax)
	case !fits:
		r.note("must fit a 64-bit integer")
	case decimals > 0:
		return json.Number(text), nil
	}
	return value, nil
}

// exponent tells whether the number goes on with one.
func (r *documentReader) exponent() (bool, error) {
	if r.at == len(r.raw) || r.raw[r.at] != 'e' && r.raw[r.at] != 'E' {
		return false, nil
	}
	if r.at++; r.at < len(r.raw) && (r.raw[r.at] == '+' || r.raw[r.at] == '-') {
		r.at++
	}
	if r.digits() == 0 {
		return false, r.malformed("This is not a number as JSON writes it")
	}
	return true, nil
}

func (r *documentReader) note(detail string, args ...any) {
	r.problems = append(r.problems, fault.Problem{Param: pointer(r.path), Detail: fmt.Sprintf(detail, args...)})
}

func (r *documentReader) digits() int {
	start := r.at
	for r.at < len(r.raw) && r.raw[r.at] >= '0' && r.raw[r.at] <= '9' {
		r.at++
	}
	return r.at - start
}

// parseInt64 reads an optional minus and digits.
func parseInt64(text []byte) (int64, bool) {
	limit := uint64(math.MaxInt64)
	negative := text[0] == '-'
	if negative {
		text = text[1:]
		limit++
	}
	if len(text) > 19 {
		return 0, false
	}
	var n uint64 // 19 digits fit
	for _, c := range text {
		n = n*10 + uint64(c-'0')
	}
	if n > limit {
		return 0, false
	}
	if negative {
		return int64(-n), true
	}
	return int64(n), true
}
