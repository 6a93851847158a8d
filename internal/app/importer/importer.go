// Package importer turns a file of records into tasks: it reads CSV or JSON lines as a stream, makes a request of each
// record by a template, and sends them in batches, so that a file of any size needs little memory.
//
// It owns no tables: where tasks go is a function that the caller gives, and so is where the state is kept.
//
// # Never twice
//
// Two things hold it. After each batch the state is saved: how far the file was imported, and the SHA-256 of all that was.
// A run that was interrupted goes on from there, if that part of the file is unchanged to the byte; what follows may have
// been corrected or added to. And each task has a unique key that its place in the file decides, <import>/<line>, unless the
// template gives it a name or a key: a batch that was taken, but whose answer or state was lost, is sent again under the same
// keys, and its tasks are found to exist.
//
// # The files
//
// source.go opens the file and keeps count of its bytes; csv.go and jsonl.go read records; template.go and escape.go make
// tasks of them; run.go sends them; state.go remembers; skipped.go keeps the records that could not be imported; dryrun.go shows
// what would be sent.
package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kontorhq/kontor/internal/kit/progress"
)

// The bounds of batches and records.
const (
	BatchDefault   = 1000
	BatchMax       = 10_000
	batchBytesMax  = 8 << 20 // a batch is sent sooner when its tasks are large
	recordBytesMax = 2 << 20
	columnsMax     = 2000
)

// Task is a record made into what is to be called.
type Task struct {
	Line        int64             `json:"-"` // where its record begins
	Import      string            `json:"-"` // the name of its import
	Name        string            `json:"name,omitempty"`
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Headers     map[string]string `json:"headers,omitempty"`
	Body        json.RawMessage   `json:"body,omitempty"`
	LimitKey    string            `json:"limit_key,omitempty"`
	OrderingKey string            `json:"ordering_key,omitempty"`
	FairnessKey string            `json:"fairness_key,omitempty"`
	UniqueKey   string            `json:"unique_key,omitempty"`
	SubjectType string            `json:"subject_type,omitempty"`
	SubjectID   string            `json:"subject_id,omitempty"`

	record []byte // as it stands in the file, if it may come to be skipped
}

// size is about how much of a batch the task takes.
func (t Task) size() int { return len(t.Body) + len(t.Path) + len(t.record) + 256 }

// Result is what became of a task that was sent.
type Result struct {
	Existed bool   // there was a task of this name already, or of its unique key
	Refused string // why it was not taken; empty if it was
}

// Import is one file to be made into tasks.
type Import struct {
	Name      string // begins the unique keys of the tasks; empty: the file's name and a part of its content's hash
	Suffix    string // ends that default name
	Path      string
	Format    Format // empty: by the file's name
	Delimiter rune   // of CSV; 0: a comma, or a tab for .tsv
	// LazyQuotes takes quotes in CSV where RFC 4180 has none: within a field that is not quoted, or single within one that
	// is.
	LazyQuotes bool
	Template   *Template
	Batch      int // tasks in one; 0 means BatchDefault
	// SkipInvalid goes on when a record cannot be read or made into a task, or its task is refused; Problem is told, and the
	// record is kept in the file SkipTo, if that is named. Otherwise what comes before it is sent, and the import stops there.
	SkipInvalid bool
	SkipTo      string
	Problem     func(*Problem)

	// Send takes a batch: one result for each task. It repeats what failed for a moment; an error stops the import.
	Send func(ctx context.Context, batch []Task) ([]Result, error)
	// Load and Save keep the state between runs; FileState gives a pair.
	Load func(ctx context.Context) (State, error)
	Save func(ctx context.Context, state State) error

	Progress *progress.Progress // may be nil
}

// Report is how an import went, from its first run on.
type Report struct {
	State
	ResumedAt int64 `json:"resumed_at,omitempty"` // the line at which this run took over; 0: it began at the beginning
	Read      int64 `json:"read"`                 // records that this run read; 0: it found nothing new
}

