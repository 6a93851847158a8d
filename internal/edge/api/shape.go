package api

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp/syntax"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// shape is a schema made ready to say yes quickly. The schemas' own validator explains what is wrong, at some 16 µs and 80
// allocations for an entry; nearly every request is right, and for those a shape needs one. It never decides alone that
// a request is wrong: then the validator is asked. A property test holds the two together.
type shape struct {
	types      typeSet
	enum       []string
	lengthMin  int // in characters
	lengthMax  int
	characters *[utf8.RuneSelf]bool // the only ones allowed; nil: pattern decides
	pattern    jsonschema.Regexp
	format     *jsonschema.Format
	min, max   int64    // of whole numbers
	least      *big.Rat // of others; nil: no bound
	most       *big.Rat
	members    map[string]*shape
	required   []string
	closed     bool   // no other members
	others     *shape // of all other members
	names      *shape // of the members' names
	membersMax int
	items      *shape
	itemsMin   int
	itemsMax   int
}

type typeSet uint8

const (
	typeNull typeSet = 1 << iota
	typeBoolean
	typeInteger
	typeNumber // one that may have a fraction
	typeString
	typeArray
	typeObject
	typeAny = 1<<iota - 1
)

// newShape returns nil for a schema with anything in it that a shape does not know: then only the validator is used.
func newShape(s *jsonschema.Schema) *shape {
	const depth = 16 // the contract's requests do not recurse
	f, known := shapeOf(s, depth)
	if !known {
		return nil
	}
	return f
}

func shapeOf(s *jsonschema.Schema, depth int) (*shape, bool) {
	if depth == 0 || !onlyKnownKeywords(s) {
		return nil, false
	}
	if s.Ref != nil {
		bare := s.Types == nil && s.Enum == nil && s.Properties == nil && s.Pattern == nil && s.Minimum == nil && s.Maximum == nil &&
			s.MinLength == nil && s.MaxLength == nil && s.Items2020 == nil && s.AdditionalProperties == nil && s.Format == nil
		if !bare {
			return nil, false
		}
		return shapeOf(s.Ref, depth-1)
	}
	f := &shape{
		types: typesOf(s), format: s.Format, required: s.Required,
		lengthMin: orElse(s.MinLength, 0), lengthMax: orElse(s.MaxLength, math.MaxInt),
		membersMax: orElse(s.MaxProperties, math.MaxInt), itemsMin: orElse(s.MinItems, 0), itemsMax: orElse(s.MaxItems, math.MaxInt),
	}
	return f, f.setText(s) && f.setRange(s) && f.setMembers(s, depth)
}

func onlyKnownKeywords(s *jsonschema.Schema) bool {
	return s.Bool == nil && s.RecursiveRef == nil && s.DynamicRef == nil && s.Const == nil && s.Not == nil &&
		len(s.AllOf)+len(s.AnyOf)+len(s.OneOf) == 0 && s.If == nil && s.MinProperties == nil && len(s.PatternProperties) == 0 &&
		len(s.Dependencies)+len(s.DependentRequired)+len(s.DependentSchemas) == 0 && s.UnevaluatedProperties == nil &&
		!s.UniqueItems && s.Contains == nil && len(s.PrefixItems) == 0 && s.Items == nil && s.UnevaluatedItems == nil &&
		s.ContentEncoding == nil && s.ContentMediaType == nil && s.ContentSchema == nil &&
		s.ExclusiveMaximum == nil && s.ExclusiveMinimum == nil && s.MultipleOf == nil && len(s.Extensions) == 0
}

func orElse(n *int, otherwise int) int {
	if n == nil {
		return otherwise
	}
	return *n
}

func typesOf(s *jsonschema.Schema) typeSet {
	if s.Types == nil || s.Types.IsEmpty() {
		return typeAny
	}
	names := map[string]typeSet{
		"null": typeNull, "boolean": typeBoolean, "integer": typeInteger, "number": typeInteger | typeNumber, "string": typeString,
		"array": typeArray, "object": typeObject,
	}
	var set typeSet
	for _, name := range s.Types.ToStrings() {
		set |= names[name]
	}
	return set
}

func (f *shape) setText(s *jsonschema.Schema) bool {
	if s.Pattern != nil {
		if f.characters = onlyCharacters(s.Pattern.String()); f.characters == nil {
			f.pattern = s.Pattern
		}
	}
	if s.Enum != nil {
		for _, value := range s.Enum.Values {
			text, ok := value.(string)
			if !ok {
				return false
			}
			f.enum = append(f.enum, text)
		}
	}
	return true
}

// onlyCharacters reads a pattern such as ^[a-z0-9_]+$ as a table; nil for any other form.
func onlyCharacters(pattern string) *[utf8.RuneSelf]bool {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || len(tree.Sub) != 3 || tree.Sub[0].Op != syntax.OpBeginText ||
		tree.Sub[1].Op != syntax.OpPlus || tree.Sub[1].Sub[0].Op != syntax.OpCharClass || tree.Sub[2].Op != syntax.OpEndText {
		return nil
	}
	var table [utf8.RuneSelf]bool
	for low, ranges := 0, tree.Sub[1].Sub[0].Rune; low < len(ranges); low += 2 {
		for c := ranges[low]; c <= ranges[low+1]; c++ {
			if c >= utf8.RuneSelf {
				return nil
			}
			table[c] = true
		}
	}
	return &table
}

