package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/app/importer"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// exitPartly is the exit code of an import that went through, but had to skip records.
const exitPartly = 3

// errSkipped ends such an import, when its report has said so.
var errSkipped = errors.New("records were skipped")

// importProblemsShown is how many bad records a report lists.
const importProblemsShown = 100

// importFlags are the flags of the verb as they were written.
type importFlags struct {
	sender      taskSender
	as          string
	at          string
	template    string
	inline      importer.TemplateText
	headers     []string
	format      string
	delimiter   string
	lazyQuotes  bool
	batch       int
	skipInvalid bool
	skipTo      string
	state       string
	dryRun      bool
	show        int
}

func newTasksImportCommand(c *cli) *cobra.Command {
	f := importFlags{inline: importer.TemplateText{Headers: map[string]string{}}}
	cmd := &cobra.Command{
		Use: "import <file>", Short: "Make a task of each record of a CSV or JSON lines file", Args: takes(1),
		Long: "Makes a request of each record of a file by a template, and queues them in batches. Stopped or killed at any moment, it\n" +
			"goes on where it was when the same command is run again, and no record becomes a task twice: how far it came is in a file\n" +
			"beside the records, and should that be lost, Kontor knows each record for 30 days. A template is Go's text/template; what\n" +
			"it prints is escaped. Without --body the whole record is sent as a JSON object.\n\n" +
			"Exit codes: 0 all records are queued; 3 they are, but those that --skip-invalid skipped; 1 it stopped, and can go on;\n" +
			"2 the command line or the template is wrong, and nothing was done.",
		Example: "  kontor tasks import --destination crm --path '/contacts/{{.id}}' --method PUT contacts.csv --dry-run\n" +
			"  kontor tasks import --destination crm --path '/contacts/{{.id}}' --method PUT contacts.csv\n" +
			"  kontor tasks import --destination mailer --queue emails --template welcome.json --skip-invalid users.jsonl.gz\n" +
			"  kontor tasks import --destination shop --path /orders --body '{\"sku\": \"{{.sku}}\", \"count\": {{number .count}}}' orders.tsv",
	}
	f.bind(cmd)
	bindAPI(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		i, err := f.read(args[0])
		if err != nil {
			return err
		}
		if f.dryRun {
			return c.dryRun(cmd, &f, i)
		}
		if f.sender.api, err = c.api(cmd); err != nil {
			return err
		}
		i.Send = f.sender.send
		return c.runImport(cmd, i)
	})
	return cmd
}

func (f *importFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.sender.destination, "destination", "", "what the requests go to (required)")
	flags.StringVar(&f.sender.queue, "queue", "default", "the queue they wait in")
	flags.Int32Var(&f.sender.priority, "priority", 1, "1 to 4, 1 first")
	flags.StringVar(&f.at, "schedule-time", "", "when they are wanted: RFC 3339, or from now, such as 2h (default: at once)")
	flags.StringArrayVar(&f.sender.tags, "tag", nil, "a tag of every task, beside the import's name; may be repeated")
	flags.StringVar(&f.template, "template", "", "JSON file with any of method, path, headers, body, name, unique_key, limit_key, ordering_key,\n"+
		"fairness_key, subject_type, subject_id; the flags below count more")
	flags.StringVar(&f.inline.Method, "method", "", "template of the method (default: POST)")
	flags.StringVar(&f.inline.Path, "path", "", "template of the path below the destination's base URL, as /contacts/{{.id}}")
	flags.StringArrayVar(&f.headers, "header", nil, "template of a header, as 'X-Tenant: {{.tenant}}'; may be repeated")
	flags.StringVar(&f.inline.Body, "body", "", "template of the body, which is JSON; none: no body (default: the record)")
	flags.StringVar(&f.inline.Name, "name", "", "template of the task's name")
	flags.StringVar(&f.inline.UniqueKey, "unique-key", "", "template of the task's unique key, in place of its place in the file")
	flags.StringVar(&f.inline.LimitKey, "limit-key", "", "template of the limit key")
	flags.StringVar(&f.inline.OrderingKey, "ordering-key", "", "template of the ordering key")
	flags.StringVar(&f.inline.FairnessKey, "fairness-key", "", "template of the fairness key")
	flags.StringVar(&f.inline.SubjectType, "subject-type", "", "template of what the task is about")
	flags.StringVar(&f.inline.SubjectID, "subject-id", "", "template of which one it is about")
	flags.StringVar(&f.as, "as", "", "name of this import (default: the file's name, a part of the hash of how it begins, and the destination)")
	flags.StringVar(&f.format, "format", "", "csv or jsonl (default: by the file's name)")
	flags.StringVar(&f.delimiter, "delimiter", "", "what stands between the fields of CSV (default: a comma, or a tab for .tsv)")
	flags.BoolVar(&f.lazyQuotes, "lazy-quotes", false, "take quotes in CSV where RFC 4180 has none")
	flags.IntVar(&f.batch, "batch", importer.BatchDefault, "tasks of one request")
	flags.BoolVar(&f.skipInvalid, "skip-invalid", false, "skip records that are bad, rather than stop there, and keep them in a file")
	flags.StringVar(&f.skipTo, "skip-to", "", "that file (default: the records' own name with .skipped)")
	flags.StringVar(&f.state, "state", "", "where it is kept how far the import came (default: beside the records, with .DESTINATION.import)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show the first tasks and check all records; send nothing")
	flags.IntVar(&f.show, "show", 3, "how many tasks --dry-run shows")
}

