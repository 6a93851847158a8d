package importer

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// all reads the records of a text from an offset on, until the end or something fatal.
func all(i *Import, l layout, text string, offset int64) (records []record, problems []string) {
	lines := int64(strings.Count(text[:offset], "\n"))
	in := i.records(strings.NewReader(text[offset:]), l, offset, lines)
	for {
		r, err := in.next()
		if errors.Is(err, io.EOF) {
			return records, problems
		}
		if err != nil {
			problems = append(problems, err.Error())
			if _, ok := errors.AsType[*Problem](err); !ok {
				return records, problems
			}
			if _, ok := errors.AsType[*fatal](err); ok {
				return records, problems
			}
		}
		records = append(records, r)
	}
}

// FuzzReading: nothing panics; offsets rise and stay within the text; and who begins behind any record reads the same rest,
// with the same lines, as who came there from the beginning.
func FuzzReading(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,2\n\n3,\"x\ny\"\n4,5,6\n7,8", "a\n\"\n", "a\n\"b\"c\n", "\xef\xbb\xbfa\r\n1\r\n\r", "a,a\n", "\xff\xfea", "{}\n{\"a\":null}\n\n[1]\n{\"a\":1}x\n{", "a\nb\xff\nc",
	} {
		for _, csv := range []bool{true, false} {
			f.Add(text, csv, true)
			f.Add(text, csv, false)
		}
	}
	f.Fuzz(func(t *testing.T, text string, csv, lazy bool) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		i := &Import{Path: path, Format: JSONLines, LazyQuotes: lazy}
		if csv {
			i.Format = CSV
		}
		l, err := i.layout()
		if err != nil || strings.HasPrefix(text, "\x1f\x8b") {
			return
		}
		records, problems := all(i, l, text, l.begin)
		last := l.begin
		for n, r := range records {
			if r.end <= last || r.end > int64(len(text)) {
				t.Fatalf("record %d ends at %d, after %d, of %d", n, r.end, last, len(text))
			}
			last = r.end
			rest, more := all(i, l, text, r.end)
			if len(rest) != len(records)-n-1 || len(rest) > 0 && !reflect.DeepEqual(rest, records[n+1:]) {
				t.Fatalf("from %d on there is another rest:\n%+v\n%+v", r.end, rest, records[n+1:])
			}
			if len(more) > len(problems) || len(more) > 0 && !reflect.DeepEqual(more, problems[len(problems)-len(more):]) {
				t.Fatalf("from %d on there are other problems:\n%v\n%v", r.end, more, problems)
			}
		}
	})
}

func TestProblemsNameTheirPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, want string
	}{
		{"x.csv", "", "its first line must name the columns"},
		{"x.csv", "a,b,,a\n", "line 1, column 5: column 3 of the file has no name\nline 1, column 6: the columns 1 and 4 of the file have the same name \"a\""},
		{"x.csv", "a,b\r1,2\r3,4\r", "line 1, column 3: the lines end in carriage returns alone"},
		{"x.csv", "a;b\n1;2\n", "the file has one column, \"a;b\"; say by which character its fields are divided, ';' perhaps"},
		{"x.csv", "a,b\n1,2\n3\n", "line 3: the record has another number of fields than the first line, which has 2"},
		{"x.csv", "a,b\n1,x\"y\n", "line 2, column 4: a quote in a field that does not begin with one"},
		{"x.csv", "a,b\n1,\"x\ny\"z\n", "line 3, column 2: a quote within a quoted field must be doubled; take such quotes as they are with lazy quotes (the record begins in line 2)"},
		{"x.csv", "a,b\n1,\"x\n", "line 2, column 6: a quote within a quoted field"},
		{"x.csv", "a,b\n1,2\n1,\"" + strings.Repeat("x\n", recordBytesMax), "line 3: the record is longer"},
		{"x.csv", "a,b\n1,x\xffy\n", "line 2, column 3: b is not UTF-8"},
		{"x.csv", "\xff\xfea\x00", "the file is UTF-16"},
		{"x.jsonl", "{}\n\n{\"a\" 1}\n", "line 3, column 6: invalid character '1'"},
		{"x.jsonl", "{} {}\n", "line 1, column 4: a line has one object"},
		{"x.jsonl", "{\"a\":\"\xff\"}\n", "line 1, column 7: the line is not UTF-8"},
		{"x.jsonl", "{}\n{\"a\":\"" + strings.Repeat("x", recordBytesMax) + "\"}\n", "line 2: the line is longer"},
		{"x.txt", "a\n", "does not tell the format"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseTemplate(TemplateText{Path: "/"})
		if err != nil {
			t.Fatal(err)
		}
		i := &Import{Path: path, Template: parsed}
		if _, err = i.DryRun(t.Context(), 0, io.Discard); err == nil {
			i.SkipInvalid, i.Batch = false, 1
			strict := *i
			strict.Send = func(_ context.Context, batch []Task) ([]Result, error) { return make([]Result, len(batch)), nil }
			_, err = strict.Run(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v\nnot %s", c.text, err, c.want)
		}
	}
}
