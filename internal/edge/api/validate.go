package api

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// problemsMax bounds how many mistakes of one request are told.
const problemsMax = 100

// keyBytesMax is the longest idempotency key.
const keyBytesMax = 255

// errKeyRequired is the answer to a write without an idempotency key.
var errKeyRequired = fault.New(fault.Invalid, "idempotency_key_required",
	"A write needs an Idempotency-Key header, so that it can be repeated safely.").At("Idempotency-Key")

// checkParameters validates the path, query and header parameters of a request, all but the idempotency key.
func (o *operation) checkParameters(r *http.Request) []fault.Problem {
	var found []fault.Problem
	var query url.Values
	if r.URL.RawQuery != "" {
		var err error
		if query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return []fault.Problem{{Detail: "the query string is not well-formed"}}
		}
		for name, values := range query {
			switch {
			case !o.queryNames[name]:
				found = append(found, fault.Problem{Param: name, Detail: "is not a parameter of this request"})
			case len(values) > 1:
				found = append(found, fault.Problem{Param: name, Detail: "is there twice"})
			}
		}
	}
	for i := range o.parameters {
		p := &o.parameters[i]
		switch p.in {
		case "path":
			found = p.check(found, r.PathValue(p.name))
		case "query":
			if values, ok := query[p.name]; ok {
				found = p.check(found, values[0])
			}
		case "header":
			if values := r.Header.Values(p.name); len(values) > 0 && p.name != "Idempotency-Key" {
				found = p.check(found, values[0])
			}
		}
	}
	return found
}

func (p *parameter) check(found []fault.Problem, text string) []fault.Problem {
	var value any = text
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return append(found, fault.Problem{Param: p.name, Detail: "must be UTF-8 without the character NUL"})
	}
	if p.integer {
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return append(found, fault.Problem{Param: p.name, Detail: "must be a whole number"})
		}
		value = number
	}
	if p.shape != nil && p.shape.accepts(value) {
		return found
	}
	if err := p.schema.Validate(value); err != nil {
		for _, problem := range describe(err) {
			found = append(found, fault.Problem{Param: p.name, Detail: problem.Detail})
		}
	}
	return found
}

// idempotencyKey reads the header: 1 to 255 printable characters, so that it can be logged and typed.
func idempotencyKey(header http.Header) (string, error) {
	values := header["Idempotency-Key"]
	if len(values) == 0 || values[0] == "" {
		return "", errKeyRequired
	}
	key := values[0]
	if len(values) > 1 {
		return "", invalid([]fault.Problem{{Param: "Idempotency-Key", Detail: "is there twice"}})
	}
	printable := len(key) <= keyBytesMax && key[0] != ' ' && key[len(key)-1] != ' '
	for i := 0; printable && i < len(key); i++ {
		printable = key[i] >= ' ' && key[i] <= '~'
	}
	if !printable {
		return "", invalid([]fault.Problem{{Param: "Idempotency-Key", Detail: "must be 1 to 255 printable ASCII characters"}})
	}
	return key, nil
}

// checkBody validates a body against its schema.
func (o *operation) checkBody(d document) []fault.Problem {
	found := d.problems
	if o.shape != nil && o.shape.accepts(d.value) {
		return found
	}
	err := o.body.Validate(d.value)
	found = append(slices.Clip(found), o.shape.unseen(d.value, nil)...)
	if err == nil {
		return found
	}
	told := found
	for _, problem := range describe(err) {
		known := slices.ContainsFunc(told, func(p fault.Problem) bool { return p.Param == problem.Param })
		if !known { // what the schema says of a number's stand-in would mislead
			found = append(found, problem)
		}
	}
	if len(found) == 0 {
		found = append(found, fault.Problem{Detail: "is not as the contract has it"})
	}
	return found
}

// invalid is the fault that lists everything wrong with a request, in the order of the fields.
func invalid(found []fault.Problem) error {
	slices.SortStableFunc(found, func(a, b fault.Problem) int { return cmp.Compare(a.Param, b.Param) })
	f := fault.New(fault.Invalid, "invalid_request", found[0].Param+" "+found[0].Detail+".").At(found[0].Param)
	if found[0].Param == "" {
		f.Detail = "The request " + found[0].Detail + "."
	}
	if len(found) > 1 {
		f.Detail = fmt.Sprintf("%d things are wrong with the request; the first: %s", len(found), f.Detail)
	}
	f.Params = found[:min(len(found), problemsMax)]
	return f
}

