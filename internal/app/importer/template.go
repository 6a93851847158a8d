package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// TemplateText is a template as people write it. Each part is a text/template of a record's fields; an empty one leaves its
// part of the task empty, but Method is POST, Body is the whole record as JSON, and a task without Name and UniqueKey has a unique
// key of its place in the file.
type TemplateText struct {
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"` // NoBody: none
	Name        string            `json:"name"`
	LimitKey    string            `json:"limit_key"`
	OrderingKey string            `json:"ordering_key"`
	FairnessKey string            `json:"fairness_key"`
	UniqueKey   string            `json:"unique_key"`
	SubjectType string            `json:"subject_type"`
	SubjectID   string            `json:"subject_id"`
}

// With is the template with what another says in place of its own.
func (t TemplateText) With(other TemplateText) TemplateText {
	for _, part := range []struct {
		own   *string
		other string
	}{
		{&t.Method, other.Method},
		{&t.Path, other.Path},
		{&t.Body, other.Body},
		{&t.Name, other.Name},
		{&t.LimitKey, other.LimitKey},
		{&t.OrderingKey, other.OrderingKey},
		{&t.FairnessKey, other.FairnessKey},
		{&t.UniqueKey, other.UniqueKey},
		{&t.SubjectType, other.SubjectType},
		{&t.SubjectID, other.SubjectID},
	} {
		if part.other != "" {
			*part.own = part.other
		}
	}
	return t
}

// NoBody as a template's body makes requests without one.
const NoBody = "none"

// The bounds of what a template makes.
const (
	bodyBytesMax = 1 << 20
	pathBytesMax = 2083
	partBytesMax = 80 << 10
	keyBytesMax  = 500
)

// Template makes tasks of records. Safe for concurrent use.
type Template struct {
	parts []part
}

type part struct {
	name string
	text *template.Template
	into func(*Task, string) error
}

// ErrTemplate is what errors of ParseTemplate wrap.
var ErrTemplate = errors.New("malformed template")

// ParseTemplate reads a template and reports everything that is wrong with it.
func ParseTemplate(t TemplateText) (*Template, error) {
	out := &Template{}
	var problems []error
	add := func(name, text, escaper string, into func(*Task, string) error, unless ...string) {
		if text == "" {
			return
		}
		parsed, err := template.New(name).Option("missingkey=error").Funcs(functions()).Parse(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%w: %s", ErrTemplate, strings.TrimPrefix(err.Error(), "template: ")))
			return
		}
		if escaper != "" {
			for _, one := range parsed.Templates() {
				escape(one.Root, escaper, unless...)
			}
		}
		out.parts = append(out.parts, part{name, parsed, into})
	}
	if t.Path == "" {
		problems = append(problems, fmt.Errorf("%w: --path, or path in the file of --template, is missing: what to ask for below the destination's base URL, such as /contacts/{{.id}}", ErrTemplate))
	}
	if t.Method == "" {
		t.Method = http.MethodPost
	}
	if t.Body == "" {
		t.Body = "{{json .}}"
	}
	add("method", t.Method, "", setMethod)
	add("path", t.Path, escapeInURL, setPath, "urlquery", "raw")
	if t.Body != NoBody {
		add("body", t.Body, escapeInJSON, setBody, "json", "number", "raw")
	}
	for _, name := range slices.Sorted(mapKeys(t.Headers)) {
		add("headers["+name+"]", t.Headers[name], "", setHeader(name))
	}
	for _, key := range []struct {
		name, text string
		of         func(*Task) *string
	}{
		{"name", t.Name, func(t *Task) *string { return &t.Name }},
		{"limit_key", t.LimitKey, func(t *Task) *string { return &t.LimitKey }},
		{"ordering_key", t.OrderingKey, func(t *Task) *string { return &t.OrderingKey }},
		{"fairness_key", t.FairnessKey, func(t *Task) *string { return &t.FairnessKey }},
		{"unique_key", t.UniqueKey, func(t *Task) *string { return &t.UniqueKey }},
		{"subject_type", t.SubjectType, func(t *Task) *string { return &t.SubjectType }},
		{"subject_id", t.SubjectID, func(t *Task) *string { return &t.SubjectID }},
	} {
		add(key.name, key.text, "", setKey(key.of))
	}
	return out, errors.Join(problems...)
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// render makes a task of a record; key is its unique key, unless the template has another or a name.
func (t *Template) render(r record, key string) (Task, error) {
	task := Task{Line: r.line}
	for _, p := range t.parts {
		out := &bounded{most: partBytesMax}
		if p.name == "body" {
			out.most = bodyBytesMax
		}
		err := p.text.Execute(out, r.fields)
		if err == nil {
			err = p.into(&task, out.String())
		} else {
			err = explain(err)
		}
		if err != nil {
			return task, &Problem{Line: r.line, Part: p.name, Cause: err}
		}
	}
	switch {
	case task.Name != "" && task.UniqueKey != "":
		return task, &Problem{Line: r.line, Part: "unique_key", Cause: errors.New("a task has a name or a unique key, not both")}
	case task.Name == "" && task.UniqueKey == "":
		task.UniqueKey = key
	}
	return task, nil
}

// explain says an error of a template in fewer words.
func explain(err error) error {
	form := regexp.MustCompile(`(?s)^template: .*?:(\d+:\d+): executing .*? at <(.*?)>: (.*)$`)
	found := form.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	why := strings.Replace(found[3], "map has no entry for key", "the record has no field", 1)
	return fmt.Errorf("%s (at %s, in %s)", why, found[1], found[2])
}

// bounded is a buffer that refuses what is too much.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		return 0, fmt.Errorf("the template makes more than %d bytes", b.most)
	}
	return b.Buffer.Write(p)
}

