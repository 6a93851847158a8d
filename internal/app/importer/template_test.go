package importer_test

import (
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/app/importer"
)

// one makes a task of one record.
func one(t *testing.T, record string, text importer.TemplateText) (importer.Task, error) {
	t.Helper()
	s := newShop()
	_, err := of(t, write(t, "x.jsonl", record+"\n"), s, text).Run(t.Context())
	if len(s.order) == 0 {
		return importer.Task{}, err
	}
	return s.tasks[s.order[0]], err
}

func TestBodies(t *testing.T) {
	t.Parallel()
	const record = `{"id":12345678901234567890,"name":"O\"Neil\\</b>\n","price":1.50,"tags":["a",null],"none":null,"text":"7","evil":"x\",\"admin\":true,\"y\":\"","Full Name":"F"}`
	for text, want := range map[string]string{
		`{{json .}}`:                             `{"Full Name":"F","evil":"x\",\"admin\":true,\"y\":\"","id":12345678901234567890,"name":"O\"Neil\\</b>\n","none":null,"price":1.50,"tags":["a",null],"text":"7"}`,
		`{"id":{{.id}},"price":{{.price}}}`:      `{"id":12345678901234567890,"price":1.50}`,
		`{"name":"{{.evil}}"}`:                   `{"name":"x\",\"admin\":true,\"y\":\""}`,
		`{"name":{{json .name}}}`:                `{"name":"O\"Neil\\</b>\n"}`,
		`{"n":{{number .text}},"t":"{{.text}}"}`: `{"n":7,"t":"7"}`,
		`{"a":"{{.none}}","b":{{json .none}},"c":"{{.none | default "d"}}"{{if .none}},"e":1{{end}}}`:                `{"a":"","b":null,"c":"d"}`,
		`{"a":"{{upper .text}}{{lower "X"}}{{trim " y "}}","f":"{{get . "Full Name"}}","m":"{{maybe . "nothing"}}"}`: `{"a":"7xy","f":"F","m":""}`,
		`{"tags":[{{range $n, $tag := .tags}}{{if $n}},{{end}}"{{$tag}}"{{end}}]}`:                                   `{"tags":["a",""]}`,
		`{{raw .text}}`: `7`,
		`{{define "x"}}"{{.evil}}"{{end}}{{template "x" .}}`: `"x\",\"admin\":true,\"y\":\""`,
	} {
		if task, err := one(t, record, importer.TemplateText{Body: text}); err != nil || string(task.Body) != want {
			t.Errorf("%s makes\n%s, not\n%s: %v", text, task.Body, want, err)
		}
	}
	for text, want := range map[string]string{
		`{"name":{{.name}}}`:     "line 1, the template's body: no JSON at byte 9",
		`{"name":{{.evil}}}`:     "no JSON",
		`{"n":{{number .name}}}`: "is no number",
		`{"n":{{.missing}}}`:     `the record has no field "missing" (at 1:7, in .missing)`,
		`{{get . "missing"}}`:    `the record has no field "missing"`,
		`{{.tags.x}}`:            "tags",
		`{{range $i, $c := .name}}{{range $.tags}}{{json $}}{{end}}{{end}}`: "range",
	} {
		if _, err := one(t, record, importer.TemplateText{Body: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	huge := `{"x":"` + strings.Repeat("y", 300_000) + `"}`
	if _, err := one(t, huge, importer.TemplateText{Body: `["{{.x}}","{{.x}}","{{.x}}","{{.x}}"]`}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	}
}

func TestPathsHeadersAndKeys(t *testing.T) {
	t.Parallel()
	const record = `{"id":"a/../b?x=1&y#é","plain":"p-1","line":"a\r\nX-Admin: 1","none":"","long":"` + "llllllllll" + `"}`
	task, err := one(t, record, importer.TemplateText{
		Path: `/c/{{.id}}/{{.plain}}?q={{.id}}&r={{raw .plain}}`, Headers: map[string]string{"x-tenant": "{{.plain}}", "X-Fixed": "f"},
		Name: "n-{{.plain}}", LimitKey: "{{.plain}}", OrderingKey: " {{.plain}} ", FairnessKey: "f{{.plain}}", Body: "{}",
	})
	const escaped = "a%2F..%2Fb%3Fx%3D1%26y%23%C3%A9"
	if err != nil || task.Path != "/c/"+escaped+"/p-1?q="+escaped+"&r=p-1" || task.Headers["X-Tenant"] != "p-1" || task.Headers["X-Fixed"] != "f" || task.Name != "n-p-1" ||
		task.LimitKey != "p-1" || task.OrderingKey != "p-1" || task.FairnessKey != "fp-1" || task.UniqueKey != "" || task.Method != "POST" {
		t.Errorf("%+v: %v", task, err)
	}
	if task, err = one(t, record, importer.TemplateText{UniqueKey: "u{{.plain}}"}); err != nil || task.UniqueKey != "up-1" || task.Name != "" {
		t.Errorf("%+v: %v", task, err)
	}
	if task, err = one(t, record, importer.TemplateText{Path: "/c/x{{.none}}/?q={{.none}}"}); err != nil || task.Path != "/c/x/?q=" {
		t.Errorf("%+v: %v", task, err)
	}
	for want, text := range map[string]importer.TemplateText{
		"a header may have no line ends": {Headers: map[string]string{"X": "{{.line}}"}},
		"must begin with /":              {Path: "{{.plain}}"},
		"leads elsewhere":                {Path: "/a/{{raw `..`}}/b"},
		"may not have":                   {Path: "/a b"},
		"2083 are the most":              {Path: "/{{printf `%03000d` 1}}"},
		"is no method":                   {Method: "GET /"},
		`"/c/" leads elsewhere, because`: {Path: "/c/{{.none}}"},
		`"/c//x" leads elsewhere`:        {Path: "/c/{{.none}}{{trim .none}}/x"},
		"not both":                       {Name: "n", UniqueKey: "u"},
		"500 are the most":               {LimitKey: "{{printf `%600d` 1}}x{{printf `%0600d` 1}}"},
	} {
		if _, err := one(t, record, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", text, err)
		}
	}
}

func TestAWrongTemplateTellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := importer.ParseTemplate(importer.TemplateText{Body: "{{json .}", LimitKey: "{{env `HOME`}}", Headers: map[string]string{"X": "{{if}}"}})
	for _, want := range []string{"--path, or path in the file of --template, is missing", "body:1", "limit_key:1", `"env" not defined`, "headers[X]:1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %v", want, err)
		}
	}
}