// read makes an import of the flags and reports everything that is wrong at once.
func (f *importFlags) read(path string) (*importer.Import, error) {
	var problems []string
	report := func(err error) {
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				problems = append(problems, strings.TrimPrefix(strings.TrimSpace(line), importer.ErrTemplate.Error()+": "))
			}
		}
	}
	if f.sender.destination == "" {
		problems = append(problems, "--destination: name what the requests go to")
	}
	if f.sender.priority < 1 || f.sender.priority > 4 {
		problems = append(problems, "--priority: it is from 1 to 4")
	}
	if f.at != "" {
		at, err := readMoment(f.at)
		if err != nil {
			problems = append(problems, "--schedule-time: "+err.Error())
		} else if moment, err := time.Parse(time.RFC3339, at); err == nil {
			f.sender.at = &moment
		}
	}
	comma, size := utf8.DecodeRuneInString(strings.ReplaceAll(f.delimiter, `\t`, "\t"))
	if f.delimiter == "" {
		comma = 0
	} else if size != len(strings.ReplaceAll(f.delimiter, `\t`, "\t")) {
		problems = append(problems, "--delimiter: it is one character")
	}
	text, err := f.text()
	report(err)
	i := &importer.Import{
		Name: f.as, Path: path, Suffix: f.sender.destination, Format: importer.Format(f.format), Delimiter: comma, LazyQuotes: f.lazyQuotes,
		Batch: f.batch, SkipInvalid: f.skipInvalid, SkipTo: f.skipTo,
	}
	if err == nil {
		i.Template, err = importer.ParseTemplate(text)
		report(err)
		report(i.Check())
	}
	if len(problems) > 0 {
		return nil, &ConfigError{Problems: problems}
	}
	if i.SkipTo == "" {
		i.SkipTo = skippedPath(path)
	}
	if f.state == "" {
		f.state = path + "." + f.sender.destination + ".import"
	}
	i.Load, i.Save = importer.FileState(f.state)
	return i, nil
}

// skippedPath puts .skipped before the extension; what is compressed is not so there.
func skippedPath(path string) string {
	path = strings.TrimSuffix(path, ".gz")
	extension := filepath.Ext(path)
	return strings.TrimSuffix(path, extension) + ".skipped" + extension
}

