package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

// remoteVerb is a verb that is one request to the API.
type remoteVerb struct {
	use, short, long, example string
	args                      int
	method                    string
	path                      string       // with a %s for each argument, or with none: then the body has them
	flags                     []remoteFlag // in the query of a read, in the body of a write
	file                      bool         // the body may come from a file
	body                      func(args []string) map[string]any
	columns                   []column // of a list
	show                      func(c *cli, value map[string]any)
}

// remoteFlag is a flag that goes into the request as the member of the same name, with underscores.
type remoteFlag struct {
	name, usage string
	kind        flagKind
}

type flagKind int

const (
	asText flagKind = iota
	asNumber
	asDecimal
	asTruth
	asTime // RFC 3339, or a duration from now
)

// column is what a table shows of each row: the member at a path.
type column struct{ title, path string }

const listedDefault = 20

// verb makes the command.
func (c *cli) verb(v remoteVerb) *cobra.Command {
	cmd := &cobra.Command{Use: v.use, Short: v.short, Long: v.long, Example: v.example, Args: takes(v.args)}
	bindAPI(cmd)
	bindJSON(cmd)
	for _, f := range v.flags {
		switch f.kind {
		case asText, asTime:
			cmd.Flags().String(f.name, "", f.usage)
		case asNumber:
			cmd.Flags().Int64(f.name, 0, f.usage)
		case asDecimal:
			cmd.Flags().Float64(f.name, 0, f.usage)
		case asTruth:
			cmd.Flags().Bool(f.name, false, f.usage)
		}
	}
	if v.file {
		cmd.Flags().String("file", "", "JSON with the members of the request; - is standard input; flags count more")
	}
	if v.columns != nil {
		cmd.Flags().Int("limit", listedDefault, "how many to list at most")
	}
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error { return c.carryOut(cmd, v, args) })
	return cmd
}

// carryOut makes the request and shows the answer.
func (c *cli) carryOut(cmd *cobra.Command, v remoteVerb, args []string) error {
	node, err := c.remote(cmd)
	if err != nil {
		return err
	}
	path := v.path
	if strings.Contains(path, "%s") {
		escaped := make([]any, len(args))
		for i, arg := range args {
			escaped[i] = url.PathEscape(arg)
		}
		path = fmt.Sprintf(path, escaped...)
	}
	given, err := v.given(cmd, args)
	if err != nil {
		return err
	}
	if v.columns != nil {
		return c.carryOutList(cmd, node, v, path, given)
	}
	var query url.Values
	var body any
	switch v.method {
	case http.MethodGet:
		query = queryOf(given)
	case http.MethodDelete:
	default:
		body = given
	}
	value, err := node.ask(cmd.Context(), v.method, path, query, body)
	switch {
	case err != nil:
		return err
	case wantsJSON(cmd):
		return c.printJSON(value)
	case v.show != nil:
		v.show(c, value)
	default:
		c.printFields(value)
	}
	return nil
}

func (c *cli) carryOutList(cmd *cobra.Command, node *remote, v remoteVerb, path string, given map[string]any) error {
	query := queryOf(given)
	wanted, err := cmd.Flags().GetInt("limit")
	if err != nil || wanted < 1 {
		return fmt.Errorf("%w: --limit is at least 1", errUsage)
	}
	rows, more, err := node.list(cmd.Context(), path, query, wanted)
	switch {
	case err != nil:
		return err
	case wantsJSON(cmd):
		if rows == nil {
			rows = []any{}
		}
		return c.printJSON(map[string]any{"data": rows, "has_more": more})
	}
	c.printTable(v.columns, rows)
	if more {
		_, _ = fmt.Fprintf(c.process.Err, "There are more; --limit %d shows as many.\n", 5*wanted)
	}
	return nil
}

func queryOf(given map[string]any) url.Values {
	query := url.Values{}
	for name, value := range given {
		query.Set(name, fmt.Sprint(value))
	}
	return query
}

// given collects the members of the request: from the arguments, the file, and the flags that were set.
func (v *remoteVerb) given(cmd *cobra.Command, args []string) (map[string]any, error) {
	out := map[string]any{}
	if v.file {
		if err := readMembers(cmd, out); err != nil {
			return nil, err
		}
	}
	if v.body != nil {
		for name, value := range v.body(args) {
			out[name] = value
		}
	}
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		i := slices.IndexFunc(v.flags, func(known remoteFlag) bool { return known.name == f.Name })
		if i < 0 {
			return
		}
		name := strings.ReplaceAll(f.Name, "-", "_")
		switch v.flags[i].kind {
		case asText:
			out[name] = f.Value.String()
		case asNumber:
			out[name] = json.Number(f.Value.String())
		case asDecimal:
			value, err := cmd.Flags().GetFloat64(f.Name)
			if err != nil {
				wrong = err
			}
			out[name] = json.Number(strconv.FormatFloat(value, 'f', -1, 64)) // the contract knows no exponents
		case asTruth:
			out[name] = f.Value.String() == "true"
		case asTime:
			at, err := readMoment(f.Value.String())
			if err != nil {
				wrong = fmt.Errorf("%w: --%s: %w", errUsage, f.Name, err)
			}
			out[name] = at
		}
	})
	return out, wrong
}

// readMoment reads a time, or how long it is from now.
func readMoment(text string) (string, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return clock.System().Add(d).UTC().Format(time.RFC3339Nano), nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return "", fmt.Errorf("%q is no time such as 2027-01-05T12:00:00Z, and no duration such as 30m", text)
	}
	return text, nil
}

// readMembers reads the file that --file names.
func readMembers(cmd *cobra.Command, into map[string]any) error {
	path, err := cmd.Flags().GetString("file")
	if err != nil || path == "" {
		return err
	}
	var raw []byte
	if path == "-" {
		raw, err = io.ReadAll(cmd.InOrStdin())
	} else {
		raw, err = os.ReadFile(path) //nolint:gosec // whoever runs the command names the file
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(raw, &into); err != nil {
		return fmt.Errorf("%w: %s is no JSON object: %w", errUsage, path, err)
	}
	return nil
}

// member finds a value by its path, as text.
func member(value any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return plain(value)
}

func plain(value any) string {
	switch v := value.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return v
	case map[string]any, []any:
		raw, err := json.Marshal(v)
		if err != nil {
			return "?"
		}
		return string(raw)
	default:
		return fmt.Sprint(v)
	}
}

// cellMost is how much of a text a table shows, in characters.
const cellMost = 60

func (c *cli) printTable(columns []column, rows []any) {
	w := tabwriter.NewWriter(c.process.Out, 0, 0, 2, ' ', 0)
	line := func(cell func(column) string) {
		cells := make([]string, len(columns))
		for i, col := range columns {
			text := []rune(oneLine(cell(col)))
			if len(text) > cellMost {
				text = append(text[:cellMost-1], '…')
			}
			cells[i] = string(text)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	line(func(col column) string { return col.title })
	for _, row := range rows {
		line(func(col column) string { return member(row, col.path) })
	}
	_ = w.Flush()
}

// printFields shows one thing, a member a line, without those that it does not have.
func (c *cli) printFields(value map[string]any) {
	names := make([]string, 0, len(value))
	for name, v := range value {
		if v != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	w := tabwriter.NewWriter(c.process.Out, 0, 0, 2, ' ', 0)
	for _, name := range names {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, plain(value[name]))
	}
	_ = w.Flush()
}
