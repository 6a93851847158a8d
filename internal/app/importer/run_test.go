package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/app/importer"
)

// lines gives a file of n records, each of which says its line.
func lines(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,\"a \"\"b\"\"\"\n", from+i)
	}
	return b.String()
}

func TestWhatComesOfAFile(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"a.csv":      "id,Full Name\r\n1,Ann\r\n\r\n2,\"Bo\n\"\"B\"\"\"\r\n3,ü",
		"b.csv":      "\xef\xbb\xbfid, Full Name \n1,Ann\n\n2,\"Bo\n\"\"B\"\"\"\n3,ü\n",
		"c.tsv":      "id\tFull Name\n1\tAnn\n\n2\t\"Bo\n\"\"B\"\"\"\n3\tü\n",
		"d.csv.gz":   "id,Full Name\n1,Ann\n\n2,\"Bo\n\"\"B\"\"\"\n3,ü\n",
		"e.jsonl":    "\n" + `{"id":1,"Full Name":"Ann"}` + "\r\n\n" + `{"id":2,"Full Name":"Bo\n\"B\""}` + "\n\n" + `{"id":3,"Full Name":"ü"}`,
		"f.jsonl.gz": "\xef\xbb\xbf\n" + `{"id":1,"Full Name":"Ann"}` + "\n\n" + `{"id":2,"Full Name":"Bo\n\"B\""}` + "\n\n" + `{"id":3,"Full Name":"ü"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop()
			report, err := of(t, write(t, name, content), s, importer.TemplateText{
				Method: "put", Path: "/customers/{{.id}}", Body: `{"name":"{{get . "Full Name"}}"}`, SubjectType: "customer", SubjectID: "{{.id}}",
			}).Run(t.Context())
			if err != nil || report.Records != 3 || report.Created != 3 || !report.Complete || report.ResumedAt != 0 {
				t.Fatalf("%+v: %v", report, err)
			}
			if !slices.Equal(s.order, []string{"c/2", "c/4", "c/6"}) {
				t.Errorf("%v", s.order)
			}
			two := s.tasks["c/4"]
			if two.Method != "PUT" || two.Path != "/customers/2" || string(two.Body) != `{"name":"Bo\n\"B\""}` || two.SubjectType != "customer" || two.SubjectID != "2" {
				t.Errorf("%+v %s", two, two.Body)
			}
			if string(s.tasks["c/6"].Body) != `{"name":"ü"}` {
				t.Errorf("%s", s.tasks["c/6"].Body)
			}
		})
	}
}

// TestNothingIsLostAndNothingTwice: whatever fails between a batch and its state, the runs together make each record one
// task.
func TestNothingIsLostAndNothingTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(rt, "records")
		file := "x.csv"
		if rapid.Bool().Draw(rt, "packed") {
			file += ".gz"
		}
		path := dir + "/" + file
		rewrite(t, path, "id,name\n"+lines(2, n))
		_ = os.Remove(path + ".import")
		s := newShop()
		s.failing = func() bool { return rapid.IntRange(0, 4).Draw(rt, "failing") == 0 }
		s.losing = func() bool { return rapid.IntRange(0, 4).Draw(rt, "losing") == 0 }
		var report importer.Report
		for runs := 0; ; runs++ {
			i := of(t, path, s, importer.TemplateText{})
			i.Batch = rapid.IntRange(1, 10).Draw(rt, "batch")
			var err error
			if report, err = i.Run(t.Context()); err == nil {
				break
			}
			if !errors.Is(err, errDown) {
				rt.Fatal(err)
			}
			if runs == 500 {
				return // unlucky
			}
		}
		if len(s.tasks) != n || !report.Complete || int(report.Records) != n || int(report.Created)+int(report.Existed) != n {
			rt.Fatalf("%d tasks of %d records: %+v", len(s.tasks), n, report)
		}
		for line := 2; line < n+2; line++ {
			if task := s.tasks[fmt.Sprintf("c/%d", line)]; string(task.Body) != fmt.Sprintf(`{"id":"%d","name":"a \"b\""}`, line) {
				rt.Fatalf("line %d: %s", line, task.Body)
			}
		}
	})
}

func TestAFileMayGrowButNotChange(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"x.csv", "x.csv.gz"} {
		path, s := write(t, file, "id,name\n"+lines(2, 5)), newShop()
		i := of(t, path, s, importer.TemplateText{})
		if _, err := i.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rewrite(t, path, "id,name\n"+lines(2, 8))
		if report, err := i.Run(t.Context()); err != nil || report.ResumedAt != 7 || report.Created != 8 || s.existed != 0 {
			t.Errorf("%s grew: %+v, %v", file, report, err)
		}
		if report, err := i.Run(t.Context()); err != nil || report.Created != 8 || len(s.tasks) != 8 {
			t.Errorf("%s is done: %+v, %v", file, report, err)
		}
		for what, content := range map[string]string{
			"another record": "id,name\n" + strings.Replace(lines(2, 8), "3,", "9,", 1), "another column": "id,nome\n" + lines(2, 8), "less": "id,name\n" + lines(2, 7),
		} {
			rewrite(t, path, content)
			if _, err := i.Run(t.Context()); !errors.Is(err, importer.ErrChanged) {
				t.Errorf("%s, %s: %v", file, what, err)
			}
		}
		other := of(t, path, s, importer.TemplateText{})
		other.Name = "other"
		if _, err := other.Run(t.Context()); !errors.Is(err, importer.ErrImport) {
			t.Errorf("%s under another name: %v", file, err)
		}
	}
}

// TestABadRecordStopsTheImportThere: what comes before is sent; when the record is corrected, the import goes on with it.
func TestABadRecordStopsTheImportThere(t *testing.T) {
	t.Parallel()
	path, s := write(t, "x.csv", "id,name\n"+lines(2, 5)+"7,a,b\n"+lines(8, 3)), newShop()
	i := of(t, path, s, importer.TemplateText{})
	i.Batch = 2
	report, err := i.Run(t.Context())
	problem, ok := errors.AsType[*importer.Problem](err)
	if !ok || problem.Line != 7 || report.Created != 5 || report.Complete {
		t.Fatalf("%+v: %v", report, err)
	}
	rewrite(t, path, "id,name\n"+lines(2, 5)+"7,a\n"+lines(8, 3))
	if report, err = i.Run(t.Context()); err != nil || report.Created != 9 || report.ResumedAt != 7 || s.existed != 0 {
		t.Errorf("%+v: %v", report, err)
	}
}

func TestBadRecordsMayBeSkipped(t *testing.T) {
	t.Parallel()
	path, s := write(t, "x.jsonl", `{"id":1}`+"\n"+`{"id":`+"\n[]\n"+`{"no":2}`+"\n"+`{"id":5}`+"\n"+`{"id":6}`), newShop()
	s.refuses = func(task importer.Task) string {
		if task.SubjectID == "5" {
			return "it may not"
		}
		return ""
	}
	i := of(t, path, s, importer.TemplateText{SubjectID: "{{.id}}"})
	var told []string
	i.SkipInvalid, i.Problem = true, func(p *importer.Problem) { told = append(told, p.Error()) }
	report, err := i.Run(t.Context())
	if err != nil || report.Records != 6 || report.Created != 2 || report.Skipped != 4 {
		t.Fatalf("%+v: %v", report, err)
	}
	for n, want := range []string{
		"line 2, column 7: the line ends in the middle of a value",
		"line 3, column 1: a line must be a JSON object",
		`line 4, the template's subject_id: the record has no field "id" (at 1:2, in .id)`,
		"line 5: the task is refused: it may not",
	} {
		if told[n] != want {
			t.Errorf("%s\nnot %s", told[n], want)
		}
	}
	strict := of(t, write(t, "x.jsonl", `{"id":1}`+"\n"+`{"id":5}`+"\n"), s, importer.TemplateText{SubjectID: "{{.id}}"})
	strict.Name = "strict"
	if report, err := strict.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "line 2: the task is refused") || report.Offset != 0 {
		t.Errorf("%+v: %v", report, err)
	}
}

