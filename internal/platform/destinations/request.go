package destinations

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// Request is one request to a destination.
type Request struct {
	Method         string
	URL            string // a path below the base URL, such as "/charges?limit=3", or an absolute URL on the same host
	Header         http.Header
	Task           http.Header // what Kontor says of the task that asks; names as net/http writes them
	Body           []byte
	IdempotencyKey string        // the same for all attempts of a task
	Traceparent    string        // of what caused it; see W3C Trace Context
	Timeout        time.Duration // shorter than the destination's; 0: the destination's
	// Begin, if there is one, is asked when everything is ready and nothing is written yet; false keeps the request from being sent.
	Begin func() bool
}

// ownHeaders are those that no request may bring: the connection's, which are not the sender's to say, and the host's.
var ownHeaders = []string{
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// ownPrefixes begin the names of headers in which Kontor, or Google's Cloud Tasks in its place, tells of a task. Who receives them has to
// be able to believe them.
var ownPrefixes = []string{"X-Kontor-", "X-Cloudtasks-"}

// isOwn tells whether a header is not the sender's to set.
func isOwn(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return slices.Contains(ownHeaders, name) || slices.ContainsFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// methods that a request may have.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// Unsendable tells what would keep a request from being sent to any destination, whatever that allows.
func (r Request) Unsendable() []fault.Problem {
	_, _, problems := r.prepare(&url.URL{Scheme: "http", Host: "any.destination"}, true)
	return problems
}

// prepare gives the request's whole URL, and whether it leads to another host than the destination's.
func (r Request) prepare(base *url.URL, allowAbsolute bool) (to *url.URL, foreign bool, problems []fault.Problem) {
	refuse := func(param, detail string, args ...any) {
		problems = append(problems, fault.Problem{Param: param, Detail: fmt.Sprintf(detail, args...)})
	}
	if !slices.Contains(methods, r.Method) {
		refuse("http_method", "The method is one of %s.", strings.Join(methods, ", "))
	}
	to, foreign, why := r.resolve(base, allowAbsolute)
	if why != "" {
		refuse("url", "%s", why)
	}
	if len(r.Body) > BodyBytesMax {
		refuse("body", "A body has at most %d bytes.", BodyBytesMax)
	}
	size := 0
	for name, values := range r.Header {
		if !isToken(name) || isOwn(name) {
			refuse("headers", "The header %q is not the sender's to set.", cut(name, 60))
		}
		for _, value := range values {
			size += len(name) + len(value) + 4
			if !isHeaderValue(value) {
				refuse("headers", "The value of the header %q has characters that none may have.", cut(name, 60))
			}
		}
	}
	if size > HeaderBytesMax {
		refuse("headers", "All headers together have at most %d bytes.", HeaderBytesMax)
	}
	if !isHeaderValue(r.IdempotencyKey) || len(r.IdempotencyKey) > 255 {
		refuse("idempotency_key", "An idempotency key has at most 255 characters, and none that a header may not have.")
	}
	return to, foreign, problems
}

// resolve puts the request's URL onto the base. The base's path stays in front of a path, and no dots lead out of it.
func (r Request) resolve(base *url.URL, allowAbsolute bool) (to *url.URL, foreign bool, why string) {
	ref, err := url.Parse(r.URL)
	switch {
	case err != nil || strings.ContainsAny(r.URL, "\\ \t\r\n"):
		return nil, false, "It is no URL."
	case ref.User != nil:
		return nil, false, "Credentials belong to the destination, not into a URL."
	case ref.Fragment != "" || strings.HasSuffix(r.URL, "#"):
		return nil, false, "A fragment is not sent."
	case strings.Contains(ref.RawPath, "%") && ref.RawPath != ref.EscapedPath():
		return nil, false, "A path is percent-encoded either wholly or not at all."
	case hasDots(ref.EscapedPath()):
		return nil, false, "A path has no segments of dots."
	case ref.IsAbs() || ref.Host != "":
		if to, foreign, why = r.absolute(base, ref, allowAbsolute); why != "" {
			return nil, false, why
		}
	case ref.Opaque != "", r.URL != "" && r.URL[0] != '/' && r.URL[0] != '?':
		return nil, false, "A path begins with a slash."
	default:
		whole := *base
		if path := ref.EscapedPath(); path != "" {
			joined := strings.TrimSuffix(base.EscapedPath(), "/") + path
			if whole.Path, err = url.PathUnescape(joined); err != nil {
				return nil, false, "It is no URL."
			}
			whole.RawPath = joined
		}
		whole.RawQuery = ref.RawQuery
		to = &whole
	}
	if len(to.String()) > URLBytesMax {
		return nil, false, fmt.Sprintf("A URL has at most %d characters.", URLBytesMax)
	}
	return to, foreign, ""
}

func (r Request) absolute(base, ref *url.URL, allowed bool) (to *url.URL, foreign bool, why string) {
	switch {
	case ref.Scheme != "http" && ref.Scheme != "https" || ref.Hostname() == "":
		return nil, false, "An absolute URL begins with https://, or http://, and a host."
	case origin(base) == origin(ref):
		return ref, false, ""
	case !allowed:
		return nil, false, "The URL leads to another host than the destination's."
	case base.Scheme == "https" && ref.Scheme != "https":
		return nil, false, "The destination is called over https alone."
	}
	return ref, true, ""
}

// origin is scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return u.Scheme + "://" + strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") + ":" + port
}

// hasDots finds segments that lead up, however they are written.
func hasDots(escaped string) bool {
	for segment := range strings.SplitSeq(escaped, "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return true
		}
		for part := range strings.FieldsFuncSeq(plain, func(r rune) bool { return r == '/' || r == '\\' }) {
			if part == "." || part == ".." {
				return true
			}
		}
	}
	return false
}

// isToken tells whether a text may name a header (RFC 9110).
func isToken(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}

func isHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func cut(s string, bytesMax int) string { return strings.ToValidUTF8(s[:min(len(s), bytesMax)], "") }
