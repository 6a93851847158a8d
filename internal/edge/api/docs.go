package api

import (
	"bytes"
	"cmp"
	_ "embed" // the page's template travels with the binary
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

//go:embed docs.html
var docsTemplate string

// The page at /docs is made once, when the server starts, from the contract alone. It needs no script and nothing
// from elsewhere.
type docsPage struct {
	Title, Version, Server string
	Summary                string
	Description            template.HTML
	Tags                   []docsTag
	Objects                []docsObject
	Problems               []docsProblem
}

type docsTag struct {
	Name, Anchor string
	Description  template.HTML
	Operations   []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary string
	Description               template.HTML
	Public                    bool
	Parameters                []docsField
	Body                      []docsField
	BodyOptional              bool
	Examples                  []docsExample
	Responses                 []docsResponse
	Problems                  []docsProblem
}

type docsField struct {
	Name, Where, Type string
	Link              string // to an object
	Depth             int
	Required          bool
	Description       template.HTML
}

type docsExample struct{ Title, Curl string }

type docsResponse struct {
	Status, Object string
	Description    template.HTML
}

type docsObject struct {
	Name        string
	Description template.HTML
	Fields      []docsField
	Example     string
}

type docsProblem struct {
	Code, Status string
	Description  template.HTML
}

// docsObjects are the objects in answers that have a place of their own on the page.
func docsObjects() []string {
	return []string{
		"Payment", "PaymentAttempt", "Account", "AccountBalance", "BalanceAt", "StatementLine", "Entry", "Movement", "EntryBatch",
		"EntryResult", "Queue", "RetryConfig", "Destination", "DestinationAuth", "RateLimit", "CircuitBreaker", "Hold", "HTTPRequest", "Task",
		"Waiting", "TaskAttempt", "TaskCreated", "TaskBatch", "DeadLetter", "DeadLetterGroup", "Replay", "ReplayPreview", "Schedule", "ScheduleTaskShown", "Ticks", "Consumed", "Deleted",
		"Event", "Problem",
	}
}

// docsMaker reads the contract for people.
type docsMaker struct{ root tree }

func renderDocs(raw []byte) ([]byte, error) {
	root, err := readTree(raw)
	if err != nil {
		return nil, fmt.Errorf("read the contract for the page: %w", err)
	}
	page, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	var out bytes.Buffer
	if err := page.Execute(&out, docsMaker{root}.page()); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return out.Bytes(), nil
}

func (m docsMaker) page() docsPage {
	info := m.root.at("info")
	p := docsPage{
		Title: info.text("title"), Version: info.text("version"), Summary: info.text("summary"),
		Description: prose(info.text("description")),
	}
	if servers := m.root.list("servers"); len(servers) > 0 {
		first, _ := servers[0].(tree)
		p.Server = first.text("url")
	}
	for _, item := range m.root.list("tags") {
		tag, _ := item.(tree)
		p.Tags = append(p.Tags, docsTag{
			Name: tag.text("name"), Anchor: strings.ReplaceAll(strings.ToLower(tag.text("name")), " ", "-"), Description: prose(tag.text("description")),
		})
	}
	paths := m.root.at("paths")
	for _, path := range paths.names {
		for _, method := range methods() {
			method = strings.ToLower(method)
			operation := paths.at(path, method)
			i := slices.IndexFunc(p.Tags, func(t docsTag) bool { return slices.Contains(operation.texts("tags"), t.Name) })
			if i >= 0 {
				p.Tags[i].Operations = append(p.Tags[i].Operations, m.operation(p.Server, path, method, paths.at(path), operation))
			}
		}
	}
	for _, name := range docsObjects() {
		p.Objects = append(p.Objects, m.object(name))
	}
	for _, code := range m.root.at("x-problems").names {
		p.Problems = append(p.Problems, m.problem(code))
	}
	return p
}

func (m docsMaker) problem(code string) docsProblem {
	details := m.root.at("x-problems", code)
	return docsProblem{Code: code, Status: details.text("status"), Description: inline(details.text("description"))}
}

func (m docsMaker) operation(server, path, method string, shared, o tree) docsOperation {
	public := o.values["security"] != nil
	out := docsOperation{
		ID: o.text("operationId"), Method: strings.ToUpper(method), Path: path, Summary: o.text("summary"),
		Description: prose(o.text("description")), Public: public,
	}
	for _, item := range slices.Concat(shared.list("parameters"), o.list("parameters")) {
		parameter, _ := item.(tree)
		parameter, _ = m.resolve(parameter)
		schema, _ := m.resolve(parameter.at("schema"))
		out.Parameters = append(out.Parameters, docsField{
			Name: parameter.text("name"), Where: parameter.text("in"), Type: m.typeName(schema),
			Required:    parameter.text("required") == "true",
			Description: inline(cmp.Or(parameter.text("description"), schema.text("description"))),
		})
	}
	if body := o.at("requestBody"); body.names != nil {
		media := body.at("content", "application/json")
		schema, _ := m.resolve(media.at("schema"))
		out.Body = m.fields(schema, 0)
		out.BodyOptional = body.text("required") != "true"
		out.Examples = examples(server, path, out.Method, media)
	} else {
		out.Examples = []docsExample{{Curl: curl(server, path, out.Method, public, "")}}
	}
	for _, status := range o.at("responses").names {
		if status == "default" {
			continue
		}
		response, _ := m.resolve(o.at("responses", status))
		out.Responses = append(out.Responses, docsResponse{
			Status: status, Description: inline(response.text("description")),
			Object: refName(response.at("content", "application/json", "schema").text("$ref")),
		})
	}
	for _, code := range o.texts("x-problems") {
		out.Problems = append(out.Problems, m.problem(code))
	}
	return out
}

func (m docsMaker) object(name string) docsObject {
	schema := m.root.at("components", "schemas", name)
	o := docsObject{Name: name, Description: prose(schema.text("description")), Fields: m.fields(schema, 0)}
	if list := schema.list("examples"); len(list) > 0 {
		o.Example = pretty(list[0])
	}
	return o
}

// fields lists an object's members; those of objects within it follow, a step deeper.
func (m docsMaker) fields(schema tree, depth int) []docsField {
	var out []docsField
	required := schema.texts("required")
	for _, name := range schema.at("properties").names {
		member := schema.at("properties", name)
		link := refName(member.text("$ref"))
		resolved, _ := m.resolve(member)
		field := docsField{
			Name: name, Type: m.typeName(resolved), Depth: depth, Required: slices.Contains(required, name),
			Description: inline(cmp.Or(member.text("description"), resolved.text("description"))),
		}
		inner := resolved
		if resolved.text("type") == "array" {
			link = refName(resolved.at("items").text("$ref"))
			inner, _ = m.resolve(resolved.at("items"))
		}
		if slices.Contains(docsObjects(), link) {
			field.Link = link
		}
		out = append(out, field)
		if field.Link == "" && inner.at("properties").names != nil && depth < 3 {
			out = append(out, m.fields(inner, depth+1)...)
		}
	}
	return out
}

func (m docsMaker) resolve(t tree) (tree, string) {
	ref := t.text("$ref")
	if ref == "" {
		return t, ""
	}
	return m.root.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), refName(ref)
}

