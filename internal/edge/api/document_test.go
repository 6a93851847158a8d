package api

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// anyValue generates the values a document can have.
func anyValue(depth int) *rapid.Generator[any] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("aZ0 é€😀\"\\/\n\t\x01<&")), 0, 8, -1)
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), text.AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	return rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			list := rapid.SliceOfN(anyValue(depth-1), 0, 4).Draw(t, "items")
			return append(make([]any, 0), list...)
		case 1:
			return rapid.MapOfN(text, anyValue(depth-1), 0, 5).Draw(t, "members")
		default:
			return rapid.OneOf(leaves...).Draw(t, "leaf")
		}
	})
}

// writeAnyhow writes a value as JSON in one of the many ways: members in any order, space anywhere, any escapes.
func writeAnyhow(out *bytes.Buffer, value any, chance *rand.Rand) {
	space := func() {
		for chance.IntN(3) == 0 {
			out.WriteByte(" \t\r\n"[chance.IntN(4)])
		}
	}
	space()
	switch v := value.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		chance.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		out.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				out.WriteByte(',')
			}
			space()
			writeTextAnyhow(out, name, chance)
			space()
			out.WriteByte(':')
			writeAnyhow(out, v[name], chance)
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			writeAnyhow(out, item, chance)
		}
		space()
		out.WriteByte(']')
	case string:
		writeTextAnyhow(out, v, chance)
	default:
		raw, _ := json.Marshal(v)
		out.Write(raw)
	}
	space()
}

func writeTextAnyhow(out *bytes.Buffer, text string, chance *rand.Rand) {
	const digits = "0123456789ABCDEF"
	out.WriteByte('"')
	for _, c := range text {
		switch {
		case c > math.MaxUint16:
			if chance.IntN(2) == 0 {
				raw := []byte(`\ud83d\ude00`) // the only one that anyValue has
				out.Write(raw)
				continue
			}
			out.WriteRune(c)
		case c == '"' || c == '\\' || c < ' ' || chance.IntN(3) == 0:
			out.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				out.WriteByte(digits[c>>shift&15])
			}
		default:
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
}

func TestDocumentsThatMeanTheSameHaveOneCanonicalForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := anyValue(3).Draw(t, "value")
		chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var first, second bytes.Buffer
		writeAnyhow(&first, value, chance)
		writeAnyhow(&second, value, chance)
		a, err := readDocument(first.Bytes(), 1000)
		if err != nil {
			t.Fatalf("%s: %v", first.Bytes(), err)
		}
		b, err := readDocument(second.Bytes(), 1000)
		if err != nil {
			t.Fatalf("%s: %v", second.Bytes(), err)
		}
		if !bytes.Equal(a.canonical, b.canonical) {
			t.Fatalf("two canonical forms:\n%s\n%s", a.canonical, b.canonical)
		}
		if !reflect.DeepEqual(a.value, value) {
			t.Fatalf("read %#v, wrote %#v", a.value, value)
		}
		again, err := readDocument(a.canonical, 1000)
		if err != nil || !bytes.Equal(again.canonical, a.canonical) {
			t.Fatalf("the canonical form is not its own: %s, %v", again.canonical, err)
		}
	})
}

func TestDocumentsThatDifferHaveTwoCanonicalForms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one, other := anyValue(2).Draw(t, "one"), anyValue(2).Draw(t, "other")
		var first, second bytes.Buffer
		chance := rand.New(rand.NewPCG(1, 2))
		writeAnyhow(&first, one, chance)
		writeAnyhow(&second, other, chance)
		a, _ := readDocument(first.Bytes(), 1000)
		b, _ := readDocument(second.Bytes(), 1000)
		if bytes.Equal(a.canonical, b.canonical) != reflect.DeepEqual(one, other) {
			t.Fatalf("%s and %s", a.canonical, b.canonical)
		}
	})
}