func setMethod(t *Task, text string) error {
	t.Method = strings.ToUpper(strings.TrimSpace(text))
	if !regexp.MustCompile(`^[A-Z]{3,10}$`).MatchString(t.Method) {
		return fmt.Errorf("%q is no method", text)
	}
	return nil
}

func setPath(t *Task, text string) error {
	t.Path = strings.TrimSpace(text)
	switch {
	case !strings.HasPrefix(t.Path, "/"):
		return fmt.Errorf("%q must begin with /", text)
	case len(t.Path) > pathBytesMax:
		return fmt.Errorf("it has %d bytes; %d are the most", len(t.Path), pathBytesMax)
	case strings.ContainsAny(t.Path, " \t\r\n#"):
		return fmt.Errorf("%q has a character that a path may not have", text)
	}
	path, _, _ := strings.Cut(t.Path, "?")
	for segment := range strings.SplitSeq(path, "/") {
		switch trimmed := strings.ReplaceAll(segment, emptyMark, ""); {
		case trimmed == "." || trimmed == "..":
			return fmt.Errorf("%q leads elsewhere", strings.ReplaceAll(text, emptyMark, ""))
		case trimmed == "" && segment != "":
			return fmt.Errorf("%q leads elsewhere, because a field in it is empty", strings.ReplaceAll(text, emptyMark, ""))
		}
	}
	t.Path = strings.ReplaceAll(t.Path, emptyMark, "")
	return nil
}

func setBody(t *Task, text string) error {
	body := []byte(strings.TrimSpace(text))
	if err := json.Unmarshal(body, new(any)); err != nil {
		if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("no JSON at byte %d: %w: %.60q", wrong.Offset, err, body[max(0, int(wrong.Offset)-30):])
		}
		return err
	}
	t.Body = body
	return nil
}

func setHeader(name string) func(*Task, string) error {
	return func(t *Task, text string) error {
		if strings.ContainsAny(text, "\r\n\x00") || strings.ContainsAny(name, " \r\n\x00:") {
			return errors.New("a header may have no line ends")
		}
		if t.Headers == nil {
			t.Headers = map[string]string{}
		}
		t.Headers[textproto.CanonicalMIMEHeaderKey(name)] = strings.TrimSpace(text)
		return nil
	}
}

func setKey(of func(*Task) *string) func(*Task, string) error {
	return func(t *Task, text string) error {
		text = strings.TrimSpace(text)
		if len(text) > keyBytesMax {
			return fmt.Errorf("it has %d bytes; %d are the most", len(text), keyBytesMax)
		}
		*of(t) = text
		return nil
	}
}
