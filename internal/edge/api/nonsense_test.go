package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// nonsense is what somebody may put anywhere.
func nonsense() []any {
	return []any{
		nil, true, -1, 0, 1.5, json.Number("1e300"), json.Number("100000000000000000000000000000"), "", strings.Repeat("x", 3000), "\x00", "a\nb",
		[]any{},
		map[string]any{},
		map[string]any{"a": 1},
		[]any{nil},
		"héllo", "2020-13-40T00:00:00Z", "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59Z", "99999-01-01T00:00:00Z", "../..", "%00", "NaN", int64(1) << 31, int64(1)<<62 + (1<<62 - 1), "' or 1=1 --",
	}
}

// writes are requests that are in order, by their path.
func writes() map[string]string {
	const request = `{"method":"POST","url":"/x","body":"{}"}`
	return map[string]string{
		"/v1/tasks":        `{"destination":"there","http_request":` + request + `,"verify":{"method":"GET","url":"/x"},"schedule_time":"2099-01-01T00:00:00Z"}`,
		"/v1/queues":       `{"name":"NAME","retry_config":{}}`,
		"/v1/destinations": `{"name":"NAME","base_url":"https://example.org","auth":{"type":"none"},"circuit_breaker":{},"rate_limits":[{"name":"a","limit":1,"period_seconds":1}]}`,
		"/v1/schedules":    `{"name":"NAME","cron":"0 0 1 1 *","task":{"destination":"there","http_request":` + request + `}}`,
		"/v1/replays":      `{"filter":{"destination":"there"}}`,
	}
}

// properties are the members that a schema knows.
func (c *contract) properties(schema map[string]any) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		return c.properties(c.resolve(ref))
	}
	return object(schema, "properties")
}

// places are all members that a body may have, as far down as the whole goes.
func (c *contract) places(schema map[string]any, whole map[string]any) [][]string {
	var out [][]string
	known := c.properties(schema)
	for _, name := range slices.Sorted(maps.Keys(known)) {
		out = append(out, []string{name})
		inner, _ := known[name].(map[string]any)
		below, _ := whole[name].(map[string]any)
		for _, place := range c.places(inner, below) {
			out = append(out, append([]string{name}, place...))
		}
	}
	return out
}

// TestNonsenseIsToldByItsPlace: whatever stands in whatever member of a request, it is taken, or refused with the place of the
// mistake; never is it an error of the server's.
func TestNonsenseIsToldByItsPlace(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.must(http.StatusCreated, n.post("/v1/destinations", `{"name":"there","base_url":"https://example.org"}`))
	for path, body := range writes() {
		operation := object(object(object(n.contract.source, "paths"), path), "post")
		schema := object(object(object(object(operation, "requestBody"), "content"), "application/json"), "schema")
		n.must(http.StatusCreated, n.post(path, strings.ReplaceAll(body, "NAME", "sane")))
		told := 0
		for _, at := range n.contract.places(schema, wholeOf(t, body)) {
			for i, value := range nonsense() {
				name := fmt.Sprintf("n-%s-%d", strings.ReplaceAll(strings.Join(at, "-"), "_", "-"), i)
				whole := wholeOf(t, strings.ReplaceAll(body, "NAME", name))
				place(whole, at, value)
				raw, err := json.Marshal(whole)
				if err != nil {
					t.Fatal(err)
				}
				if told += n.tells(http.MethodPost, path, string(raw)); t.Failed() {
					return
				}
			}
		}
		if told < 50 {
			t.Errorf("%s: only %d mistakes were found", path, told)
		}
	}
}

func wholeOf(t *testing.T, body string) (whole map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		t.Fatal(err)
	}
	return whole
}

// place puts a value to its place, and makes what has to be above it.
func place(whole map[string]any, at []string, value any) {
	for _, name := range at[:len(at)-1] {
		below, ok := whole[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			whole[name] = below
		}
		whole = below
	}
	whole[at[len(at)-1]] = value
}

// tells counts a refusal, which has to say what is wrong.
func (n *node) tells(method, path, body string) int {
	n.t.Helper()
	a := n.ask(method, path, body)
	switch {
	case a.status < http.StatusBadRequest:
		return 0
	case a.status >= http.StatusInternalServerError || a.header.Get("Content-Type") != "application/problem+json" || text(a.json, "detail") == "<none>":
		n.t.Errorf("%s %s %s: %s", method, path, body, a)
	case a.status != http.StatusNotFound && text(a.json, "param") == "<none>" && text(a.json, "errors.0.param") == "<none>":
		n.t.Errorf("%s %s %s: the place of the mistake is not told: %s", method, path, body, a)
	}
	return 1
}

// TestNonsenseInAQueryIsTold, for every list and every member of the pipeline.
func TestNonsenseInAQueryIsTold(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	asked := 0
	for _, pattern := range slices.Sorted(maps.Keys(n.contract.operations)) {
		o := n.contract.operations[pattern]
		if o.write || o.public || !pipeline(o.route) {
			continue
		}
		for i := range o.parameters {
			p := &o.parameters[i]
			for _, value := range append(nonsense(), "\xff") {
				path := o.route
				inPath, inQuery := "tsk_01k4x9d2rzfqe8s5v0m3t7a1bc", ""
				switch p.in {
				case "path":
					inPath = url.PathEscape(fmt.Sprint(value))
				case "query":
					inQuery = "?" + url.Values{p.name: {fmt.Sprint(value)}}.Encode()
				}
				for strings.Contains(path, "{") {
					before, rest, _ := strings.Cut(path, "{")
					_, after, _ := strings.Cut(rest, "}")
					path = before + inPath + after
				}
				if strings.Contains(path, "..") {
					continue // no request can have it
				}
				n.tells(http.MethodGet, path+inQuery, "")
				asked++
			}
		}
	}
	if asked < 500 {
		t.Errorf("only %d requests were made", asked)
	}
}

func pipeline(route string) bool {
	return slices.ContainsFunc([]string{"tasks", "queues", "destinations", "schedules", "replays", "dead-letters"}, func(noun string) bool {
		return route == "/v1/"+noun || strings.HasPrefix(route, "/v1/"+noun+"/")
	})
}