func TestReadDocumentRefuses(t *testing.T) {
	t.Parallel()
	for text, param := range map[string]string{
		``:                              "",
		` `:                             "",
		`{"a":1} {"b":2}`:               "",
		`{"a":1}x`:                      "",
		`{"a":1,"a":1}`:                 "/a",
		`{"a":1,"\u0061":2}`:            "/a",
		`{"x":[{"b":1},{"b":1,"b":2}]}`: "/x/1/b",
		`{"a":1,}`:                      "",
		`{,}`:                           "",
		`{a:1}`:                         "",
		`{'a':1}`:                       "",
		`{"a" 1}`:                       "/a",
		`{"a":}`:                        "/a",
		`{"a"`:                          "/a",
		`[1,]`:                          "/1",
		`[1 2]`:                         "",
		`[1`:                            "",
		`tru`:                           "",
		`nulll`:                         "",
		`NaN`:                           "",
		`Infinity`:                      "",
		`01`:                            "",
		`-`:                             "",
		`+1`:                            "",
		`1.`:                            "",
		`.5`:                            "",
		`1e`:                            "",
		`1e+`:                           "",
		`"a`:                            "",
		"\"a\nb\"":                      "",
		"\"\x00\"":                      "",
		`"\u0000"`:                      "",
		`"a\u0000b"`:                    "",
		`"\x"`:                          "",
		`"\`:                            "",
		`"\u12"`:                        "",
		`"\u12g4"`:                      "",
		`"\ud800"`:                      "",
		`"\ud800\u0041"`:                "",
		`"\udc00\ud800"`:                "",
		"\"\xff\"":                      "",
		"\"\\n\xc0\xaf\"":               "",
		"{\"\xed\xa0\x80\":1}":          "",
		"\ufeff{}":                      "",
		`// no`:                         "",
		strings.Repeat("[", 100_000):    strings.Repeat("/0", depthMax+1),
		strings.Repeat(`{"a":`, 40):     strings.Repeat("/a", depthMax+1),
	} {
		_, err := readDocument([]byte(text), 1000)
		f := fault.From(err)
		if err == nil || f.Code != "malformed_json" || f.Kind != fault.Invalid {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		if f.Param != param {
			t.Errorf("%.40q: at %q, want %q", text, f.Param, param)
		}
	}
	if _, err := readDocument([]byte("["+strings.Repeat("1,", 2000)+"1]"), 1000); fault.From(err).Code != "malformed_json" {
		t.Errorf("more values than allowed: %v", err)
	}
}

func TestReadDocumentNotesNumbersThatAreNotWhole(t *testing.T) {
	t.Parallel()
	d, err := readDocument([]byte(`{"a":1.5,"b":[1e3,9223372036854775807,-9223372036854775808,9223372036854775808,-9223372036854775809,1.0,-0,0.0001]}`), 100)
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, p := range d.problems {
		at = append(at, p.Param)
	}
	if want := []string{"/b/0", "/b/3", "/b/4", "/b/7"}; !reflect.DeepEqual(at, want) {
		t.Errorf("noted %v, want %v", at, want)
	}
	list := d.value.(map[string]any)["b"].([]any)
	if list[1] != int64(math.MaxInt64) || list[2] != int64(math.MinInt64) || list[5] != json.Number("1.0") || list[6] != int64(0) {
		t.Errorf("read %v", list)
	}
}

func TestFingerprintDependsOnMethodPathAndBody(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]bool{}
	for _, f := range [][32]byte{
		fingerprint("POST", "/v1/payments", []byte(`{}`)), fingerprint("POST", "/v1/payment", []byte(`s{}`)),
		fingerprint("PUT", "/v1/payments", []byte(`{}`)), fingerprint("POST", "/v1/payments", []byte(`{"a":1}`)),
	} {
		if seen[f] {
			t.Error("two requests have one fingerprint")
		}
		seen[f] = true
	}
}

// FuzzReadDocument holds the reader against encoding/json: whatever it accepts, that accepts too and sees the same.
func FuzzReadDocument(f *testing.F) {
	for _, seed := range []string{sampleEntry, `{}`, `[1,"a",null,true,{"b":-1}]`, `{"a":1.5e3}`, `"\ud83d\ude00"`, "\"\\u00e9\"", `{"b":1,"a":[{},[]]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := readDocument(raw, 10_000)
		if err != nil {
			if f := fault.From(err); f.Kind != fault.Invalid || !utf8.ValidString(f.Detail) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		var theirs, ours any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&theirs); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", raw, err)
		}
		decoder = json.NewDecoder(bytes.NewReader(d.canonical))
		decoder.UseNumber()
		if err := decoder.Decode(&ours); err != nil {
			t.Fatalf("the canonical form %q of %q is not JSON: %v", d.canonical, raw, err)
		}
		if !reflect.DeepEqual(theirs, ours) {
			t.Fatalf("%q became %q", raw, d.canonical)
		}
		again, err := readDocument(d.canonical, 10_000)
		if err != nil || !bytes.Equal(again.canonical, d.canonical) || len(again.problems) != len(d.problems) {
			t.Fatalf("%q is not its own canonical form: %q, %v", d.canonical, again.canonical, err)
		}
	})
}