// Problem is what is wrong with one record.
type Problem struct {
	Line   int64  // from 1
	Column int    // in bytes from 1; 0: the whole record
	Part   string // of the template, if it was the template that failed
	Cause  error
}

// Error names the place.
func (p *Problem) Error() string {
	where := fmt.Sprintf("line %d", p.Line)
	if p.Column > 0 {
		where += fmt.Sprintf(", column %d", p.Column)
	}
	if p.Part != "" {
		where += ", the template's " + p.Part
	}
	return where + ": " + p.Cause.Error()
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Errors of an import as a whole.
var (
	ErrImport  = errors.New("wrong import")
	ErrChanged = errors.New("the part of the file that was imported has changed since")
)

const nameForm = `^[A-Za-z0-9_-]{1,100}$`

// Check reports everything that is wrong.
func (i *Import) Check() error {
	var problems []error
	if i.Name != "" && !regexp.MustCompile(nameForm).MatchString(i.Name) {
		problems = append(problems, fmt.Errorf("%w: the name %q must be up to 100 letters, digits, _ and -", ErrImport, i.Name))
	}
	if i.Batch < 0 || i.Batch > BatchMax {
		problems = append(problems, fmt.Errorf("%w: a batch has 1 to %d tasks, not %d", ErrImport, BatchMax, i.Batch))
	}
	if strings.ContainsRune("\r\n\"\uFFFD", i.Delimiter) && i.Delimiter != 0 {
		problems = append(problems, fmt.Errorf("%w: %q cannot stand between fields", ErrImport, i.Delimiter))
	}
	if i.Template == nil {
		problems = append(problems, fmt.Errorf("%w: there is no template", ErrImport))
	}
	if _, err := i.format(); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// Format is how a file has its records.
type Format string

// The formats; either may be compressed with gzip.
const (
	CSV       Format = "csv"   // RFC 4180, with a line of names first
	JSONLines Format = "jsonl" // an object a line
)

// format tells the format by the file's name if none is given.
func (i *Import) format() (Format, error) {
	switch i.Format {
	case CSV, JSONLines:
		return i.Format, nil
	case "":
	default:
		return "", fmt.Errorf("%w: no format %q; want csv or jsonl", ErrImport, i.Format)
	}
	switch i.extension() {
	case ".csv", ".tsv":
		return CSV, nil
	case ".jsonl", ".ndjson":
		return JSONLines, nil
	}
	return "", fmt.Errorf("%w: the name %s does not tell the format: say csv or jsonl", ErrImport, filepath.Base(i.Path))
}

func (i *Import) extension() string {
	return strings.ToLower(filepath.Ext(strings.TrimSuffix(strings.ToLower(i.Path), ".gz")))
}

// delimiter is what stands between the fields of CSV.
func (i *Import) delimiter() rune {
	switch {
	case i.Delimiter != 0:
		return i.Delimiter
	case i.extension() == ".tsv":
		return '\t'
	default:
		return ','
	}
}

// checkDelimiter refuses a file whose only column is named as if there were several, unless somebody says that it is so.
func (i *Import) checkDelimiter(columns []string) error {
	if len(columns) != 1 || i.Delimiter != 0 {
		return nil
	}
	at := strings.IndexAny(columns[0], ",;|\t")
	if at < 0 {
		return nil
	}
	return fmt.Errorf("%w: the file has one column, %q; say by which character its fields are divided, %q perhaps", ErrImport, columns[0], columns[0][at])
}

// defaultName names an import by its file and how that begins: another file of the same name is another import.
func (i *Import) defaultName(beginning string) string {
	base, _, _ := strings.Cut(filepath.Base(i.Path), ".")
	base = regexp.MustCompile(`[^A-Za-z0-9_-]+`).ReplaceAllString(base, "-")
	name := fmt.Sprintf("%.80s-%s", base, beginning)
	if i.Suffix != "" {
		name += "-" + i.Suffix
	}
	return name
}
