package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// tree is an object of the contract with its members in the order in which they were written: the order for readers.
type tree struct {
	names  []string
	values map[string]any // nil, bool, json.Number, string, []any or tree
}

var errNotObject = errors.New("the contract is not an object")

func readTree(raw []byte) (tree, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	value, err := readOrdered(decoder)
	if err != nil {
		return tree{}, err
	}
	root, ok := value.(tree)
	if !ok {
		return tree{}, errNotObject
	}
	return root, nil
}

func readOrdered(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		t := tree{values: map[string]any{}}
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			value, err := readOrdered(decoder)
			if err != nil {
				return nil, err
			}
			t.names = append(t.names, fmt.Sprint(name))
			t.values[fmt.Sprint(name)] = value
		}
		_, err := decoder.Token()
		return t, err
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			value, err := readOrdered(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := decoder.Token()
		return list, err
	default:
		return token, nil
	}
}

// at follows names downwards; what is not there is an empty tree.
func (t tree) at(names ...string) tree {
	for _, name := range names {
		t, _ = t.values[name].(tree)
	}
	return t
}

func (t tree) text(name string) string {
	switch value := t.values[name].(type) {
	case nil:
		return ""
	case string:
		return strings.TrimSpace(value)
	default:
		return fmt.Sprint(value)
	}
}

func (t tree) list(name string) []any {
	list, _ := t.values[name].([]any)
	return list
}

func (t tree) texts(name string) []string {
	var out []string
	for _, item := range t.list(name) {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

// MarshalJSON keeps the order, for the examples on the page.
func (t tree) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, name := range t.names {
		if i > 0 {
			out = append(out, ',')
		}
		value, err := json.Marshal(t.values[name])
		if err != nil {
			return nil, err
		}
		out = append(append(appendText(out, []byte(name)), ':'), value...)
	}
	return append(out, '}'), nil
}
