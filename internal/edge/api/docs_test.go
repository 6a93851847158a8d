package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestTheContractIsServed(t *testing.T) {
	t.Parallel()
	g := bareGate(t, io.Discard)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/openapi.json", nil)
	w := httptest.NewRecorder()
	s := &Server{gate: g}
	s.Handler().ServeHTTP(w, r)
	var document map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || document["openapi"] != "3.1.0" {
		t.Errorf("served %.100s, %v", w.Body, err)
	}
	if !strings.HasPrefix(w.Body.String(), `{"openapi":"3.1.0","info":{"title":"Kontor"`) {
		t.Errorf("the order was lost: %.100s", w.Body)
	}
	if !strings.Contains(w.Body.String(), "9223372036854775807") || w.Header().Get("Content-Type") != "application/json" {
		t.Error("a bound of int64 was lost")
	}
}

func TestThePageShowsTheWholeContract(t *testing.T) {
	t.Parallel()
	g := bareGate(t, io.Discard)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/docs", nil)
	w := httptest.NewRecorder()
	g.handler(scripted{}).ServeHTTP(w, r)
	page := w.Body.String()
	if path := os.Getenv("KONTOR_DOCS_PAGE"); path != "" { // to look at it in a browser
		if err := os.WriteFile(path, w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("answered %d %v", w.Code, w.Header())
	}
	for pattern, op := range g.contract.operations {
		if !strings.Contains(page, `id="`+op.id+`"`) || !strings.Contains(page, op.route) {
			t.Errorf("%s is missing", pattern)
		}
		for name := range op.queryNames {
			if !strings.Contains(page, ">"+name+"<") {
				t.Errorf("%s: the parameter %s is missing", pattern, name)
			}
		}
	}
	for code := range g.contract.statuses {
		if !strings.Contains(page, `<tr id="`+code+`">`) {
			t.Errorf("the problem %s is missing", code)
		}
	}
	for _, bad := range []string{"<script", "<link", "<img", "src=", "@import", "ZgotmplZ", "map[", "%!"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}
