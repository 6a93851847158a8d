package tasks

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/destinations"
)

// keptMax is how much of a body the history keeps, in bytes.
const keptMax = 8 << 10

// message is one side of an exchange as the history has it: redacted, and cut.
type message struct {
	Method     string            `json:"method,omitempty"`
	URL        string            `json:"url,omitempty"`
	Status     int               `json:"status,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"` // where it is no text
	Bytes      int64             `json:"bytes"`
	Truncated  bool              `json:"truncated,omitempty"`
	SHA256     string            `json:"sha256,omitempty"` // of the whole body
}

// keep writes an exchange for the history.
func keep(target *destinations.Target, request *destinations.Request, response *destinations.Response) []byte {
	kept := struct {
		Request    message  `json:"request"`
		Response   *message `json:"response,omitempty"`
		Sent       string   `json:"sent"`
		DurationMS int64    `json:"duration_ms"`
	}{
		Request: message{
			Method: request.Method, URL: request.URL, Headers: flat(target.Redact.Header(withTask(request))), Bytes: int64(len(request.Body)),
		},
		Sent: string(response.Sent), DurationMS: response.Duration.Milliseconds(),
	}
	kept.Request.body(target.Redact.Body(request.Body, keptMax))
	if response.Status != 0 {
		answer := message{
			Status: response.Status, Headers: flat(target.Redact.Header(response.Header)), Bytes: response.Size, SHA256: hex.EncodeToString(response.SHA256),
		}
		answer.body(target.Redact.Body(response.Body, keptMax))
		answer.Truncated = answer.Truncated || response.Truncated
		kept.Response = &answer
	}
	text, _ := json.Marshal(kept) // made of strings and numbers, it always can be
	return text
}

// withTask are the headers that were asked for, and those that tell of the task.
func withTask(r *destinations.Request) http.Header {
	all := r.Header.Clone()
	maps.Copy(all, r.Task)
	return all
}

func (m *message) body(kept []byte, truncated bool) {
	m.Truncated = truncated
	if utf8.Valid(kept) && !strings.ContainsRune(string(kept), 0) {
		m.Body = string(kept)
	} else {
		m.BodyBase64 = kept
	}
}

func flat(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		out[name] = strings.Join(values, ", ")
	}
	return out
}

// unkeepable tells whether the database has refused what it was to keep: it has no room for it (class 53: the disk is full), or it
// cannot be kept at all (22: data that PostgreSQL does not take, 54: too large).
func unkeepable(err error) bool {
	code := postgres.Code(err)
	return strings.HasPrefix(code, "53") || strings.HasPrefix(code, "22") || strings.HasPrefix(code, "54")
}

// withoutExchange leaves out request and answer, and says why: that an attempt has ended matters more than what was said in it.
func (c Completion) withoutExchange(why error) Completion {
	detail := map[string]any{}
	_ = json.Unmarshal(c.Detail, &detail) // none is as good as an empty one
	detail["exchange_lost"] = why.Error()
	c.Exchange, c.Detail = nil, nil
	if text, err := json.Marshal(detail); err == nil { // strings always can be
		c.Detail = text
	}
	return c
}