// TestSkippedRecordsAreKept: each once, whatever fails between the file and the state, so that they can be corrected and imported.
func TestSkippedRecordsAreKept(t *testing.T) {
	t.Parallel()
	path, s := write(t, "x.csv", "id,name\r\n1,a\r\n2,b,c\r\n\r\n3,\"d\ne\"\r\n4,f\r\n5"), newShop()
	s.refuses = func(task importer.Task) string {
		if strings.HasSuffix(task.Path, "/3") {
			return "it may not"
		}
		return ""
	}
	i := of(t, path, s, importer.TemplateText{Path: "/c/{{.id}}"})
	i.SkipInvalid, i.SkipTo, i.Batch = true, path+".skipped.csv", 2
	save, failures := i.Save, 0
	i.Save = func(ctx context.Context, state importer.State) error {
		if failures++; failures%2 == 1 {
			return errDown
		}
		return save(ctx, state)
	}
	var report importer.Report
	for runs := 0; !report.Complete; runs++ {
		var err error
		if report, err = i.Run(t.Context()); err != nil && !errors.Is(err, errDown) || runs == 10 {
			t.Fatalf("run %d: %+v, %v", runs, report, err)
		}
	}
	kept, err := os.ReadFile(i.SkipTo)
	if want := "id,name\r\n2,b,c\n3,\"d\ne\"\n5\n"; err != nil || string(kept) != want || report.Skipped != 3 || len(s.tasks) != 2 {
		t.Errorf("%q, want %q; %+v, %v", kept, want, report, err)
	}
}

func TestADryRunSendsNothing(t *testing.T) {
	t.Parallel()
	path, s := write(t, "x.csv", "id,name\n"+lines(2, 5)+"7,a,b\n"+lines(8, 3)), newShop()
	i := of(t, path, s, importer.TemplateText{Path: "/c/{{.id}}", Body: importer.NoBody})
	var told []string
	i.Problem = func(p *importer.Problem) { told = append(told, p.Error()) }
	var out bytes.Buffer
	report, err := i.DryRun(t.Context(), 2, &out)
	if err != nil || report.Created != 8 || report.Skipped != 1 || len(told) != 1 || len(s.tasks) != 0 {
		t.Errorf("%+v: %v, %v", report, err, told)
	}
	if shown := out.String(); strings.Count(shown, `"method"`) != 2 || !strings.HasPrefix(shown, "line 2:\n{\n  \"method\": \"POST\",") || !strings.Contains(shown, `"path": "/c/3"`) {
		t.Error(shown)
	}
	if _, err := os.Stat(path + ".import"); !os.IsNotExist(err) {
		t.Errorf("a dry run left a state: %v", err)
	}
}

func TestAnImportIsNamedByItsContent(t *testing.T) {
	t.Parallel()
	name := func(content string) string {
		i := of(t, write(t, "my customers.csv", content), newShop(), importer.TemplateText{})
		i.Name = ""
		report, err := i.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return report.Name
	}
	first := name("id\n1\n2\n")
	if !strings.HasPrefix(first, "my-customers-") || len(first) != len("my-customers-")+8 || name("id\n1\n2\n3\n") != first {
		t.Errorf("%s", first)
	}
	if name("id\n2\n") == first || name("no\n1\n") == first {
		t.Error("another file has the same name")
	}
}