func (f *shape) setRange(s *jsonschema.Schema) bool {
	f.min, f.max, f.least, f.most = math.MinInt64, math.MaxInt64, s.Minimum, s.Maximum
	return setBound(&f.min, s.Minimum, true) && setBound(&f.max, s.Maximum, false)
}

// setBound rounds a bound to the next whole number within it.
func setBound(bound *int64, value *big.Rat, up bool) bool {
	if value == nil {
		return true
	}
	whole := new(big.Int).Div(value.Num(), value.Denom()) // rounded down
	if up && !value.IsInt() {
		whole.Add(whole, big.NewInt(1))
	}
	*bound = whole.Int64()
	return whole.IsInt64()
}

func (f *shape) setMembers(s *jsonschema.Schema, depth int) bool {
	var known bool
	f.members = make(map[string]*shape, len(s.Properties))
	for name, member := range s.Properties {
		if f.members[name], known = shapeOf(member, depth-1); !known {
			return false
		}
	}
	switch others := s.AdditionalProperties.(type) {
	case nil:
	case bool:
		f.closed = !others
	case *jsonschema.Schema:
		if f.others, known = shapeOf(others, depth-1); !known {
			return false
		}
	}
	if s.PropertyNames != nil {
		if f.names, known = shapeOf(s.PropertyNames, depth-1); !known {
			return false
		}
	}
	if s.Items2020 != nil {
		if f.items, known = shapeOf(s.Items2020, depth-1); !known {
			return false
		}
	}
	return true
}

// accepts tells whether the validator would find nothing. Values are those of a document.
func (f *shape) accepts(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return f.types&typeObject != 0 && f.enum == nil && f.acceptsObject(v)
	case []any:
		return f.types&typeArray != 0 && f.enum == nil && f.acceptsArray(v)
	case string:
		return f.types&typeString != 0 && f.acceptsText(v)
	case int64:
		return f.types&typeInteger != 0 && f.enum == nil && v >= f.min && v <= f.max
	case json.Number:
		return f.types&typeNumber != 0 && f.enum == nil && f.acceptsDecimal(v)
	case bool:
		return f.types&typeBoolean != 0 && f.enum == nil
	case nil:
		return f.types&typeNull != 0 && f.enum == nil
	default:
		return false
	}
}

func (f *shape) acceptsDecimal(text json.Number) bool {
	n, ok := new(big.Rat).SetString(string(text))
	return ok && (f.least == nil || n.Cmp(f.least) >= 0) && (f.most == nil || n.Cmp(f.most) <= 0)
}

func (f *shape) acceptsObject(object map[string]any) bool {
	if len(object) > f.membersMax {
		return false
	}
	for _, name := range f.required {
		if _, there := object[name]; !there {
			return false
		}
	}
	for name, value := range object {
		if f.names != nil && !f.names.acceptsText(name) {
			return false
		}
		member, known := f.members[name]
		switch {
		case known && !member.accepts(value):
			return false
		case !known && (f.closed || f.others != nil && !f.others.accepts(value)):
			return false
		}
	}
	return true
}

func (f *shape) acceptsArray(array []any) bool {
	if len(array) < f.itemsMin || len(array) > f.itemsMax {
		return false
	}
	if f.items != nil {
		for _, item := range array {
			if !f.items.accepts(item) {
				return false
			}
		}
	}
	return true
}

func (f *shape) acceptsText(text string) bool {
	if f.enum != nil && !slices.Contains(f.enum, text) {
		return false
	}
	if length := utf8.RuneCountInString(text); length < f.lengthMin || length > f.lengthMax {
		return false
	}
	switch {
	case f.characters != nil:
		if text == "" {
			return false
		}
		for i := range len(text) {
			if text[i] >= utf8.RuneSelf || !f.characters[text[i]] {
				return false
			}
		}
	case f.pattern != nil && !f.pattern.MatchString(text):
		return false
	}
	return f.format == nil || f.format.Validate(text) == nil
}

// unseen finds what the validator does not know the place of, or lets pass: names of members that are not allowed, and 12.00 where
// a whole number is wanted. Who writes that may mean another unit.
func (f *shape) unseen(value any, path []string) []fault.Problem {
	var found []fault.Problem
	if f == nil {
		return nil
	}
	if _, decimal := value.(json.Number); decimal && f.types&typeInteger != 0 && f.types&typeNumber == 0 {
		found = append(found, fault.Problem{Param: pointer(path), Detail: "must be a whole number, written without a fraction or an exponent"})
	}
	object, _ := value.(map[string]any)
	for name, member := range object {
		at := append(slices.Clone(path), name)
		if f.names != nil && !f.names.acceptsText(name) {
			found = append(found, fault.Problem{Param: pointer(at), Detail: "has a name that is empty or too long"})
		}
		found = append(found, f.members[name].unseen(member, at)...)
	}
	array, _ := value.([]any)
	for i, item := range array {
		found = append(found, f.items.unseen(item, append(slices.Clone(path), strconv.Itoa(i)))...)
	}
	return found
}
