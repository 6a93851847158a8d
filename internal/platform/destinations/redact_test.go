package destinations

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestWhatIsHiddenOfABody(t *testing.T) {
	t.Parallel()
	const card = `{"card":{"number":"4242","brand":"visa"},"items":[{"iban":"a","n":1.50},{"iban":"b"}],"a/b":{"m~n":1}}`
	for _, c := range []struct {
		pointers, body, want string
		truncated            bool
	}{
		{"", card, card, false},
		{"/card/number", `{"card": {"number": "4242", "x": 12345678901234567890.10}, "h": "<&>"}`, `{"card":{"number":"[redacted]","x":12345678901234567890.10},"h":"<&>"}`, false},
		{"/card", `{"card":{"number":"4242"}}`, `{"card":"[redacted]"}`, false},
		{"/absent/number", `{ "card":1 }`, `{ "card":1 }`, false},
		{"/items/*/iban", `{"items":[{"iban":"a","n":1.50},{"iban":"b"}]}`, `{"items":[{"iban":"[redacted]","n":1.50},{"iban":"[redacted]"}]}`, false},
		{"/items/1/iban", `{"items":[{"iban":"a"},{"iban":"b"}]}`, `{"items":[{"iban":"a"},{"iban":"[redacted]"}]}`, false},
		{"/*/number", `{"card":{"number":1},"other":{"number":2}}`, `{"card":{"number":"[redacted]"},"other":{"number":"[redacted]"}}`, false},
		{"/a~1b/m~0n", `{"a/b":{"m~n":1}}`, `{"a/b":{"m~n":"[redacted]"}}`, false},
		{"/0/secret", `[{"secret":1}]`, `[{"secret":"[redacted]"}]`, false},
		{"/a /b", `{"a":1,"b":2}`, `{"a":"[redacted]","b":"[redacted]"}`, false},
		{"/a", `{"a":1,"a":2}`, `{"a":"[redacted]"}`, false},
		{"/a", `{"a":"secret`, Redacted, true},
		{"/a", `{"b":1}]{"a":"secret"}`, Redacted, true},
		{"/a", `{"b":1}{"a":"secret"}`, Redacted, true},
		{"/a", "\n  {\"a\":\"secret\"", Redacted, true},
		{"/a", `plain text`, `plain text`, false},
		{"/a", ``, ``, false},
	} {
		kept, truncated := (Redact{Pointers: strings.Fields(c.pointers)}).Body([]byte(c.body), 1000)
		if string(kept) != c.want || truncated != c.truncated {
			t.Errorf("%s of %s: %s, %v", c.pointers, c.body, kept, truncated)
		}
	}
	if kept, truncated := (Redact{}).Body([]byte("0123456789"), 4); string(kept) != "0123" || !truncated {
		t.Errorf("%s, %v", kept, truncated)
	}
	// What is hidden is hidden before the end is cut off.
	if kept, _ := (Redact{Pointers: []string{"/a"}}).Body([]byte(`{"a":"secret","b":1}`), 8); bytes.Contains(kept, []byte("sec")) {
		t.Errorf("%s", kept)
	}
}

func TestHeadersThatAreNeverKept(t *testing.T) {
	t.Parallel()
	in := http.Header{
		"Authorization": {"Bearer secret"}, "Proxy-Authorization": {"secret"}, "Cookie": {"secret"}, "Set-Cookie": {"secret", "secret"},
		"X-Api-Key": {"secret"}, "Webhook-Signature": {"secret"}, "X-Own": {"secret"}, "Accept": {"shown"},
	}
	out := Redact{Headers: []string{"x-own"}}.Header(in)
	for name, values := range out {
		if name == "Accept" && values[0] != "shown" || name != "Accept" && (len(values) != 1 || values[0] != Redacted) {
			t.Errorf("%s: %v", name, values)
		}
	}
	if len(out) != len(in) || in.Get("Authorization") != "Bearer secret" {
		t.Error(out, in)
	}
}

func TestPointers(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[string]int{"": 0, "/": 1, "/a": 1, "/a/b": 2, "/~0~1": 1, "/a//b": 3, "/" + strings.Repeat("a/", 63): 64} {
		if segments, ok := pointerSegments(pointer); !ok || len(segments) != want {
			t.Errorf("%q: %q, %v", pointer, segments, ok)
		}
	}
	for _, pointer := range []string{"a", "a/b", "/~", "/~2", "/~0~", "/a~b", strings.Repeat("/a", 65)} {
		if segments, ok := pointerSegments(pointer); ok {
			t.Errorf("%q: %q", pointer, segments)
		}
	}
	if segments, _ := pointerSegments("/~01"); segments[0] != "~1" {
		t.Error(segments)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"a":{"b":"secret"}}`, "/a/b")
	f.Add(`[1,{"a":2}]`, "/1/a")
	f.Add(`{"a":1}x`, "/*")
	f.Add("\xff{", "/~0")
	f.Fuzz(func(t *testing.T, body, pointer string) {
		kept, _ := Redact{Pointers: []string{pointer}}.Body([]byte(body), 1<<20)
		if json.Valid([]byte(body)) && len(kept) > 0 && !json.Valid(kept) && string(kept) != Redacted {
			t.Fatalf("%q of %q: %q", pointer, body, kept)
		}
	})
}
