package destinations

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Redacted stands for what the history must not keep.
const Redacted = "[redacted]"

// secretHeaders are never kept, whatever a destination says.
var secretHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Webhook-Signature",
}

// redactBytesMax is the longest body in which members are looked for; depthMax how deep.
const (
	redactBytesMax = BodyBytesMax
	redactDepthMax = 64
)

// Header is a copy without what must not be kept.
func (r Redact) Header(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		hidden := func(other string) bool { return strings.EqualFold(name, other) }
		if slices.ContainsFunc(secretHeaders, hidden) || slices.ContainsFunc(r.Headers, hidden) {
			values = []string{Redacted}
		}
		out[name] = values
	}
	return out
}

// Body is what may be kept of a body: without the members that the pointers name, and at most bytesMax of it. Of a body
// that is no JSON, so that nothing can be found in it, only its beginning is cut off and nothing hidden; unless there are
// pointers and it looks like JSON that was cut: then nothing of it is kept.
func (r Redact) Body(body []byte, bytesMax int) (kept []byte, truncated bool) {
	if len(r.Pointers) > 0 && len(body) > 0 {
		var hidden bool
		if body, hidden = r.hide(body); hidden {
			return body, true
		}
	}
	if len(body) > bytesMax {
		return body[:bytesMax:bytesMax], true
	}
	return body, false
}

// hide takes members out of a JSON document; whole tells that all of it was taken instead.
func (r Redact) hide(body []byte) (out []byte, whole bool) {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' {
		return body, false
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if len(body) > redactBytesMax || decoder.Decode(&document) != nil {
		return []byte(Redacted), true
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return []byte(Redacted), true // something follows the document
	}
	changed := false
	for _, pointer := range r.Pointers {
		if segments, ok := pointerSegments(pointer); ok {
			document = hideAt(document, segments, 0, &changed)
		}
	}
	if !changed {
		return body, false // as it was sent, to the byte
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(document) != nil {
		return []byte(Redacted), true
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), false
}

// hideAt replaces what the segments lead to. A segment * stands for every member or element.
func hideAt(node any, segments []string, depth int, changed *bool) any {
	if len(segments) == 0 || depth > redactDepthMax {
		*changed = true
		return Redacted
	}
	next, rest := segments[0], segments[1:]
	switch n := node.(type) {
	case map[string]any:
		for name := range n {
			if next == "*" || name == next {
				n[name] = hideAt(n[name], rest, depth+1, changed)
			}
		}
	case []any:
		for i := range n {
			if next == "*" || next == strconv.Itoa(i) {
				n[i] = hideAt(n[i], rest, depth+1, changed)
			}
		}
	}
	return node
}

// pointerSegments reads a JSON pointer (RFC 6901); false when it is none.
func pointerSegments(pointer string) ([]string, bool) {
	if pointer == "" {
		return nil, true
	}
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return nil, false
	}
	segments := strings.Split(rest, "/")
	if len(segments) > redactDepthMax {
		return nil, false
	}
	for i, s := range segments {
		for at := strings.IndexByte(s, '~'); at >= 0; {
			if at+1 == len(s) || s[at+1] != '0' && s[at+1] != '1' {
				return nil, false
			}
			next := strings.IndexByte(s[at+1:], '~')
			if next < 0 {
				break
			}
			at += 1 + next
		}
		segments[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return segments, true
}
