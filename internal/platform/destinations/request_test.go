package destinations

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestWhereRequestsGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, url, want string }{
		{"https://api.example/v1", "/charges", "https://api.example/v1/charges"},
		{"https://api.example/v1/", "/charges?a=b&c=%2F", "https://api.example/v1/charges?a=b&c=%2F"},
		{"https://api.example", "", "https://api.example"},
		{"https://api.example/v1", "?a=b", "https://api.example/v1?a=b"},
		{"https://api.example", "/a%2Fb/%C3%A9", "https://api.example/a%2Fb/%C3%A9"},
		{"https://api.example", "/b/é", "https://api.example/b/%C3%A9"},
		{"https://api.example", "/a..b/...", "https://api.example/a..b/..."},
		{"https://api.example/v1", "https://api.example/v2/x", "https://api.example/v2/x"},
		{"https://api.example/v1", "HTTPS://API.example:443/v2", "https://API.example:443/v2"},
		{"http://api.example:80", "http://api.example/x", "http://api.example/x"},
	} {
		base, _ := url.Parse(c.base)
		to, foreign, why := Request{URL: c.url}.resolve(base, false)
		if why != "" || foreign || to.String() != c.want {
			t.Errorf("%s on %s: %v %v %s", c.url, c.base, to, foreign, why)
		}
	}
}

func TestWhereNoRequestGoes(t *testing.T) {
	t.Parallel()
	base, _ := url.Parse("https://api.example/v1")
	for _, u := range []string{
		"charges", "//evil.example/x", "https://evil.example/", "http://api.example/v1", "https://api.example:8443/", "https://api.example.evil.example/",
		"https://user:pass@api.example/", "https://api.example@evil.example/", "/../admin", "/a/..", "/a/%2e%2e/b", "/%2E%2e%2fadmin", "/a/./b", "/..%5cadmin",
		"/a#b", "/a#", "/a b", "/a\nb", "\\\\evil.example", "/\\evil.example", "mailto:x", "https:", "https:///x", "file:///etc/passwd", "/%zz", "/a%2Fb/é",
		"/" + strings.Repeat("a", URLBytesMax),
	} {
		if to, _, why := (Request{URL: u}).resolve(base, false); why == "" {
			t.Errorf("%q leads to %s", u, to)
		}
	}
	// With absolute URLs allowed another host may be named, but not less securely.
	if _, foreign, why := (Request{URL: "https://other.example/x"}).resolve(base, true); why != "" || !foreign {
		t.Error(foreign, why)
	}
	if _, foreign, why := (Request{URL: "https://API.example./x"}).resolve(base, true); why != "" || foreign {
		t.Error(foreign, why)
	}
	for _, u := range []string{"http://other.example/", "https://u@other.example/", "//other.example/.."} {
		if to, _, why := (Request{URL: u}).resolve(base, true); why == "" {
			t.Errorf("%q leads to %s", u, to)
		}
	}
}

func TestNobodyElseTellsOfTasks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"X-Kontor-TaskName", "x-kontor-anything", "X-CloudTasks-QueueName", "x-cloudtasks-taskretrycount"} {
		problems := Request{Method: http.MethodPost, URL: "/", Header: http.Header{name: {"x"}}}.Unsendable()
		if len(problems) != 1 || problems[0].Param != "headers" || !strings.Contains(problems[0].Detail, name) {
			t.Errorf("%s: %v", name, problems)
		}
	}
	if problems := (Request{Method: http.MethodPost, URL: "/", Header: http.Header{"X-Kontorist": {"x"}}}).Unsendable(); problems != nil {
		t.Error(problems)
	}
}

func TestAllThatIsWrongWithARequestIsTold(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"/x", "?a=b", "http://other.example/x", "https://other.example/x"} {
		if problems := (Request{Method: http.MethodPost, URL: u, Header: http.Header{"Content-Type": {"application/json"}}}).Unsendable(); problems != nil {
			t.Errorf("%q: %v", u, problems)
		}
	}
	problems := Request{
		Method: "BREW", URL: "x/../y", Body: make([]byte, BodyBytesMax+1), IdempotencyKey: "a\nb",
		Header: http.Header{"host": {"evil"}, "Content-Length": {"3"}, "a b": {"x"}, "X": {"a\r\nb"}, "Y": {strings.Repeat("y", HeaderBytesMax)}},
	}.Unsendable()
	var params []string
	for _, p := range problems {
		params = append(params, p.Param)
	}
	slices.Sort(params)
	want := []string{"body", "headers", "headers", "headers", "headers", "headers", "http_method", "idempotency_key", "url"}
	if !slices.Equal(params, want) {
		t.Fatalf("%v", problems)
	}
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"/charges", "//evil", "/%2e%2e/", "https://api.example/x", "?a", "", "/\x00", "/a;b"} {
		f.Add(seed)
	}
	base, _ := url.Parse("https://api.example/v1")
	f.Fuzz(func(t *testing.T, text string) {
		to, _, why := Request{URL: text}.resolve(base, false)
		if why != "" {
			return
		}
		again, err := url.Parse(to.String())
		if err != nil || origin(again) != origin(base) || again.User != nil || hasDots(again.EscapedPath()) {
			t.Fatalf("%q leads to %s", text, to)
		}
	})
}
