package api

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads a string. Most have no escapes: those are copied once, and are their own canonical form.
func (r *documentReader) text() (string, error) {
	start := r.at + 1
	ascii := true
	for i := start; i < len(r.raw); i++ {
		switch c := r.raw[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(r.raw[start:i]) {
				return "", r.malformed("The text is not UTF-8")
			}
			r.at = i + 1
			r.canonical = append(r.canonical, r.raw[start-1:i+1]...)
			return string(r.raw[start:i]), nil
		case c == '\\':
			return r.escapedText(start, i)
		case c < ' ':
			r.at = i
			return "", r.malformed("A control character must be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.at = len(r.raw)
	return "", r.malformed("A text does not end")
}

// escapedText reads a string on from its first escape at i.
func (r *documentReader) escapedText(start, i int) (string, error) {
	out := append(make([]byte, 0, i-start+32), r.raw[start:i]...)
	for r.at = i; r.at < len(r.raw); {
		switch c := r.raw[r.at]; {
		case c == '"':
			if !utf8.Valid(out) {
				return "", r.malformed("The text is not UTF-8")
			}
			r.at++
			r.canonical = appendText(r.canonical, out)
			return string(out), nil
		case c < ' ':
			return "", r.malformed("A control character must be escaped")
		case c == '\\':
			char, err := r.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, char)
		default:
			out = append(out, c)
			r.at++
		}
	}
	return "", r.malformed("A text does not end")
}

// escape reads one escape sequence, or the two of a surrogate pair.
func (r *documentReader) escape() (rune, error) {
	if r.at+1 == len(r.raw) {
		return 0, r.malformed("A text does not end")
	}
	const letters, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	c := r.raw[r.at+1]
	if i := strings.IndexByte(letters, c); i >= 0 {
		r.at += 2
		return rune(meant[i]), nil
	}
	char, ok := r.hex(r.at)
	switch {
	case !ok:
		return 0, r.malformed("There is no such escape in JSON")
	case char == 0:
		return 0, r.malformed("Text cannot hold the character NUL")
	case utf16.IsSurrogate(char):
		low, ok := r.hex(r.at + 6)
		if char = utf16.DecodeRune(char, low); !ok || char == utf8.RuneError {
			return 0, r.malformed("Half of a surrogate pair is no character")
		}
		r.at += 6
	}
	r.at += 6
	return char, nil
}

// hex reads \uXXXX at the given place.
func (r *documentReader) hex(at int) (rune, bool) {
	if at+6 > len(r.raw) || r.raw[at] != '\\' || r.raw[at+1] != 'u' {
		return 0, false
	}
	var char rune
	for _, c := range r.raw[at+2 : at+6] {
		switch {
		case c >= '0' && c <= '9':
			char = char<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			char = char<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return char, true
}

// appendText writes a string with the fewest escapes: the quote, the backslash and control characters.
func appendText(out, text []byte) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