func refName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// typeName says what a value may be, in a few words.
func (m docsMaker) typeName(s tree) string {
	kind := cmp.Or(strings.Join(s.texts("type"), " or "), s.text("type"))
	switch {
	case s.values["enum"] != nil:
		kind = strings.Join(s.texts("enum"), " | ")
	case s.text("type") == "array":
		items, name := m.resolve(s.at("items"))
		kind = "array of " + cmp.Or(name, m.typeName(items))
	case s.text("format") == "date-time":
		kind = strings.Replace(kind, "string", "time", 1)
	}
	least, most := cmp.Or(s.text("minimum"), s.text("minItems")), cmp.Or(s.text("maximum"), s.text("maxItems"))
	if most == "9223372036854775807" {
		most = ""
	}
	if strings.HasPrefix(least, "-9223372036854775808") {
		least = ""
	}
	switch {
	case least != "" && most != "":
		kind += ", " + least + " to " + most
	case least != "":
		kind += ", from " + least
	case most != "":
		kind += ", up to " + most
	case s.text("maxLength") != "" && s.values["enum"] == nil && s.text("format") == "" && s.text("pattern") == "":
		kind += ", up to " + s.text("maxLength") + " characters"
	}
	if standard := s.text("default"); standard != "" {
		kind += ", else " + standard
	}
	return kind
}

func examples(server, path, method string, media tree) []docsExample {
	var out []docsExample
	for _, name := range media.at("examples").names {
		example := media.at("examples", name)
		out = append(out, docsExample{example.text("summary"), curl(server, path, method, false, pretty(example.values["value"]))})
	}
	if value, ok := media.values["example"]; ok {
		out = append(out, docsExample{"", curl(server, path, method, false, pretty(value))})
	}
	return out
}

// curl writes a request that works when pasted, once the ids are put in.
func curl(server, path, method string, public bool, body string) string {
	lines := []string{"curl " + server + path}
	if !public {
		lines = append(lines, `  -H "Authorization: Bearer $KONTOR_API_KEY"`)
	}
	if method != http.MethodPost && method != http.MethodGet {
		lines = append(lines, "  -X "+method)
	}
	if method != http.MethodGet {
		lines = append(lines, "  -H 'Idempotency-Key: my-key-1'")
	}
	if body != "" {
		lines = append(lines, "  -H 'Content-Type: application/json'", "  -d '"+strings.ReplaceAll(body, "'", `'\\''`)+"'")
	}
	return strings.Join(lines, " \\\n")
}

func pretty(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	if len(raw) <= 70 {
		return string(raw)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return string(raw)
	}
	return out.String()
}

// prose turns the contract's paragraphs, lists, `code` and **stress** into HTML. Everything else is text.
func prose(text string) template.HTML {
	var out strings.Builder
	for block := range strings.SplitSeq(text, "\n\n") {
		switch {
		case strings.TrimSpace(block) == "":
		case strings.HasPrefix(block, "- "):
			out.WriteString("<ul>")
			for item := range strings.SplitSeq(block[2:], "\n- ") {
				out.WriteString("<li>" + string(inline(item)) + "</li>")
			}
			out.WriteString("</ul>")
		default:
			out.WriteString("<p>" + string(inline(block)) + "</p>")
		}
	}
	return template.HTML(out.String()) //nolint:gosec // inline escapes; the text is the contract's own
}

func inline(text string) template.HTML {
	if strings.HasPrefix(text, "- ") {
		return prose(text)
	}
	escaped := html.EscapeString(text)
	escaped = regexp.MustCompile("`([^`]+)`").ReplaceAllString(escaped, "<code>$1</code>")
	escaped = regexp.MustCompile(`\*\*([^*]+)\*\*`).ReplaceAllString(escaped, "<strong>$1</strong>")
	return template.HTML(escaped) //nolint:gosec // escaped above
}

// docs serves the page.
func (g *gate) docs() http.HandlerFunc {
	op := &operation{public: true, route: "/docs", method: http.MethodGet, figures: newFigures(g.durations, "/docs", http.MethodGet)}
	return g.wrap(op, func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-cache")
		_, _ = w.Write(g.page) // whoever asked may have gone
	})
}
