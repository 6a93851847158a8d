// Package api holds the public contract: openapi.yaml, written by hand and first. The server, the client, the
// validation of requests, the statuses of problems and the page at /docs are all made from it.
package api

import (
	"bytes"
	_ "embed" // the contract travels with the binary
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

//go:embed openapi.yaml
var contractYAML []byte

// JSON is the contract as JSON, its members in the order in which they were written.
func JSON() ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(contractYAML, &document); err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	var out bytes.Buffer
	if err := writeJSON(&out, document.Content[0]); err != nil {
		return nil, fmt.Errorf("write the contract as JSON: %w", err)
	}
	return out.Bytes(), nil
}

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		return writeMembers(out, n)
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, item); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return writeScalar(out, n)
	default:
		return fmt.Errorf("line %d: the contract uses no aliases", n.Line)
	}
}

func writeMembers(out *bytes.Buffer, n *yaml.Node) error {
	out.WriteByte('{')
	for i := 0; i < len(n.Content); i += 2 {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(n.Content[i].Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", n.Content[i].Line, err)
		}
		out.Write(name)
		out.WriteByte(':')
		if err := writeJSON(out, n.Content[i+1]); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

func writeScalar(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Tag {
	case "!!int", "!!float": // as written: a float64 would lose the bounds of int64
		out.WriteString(n.Value)
		return nil
	case "!!bool", "!!null":
		var value any
		if err := n.Decode(&value); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		return json.NewEncoder(out).Encode(value)
	default:
		raw, err := json.Marshal(n.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		out.Write(raw)
		return nil
	}
}
