package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kontorhq/kontor/api"
)

// The bounds of a request's body. No request but a batch can need more values than this.
const (
	bodyBytesMax       = 1 << 20
	bodyBytesMaxBatch  = 16 << 20
	bodyValuesMax      = 2_000
	bodyValuesMaxBatch = 600_000
	bodyBytesMaxTasks  = 64 << 20
	bodyValuesMaxTasks = 2_000_000
)

// contract is what the server reads from api/openapi.yaml when it starts: every schema compiled, every status known.
type contract struct {
	json       []byte
	operations map[string]*operation // by the router's pattern: "POST /v1/payments"
	statuses   map[string]int        // of each problem's code
	source     map[string]any        // the whole document, for the page at /docs
}

// operation is what has to hold for a request before its handler sees it.
type operation struct {
	id           string
	method       string
	route        string // the path with its parameters' names, as the metrics show it
	public       bool   // needs no API key
	write        bool   // needs an idempotency key
	body         *jsonschema.Schema
	shape        *shape // of the body
	bodyRequired bool
	bytesMax     int64
	valuesMax    int
	parameters   []parameter
	queryNames   map[string]bool
	figures      *figures
}

// parameter is a query, path or header parameter.
type parameter struct {
	name     string
	in       string
	required bool
	integer  bool
	schema   *jsonschema.Schema
	shape    *shape
}

// methods are those that the contract's operations have.
func methods() []string {
	return []string{http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete}
}

// contractURL names the contract within the compiler of schemas. A relative one would be looked for in the working directory.
const contractURL = "https://kontor.example/contract.json"

func loadContract() (*contract, error) {
	raw, err := api.JSON()
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	source, _ := document.(map[string]any)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: validateTime})
	compiler.AssertFormat()
	if err := compiler.AddResource(contractURL, document); err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	c := &contract{json: raw, source: source, operations: map[string]*operation{}, statuses: map[string]int{}}
	for code := range object(source, "x-problems") {
		status, err := strconv.Atoi(fmt.Sprint(object(object(source, "x-problems"), code)["status"]))
		if err != nil {
			return nil, fmt.Errorf("read the status of %s of the contract: %w", code, err)
		}
		c.statuses[code] = status
	}
	for path, item := range object(source, "paths") {
		shared, _ := item.(map[string]any)
		for _, method := range methods() {
			details, ok := shared[strings.ToLower(method)].(map[string]any)
			if !ok {
				continue
			}
			o, err := c.operation(compiler, method, path, shared, details)
			if err != nil {
				return nil, fmt.Errorf("read %s %s of the contract: %w", method, path, err)
			}
			c.operations[method+" "+path] = o
		}
	}
	return c, nil
}

func (c *contract) operation(compiler *jsonschema.Compiler, method, path string, shared, details map[string]any) (*operation, error) {
	o := &operation{
		method: method, route: path, write: method != http.MethodGet, queryNames: map[string]bool{},
		bytesMax: bodyBytesMax, valuesMax: bodyValuesMax,
	}
	o.id, _ = details["operationId"].(string)
	if security, ok := details["security"].([]any); ok && len(security) == 0 {
		o.public = true
	}
	switch o.id {
	case "createEntryBatch":
		o.bytesMax, o.valuesMax = bodyBytesMaxBatch, bodyValuesMaxBatch
	case "createTaskBatch":
		o.bytesMax, o.valuesMax = bodyBytesMaxTasks, bodyValuesMaxTasks
	}
	at := contractURL + "#/paths/" + pointerEscape(path) + "/" + strings.ToLower(method)
	if body := object(details, "requestBody"); body != nil {
		o.bodyRequired, _ = body["required"].(bool)
		var err error
		if o.body, err = compiler.Compile(at + "/requestBody/content/" + pointerEscape("application/json") + "/schema"); err != nil {
			return nil, err
		}
		o.shape = newShape(o.body)
	}
	above := contractURL + "#/paths/" + pointerEscape(path)
	if err := c.parameters(compiler, o, above, shared); err != nil {
		return nil, err
	}
	return o, c.parameters(compiler, o, at, details)
}

func (c *contract) parameters(compiler *jsonschema.Compiler, o *operation, at string, owner map[string]any) error {
	list, _ := owner["parameters"].([]any)
	for i, item := range list {
		p, err := c.parameter(compiler, fmt.Sprintf("%s/parameters/%d", at, i), item)
		if err != nil {
			return err
		}
		o.parameters = append(o.parameters, p)
		if p.in == "query" {
			o.queryNames[p.name] = true
		}
	}
	return nil
}

func (c *contract) parameter(compiler *jsonschema.Compiler, place string, item any) (parameter, error) {
	details, _ := item.(map[string]any)
	if ref, ok := details["$ref"].(string); ok {
		place = contractURL + ref
		details = c.resolve(ref)
	}
	p := parameter{}
	p.name, _ = details["name"].(string)
	p.in, _ = details["in"].(string)
	p.required, _ = details["required"].(bool)
	p.integer = object(details, "schema")["type"] == "integer"
	var err error
	if p.schema, err = compiler.Compile(place + "/schema"); err != nil {
		return p, err
	}
	p.shape = newShape(p.schema)
	return p, nil
}

// resolve follows a reference within the contract.
func (c *contract) resolve(ref string) map[string]any {
	at := c.source
	for token := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = object(at, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
	return at
}

func object(of map[string]any, name string) map[string]any {
	value, _ := of[name].(map[string]any)
	return value
}

// The years of the times that are taken. Go's zero time, which stands for a time that was not given, is none of them; and after
// the last, RFC 3339 cannot write the time down.
const (
	yearMin = 1900
	yearMax = 9999
)

var errYear = errors.New("out of the years that are taken")

// validateTime accepts exactly the times that Go reads, of some years: the schemas' own check lets through a few that it does not.
func validateTime(v any) error {
	text, ok := v.(string)
	if !ok {
		return nil
	}
	var at time.Time
	if err := at.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	if year := at.UTC().Year(); year < yearMin || year > yearMax {
		return errYear
	}
	return nil
}