// describe turns the schemas' findings into sentences about fields.
func describe(err error) []fault.Problem {
	top, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []fault.Problem{{Detail: "could not be checked"}}
	}
	var found []fault.Problem
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(found) > 10*problemsMax {
			return
		}
		if _, ok := e.ErrorKind.(*kind.PropertyNames); ok {
			return // it does not know its place: badNames finds these
		}
		if len(e.Causes) == 0 {
			found = append(found, findings(e)...)
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(top)
	return withoutRepeats(found)
}

// withoutRepeats says of what is no id only that: its length adds nothing.
func withoutRepeats(found []fault.Problem) []fault.Problem {
	return slices.DeleteFunc(found, func(p fault.Problem) bool {
		return strings.HasPrefix(p.Detail, mustHave) && slices.ContainsFunc(found, func(other fault.Problem) bool {
			return other.Param == p.Param && strings.HasPrefix(other.Detail, mustBeID)
		})
	})
}

// How some findings begin.
const (
	mustHave = "must have at "
	mustBeID = "must be an id, "
)

// idPatternEnd is how the pattern of an id ends: after its prefix.
const idPatternEnd = "[0-7][0-9a-hjkmnp-tv-z]{25}$"

// patternFinding says which text is wanted.
func patternFinding(pattern string) string {
	prefix, isID := strings.CutSuffix(strings.TrimPrefix(pattern, "^"), idPatternEnd)
	if !isID {
		return "must match " + pattern
	}
	return mustBeID + prefix + " and 26 characters"
}

func findings(e *jsonschema.ValidationError) []fault.Problem {
	at := pointer(e.InstanceLocation)
	one := func(format string, args ...any) []fault.Problem {
		return []fault.Problem{{Param: at, Detail: fmt.Sprintf(format, args...)}}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return each(at, k.Missing, "is required")
	case *kind.AdditionalProperties:
		return each(at, k.Properties, "is not known here")
	case *kind.Type:
		return one("must be %s, not %s", typeNames(k.Want), typeNames([]string{k.Got}))
	case *kind.Enum:
		return one("must be one of %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(k.Want), " ", ", "), "[]"))
	case *kind.Minimum:
		return one("must be at least %s", decimal(k.Want))
	case *kind.Maximum:
		return one("must be at most %s", decimal(k.Want))
	case *kind.MinLength:
		return one(mustHave+"least %s", counted(k.Want, "character"))
	case *kind.MaxLength:
		return one(mustHave+"most %s", counted(k.Want, "character"))
	case *kind.MinItems:
		return one("must have at least %s", counted(k.Want, "item"))
	case *kind.MaxItems:
		return one("must have at most %s", counted(k.Want, "item"))
	case *kind.MaxProperties:
		return one("must have at most %s", counted(k.Want, "member"))
	case *kind.Pattern:
		return one("%s", patternFinding(k.Want))
	case *kind.Format:
		return one("must be a %s as RFC 3339 has it, such as 2027-01-05T12:00:00Z, of the years %d to %d", k.Want, yearMin, yearMax)
	default:
		return one("is not as the contract has it")
	}
}

// decimal writes a bound as the contract does.
func decimal(bound *big.Rat) string {
	if bound.IsInt() {
		return bound.RatString()
	}
	return strings.TrimRight(bound.FloatString(decimalsMax), "0")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func each(at string, names []string, detail string) []fault.Problem {
	found := make([]fault.Problem, len(names))
	for i, name := range names {
		found[i] = fault.Problem{Param: at + "/" + pointerEscape(name), Detail: detail}
	}
	return found
}

func typeNames(types []string) string {
	names := map[string]string{
		"string": "text", "integer": "a whole number", "number": "a number", "object": "an object", "array": "an array",
		"boolean": "true or false", "null": "null",
	}
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = cmp.Or(names[t], t)
	}
	return strings.Join(out, " or ")
}
