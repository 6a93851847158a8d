package importer

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/template/parse"
)

// The functions that escape what a template prints, unless it says otherwise.
const (
	escapeInJSON = "escape_in_json"
	escapeInURL  = "escape_in_url"
)

// escape makes everything that a template prints go through an escaper, unless it ends in a function that already makes it
// what it has to be. So no record can add a member to a body or a part to a path by what stands in its fields.
func escape(node parse.Node, escaper string, unless ...string) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, inner := range n.Nodes {
				escape(inner, escaper, unless...)
			}
		}
	case *parse.IfNode:
		escape(n.List, escaper, unless...)
		escape(n.ElseList, escaper, unless...)
	case *parse.RangeNode:
		escape(n.List, escaper, unless...)
		escape(n.ElseList, escaper, unless...)
	case *parse.WithNode:
		escape(n.List, escaper, unless...)
		escape(n.ElseList, escaper, unless...)
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 && !endsIn(n.Pipe, unless) {
			function := parse.NewIdentifier(escaper).SetTree(nil).SetPos(n.Pos)
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{function}})
		}
	}
}

func endsIn(pipe *parse.PipeNode, functions []string) bool {
	last := pipe.Cmds[len(pipe.Cmds)-1]
	name, ok := last.Args[0].(*parse.IdentifierNode)
	if !ok {
		return false
	}
	for _, function := range functions {
		if name.Ident == function {
			return true
		}
	}
	return false
}

// escapeJSON makes a value good within the quotes of a JSON string; a number or a true stays what it is without quotes.
func escapeJSON(value any) (string, error) {
	quoted, err := json.Marshal(fmt.Sprint(value))
	if err != nil {
		return "", err
	}
	return string(quoted[1 : len(quoted)-1]), nil
}

// emptyMark is what escapeURL makes of an empty value, for setPath to see.
const emptyMark = "\x00"

// escapeURL percent-encodes everything that has a meaning in a path or a query.
func escapeURL(value any) string {
	const upperHex = "0123456789ABCDEF"
	text := fmt.Sprint(value)
	if text == "" {
		return emptyMark
	}
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}