// text is the template: the file's, with the flags over it.
func (f *importFlags) text() (importer.TemplateText, error) {
	text := importer.TemplateText{}
	if f.template != "" {
		raw, err := os.ReadFile(f.template)
		if err != nil {
			return text, fmt.Errorf("--template: %w", err)
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&text); err != nil {
			return text, fmt.Errorf("--template: %s: %w", f.template, err)
		}
	}
	text = text.With(f.inline)
	for _, header := range f.headers {
		name, value, found := strings.Cut(header, ":")
		if !found {
			return text, fmt.Errorf("--header: %q has no colon", header)
		}
		if text.Headers == nil {
			text.Headers = map[string]string{}
		}
		text.Headers[http.CanonicalHeaderKey(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return text, nil
}

// importReport is what an import came to, for programs.
type importReport struct {
	importer.Report
	File     string          `json:"file"`
	SkipTo   string          `json:"skipped_to,omitempty"`
	Forecast *importForecast `json:"forecast,omitempty"` // of a dry run, where a node could be asked
	Problems []importProblem `json:"problems"`           // the first of this run
	Error    string          `json:"error,omitempty"`
}

type importProblem struct {
	Line   int64  `json:"line"`
	Column int    `json:"column,omitempty"`
	Part   string `json:"template,omitempty"` // the part of the template that failed
	Detail string `json:"detail"`
}

// noteProblems has an import tell its bad records: to people as they come, to programs in the report.
func (c *cli) noteProblems(cmd *cobra.Command, i *importer.Import, report *importReport) {
	report.File, report.Problems = i.Path, []importProblem{}
	told := 0
	i.Problem = func(p *importer.Problem) {
		if told++; told > importProblemsShown {
			return
		}
		report.Problems = append(report.Problems, importProblem{Line: p.Line, Column: p.Column, Part: p.Part, Detail: p.Cause.Error()})
		if !wantsJSON(cmd) {
			i.Progress.Print("%s: %s", i.Path, p)
			if told == importProblemsShown {
				i.Progress.Print("%s: further bad records are counted, but not shown", i.Path)
			}
		}
	}
}

func (c *cli) runImport(cmd *cobra.Command, i *importer.Import) error {
	i.Progress = c.progress(cmd)
	defer i.Progress.Close()
	var report importReport
	c.noteProblems(cmd, i, &report)
	began := clock.System()
	var err error
	report.Report, err = i.Run(cmd.Context())
	took := clock.System().Sub(began)
	i.Progress.Close()
	if report.Skipped > 0 {
		report.SkipTo = i.SkipTo
	}
	if problem, is := errors.AsType[*importer.Problem](err); is {
		err = fmt.Errorf("%s: %w", i.Path, problem)
	}
	if wantsJSON(cmd) {
		if err != nil {
			report.Error = err.Error()
		}
		if err := c.printJSON(report); err != nil {
			return err
		}
	} else {
		c.tellImport(&report, took)
	}
	switch {
	case err != nil:
		return err
	case report.Skipped > 0:
		return errSkipped
	}
	return nil
}

// tellImport says in a few lines how an import went.
func (c *cli) tellImport(r *importReport, took time.Duration) {
	if r.Name == "" {
		return // it did not begin
	}
	switch {
	case r.ResumedAt > 0 && r.Read == 0 && r.Complete:
		c.printf("Nothing is new: all of it was imported before. --as and --state, each with a name of its own, import it once more.\n")
	case r.ResumedAt > 0:
		c.printf("It went on at line %d, where an earlier run had stopped.\n", r.ResumedAt)
	}
	c.printf("%s: %d records, %d tasks queued, %d there already, %d skipped (%s)\n", r.Name, r.Records, r.Created, r.Existed, r.Skipped,
		took.Round(time.Millisecond))
	if r.Skipped > 0 {
		c.printf("The skipped records are in %s: correct and import them.\n", r.SkipTo)
	}
	if !r.Complete {
		c.printf("It is not complete: all up to line %d is queued. Run the same command again to go on.\n", r.Line)
	}
}

func (c *cli) dryRun(cmd *cobra.Command, f *importFlags, i *importer.Import) error {
	var report importReport
	c.noteProblems(cmd, i, &report)
	if !wantsJSON(cmd) {
		i.Progress = c.progress(cmd)
		defer i.Progress.Close()
	}
	i.Load = nil // from the beginning, whatever was imported
	var shown bytes.Buffer
	var err error
	if report.Report, err = i.DryRun(cmd.Context(), f.show, &shown); err != nil {
		return err
	}
	i.Progress.Close()
	forecast, unknown := c.forecast(cmd, f, report.Created)
	if unknown == nil {
		report.Forecast = &forecast
	}
	if wantsJSON(cmd) {
		err = c.printJSON(report)
	} else {
		c.printf("%s%d records, of which %d would be tasks and %d are bad. Nothing was sent.\n", shown.String(), report.Records, report.Created, report.Skipped)
		if unknown == nil {
			c.printf("%s\n", forecast.sentence())
		} else {
			c.printf("How long they would take is not known: %s.\n", strings.TrimSuffix(unknown.Error(), "."))
		}
	}
	if err == nil && report.Skipped > 0 {
		err = errCheckFailed
	}
	return err
}
