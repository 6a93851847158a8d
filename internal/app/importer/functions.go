package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
)

// functions are what templates may call, besides text/template's own.
func functions() template.FuncMap {
	return template.FuncMap{
		"json":       toJSON,
		"number":     toNumber,
		"raw":        func(value any) string { return fmt.Sprint(value) },
		"upper":      func(value any) string { return strings.ToUpper(fmt.Sprint(value)) },
		"lower":      func(value any) string { return strings.ToLower(fmt.Sprint(value)) },
		"trim":       func(value any) string { return strings.TrimSpace(fmt.Sprint(value)) },
		"default":    orDefault,
		"get":        get,
		"maybe":      maybe,
		escapeInJSON: escapeJSON,
		escapeInURL:  escapeURL,
	}
}

// toJSON shows any value as JSON, with its quotes.
func toJSON(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// toNumber is a field's text as a JSON number.
func toNumber(value any) (string, error) {
	text := strings.TrimSpace(fmt.Sprint(value))
	var number json.Number
	if err := json.Unmarshal([]byte(text), &number); err != nil || strings.HasPrefix(text, `"`) || number.String() != text {
		return "", fmt.Errorf("%.60q is no number", text)
	}
	return text, nil
}

// orDefault is the value, or another if it is empty: {{.name | default "unknown"}}.
func orDefault(otherwise, value any) any {
	if value == nil || fmt.Sprint(value) == "" {
		return otherwise
	}
	return value
}

// get is a field whose name is no word of a template: {{get . "Order Id"}}.
func get(fields map[string]any, name string) (any, error) {
	value, found := fields[name]
	if !found {
		return nil, fmt.Errorf("the record has no field %q", name)
	}
	return value, nil
}

// maybe is a field that a record may lack: {{maybe . "note" | default "none"}}.
func maybe(fields map[string]any, name string) any {
	if value, found := fields[name]; found {
		return value
	}
	return null(nil)
}
