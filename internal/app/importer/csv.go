package importer

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// csvReader reads CSV as RFC 4180 has it: fields may be quoted and then have delimiters, line ends and doubled quotes. Empty
// lines are no records.
type csvReader struct {
	in      *csv.Reader
	columns []string
	base    int64 // the offset at which in began
	lines   int64 // that had ended there
	last    int64 // the line at which the last record begins
}

func (i *Import) csv(in io.Reader, l layout, offset, lines int64) *csvReader {
	c := &csvReader{in: csv.NewReader(in), columns: l.columns, base: offset, lines: lines}
	c.in.Comma = i.delimiter()
	c.in.LazyQuotes = i.LazyQuotes
	c.in.FieldsPerRecord = len(l.columns)
	return c
}

// readColumns reads the names of the columns.
func (c *csvReader) readColumns() error {
	c.in.FieldsPerRecord = -1
	row, err := c.in.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file is empty; its first line must name the columns", ErrImport)
	}
	if err != nil {
		return c.problem(err)
	}
	var problems []error
	seen := map[string]int{}
	for n, name := range row {
		name = strings.TrimSpace(name)
		line, column := c.in.FieldPos(n)
		fail := func(format string, args ...any) {
			problems = append(problems, &Problem{Line: int64(line), Column: column, Cause: fmt.Errorf(format, args...)})
		}
		switch before, twice := seen[name]; {
		case name == "":
			fail("column %d of the file has no name", n+1)
		case strings.Contains(name, "\r"):
			fail("the lines end in carriage returns alone; make them line feeds, as with tr '\\r' '\\n'")
		case twice:
			fail("the columns %d and %d of the file have the same name %q", before+1, n+1, name)
		case !utf8.ValidString(name):
			fail("the name %q is not UTF-8", name)
		}
		seen[name] = n
		c.columns = append(c.columns, name)
	}
	if len(row) > columnsMax {
		problems = append(problems, fmt.Errorf("%w: the file has %d columns; %d are the most", ErrImport, len(row), columnsMax))
	}
	return errors.Join(problems...)
}

func (c *csvReader) next() (record, error) {
	row, err := c.in.Read()
	out := record{end: c.base + c.in.InputOffset()}
	if err != nil {
		return out, c.problem(err)
	}
	line, _ := c.in.FieldPos(0)
	out.line = c.lines + int64(line)
	c.last = out.line
	out.fields = make(map[string]any, len(row))
	for n, value := range row {
		if !utf8.ValidString(value) {
			line, column := c.in.FieldPos(n)
			return out, &Problem{Line: c.lines + int64(line), Column: column, Cause: fmt.Errorf("%s is not UTF-8", c.columns[n])}
		}
		out.fields[c.columns[n]] = value
	}
	return out, nil
}

// problem names the place of what is wrong. A quote that is wrong leaves it open where the next record begins.
func (c *csvReader) problem(err error) error {
	wrong, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		if errors.Is(err, errRecordTooLong) {
			return &fatal{&Problem{Line: max(c.last, c.lines) + 1, Cause: err}}
		}
		return err
	}
	p := &Problem{Line: c.lines + int64(wrong.Line), Column: wrong.Column}
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		p.Line, p.Column = c.lines+int64(wrong.StartLine), 0
		p.Cause = fmt.Errorf("the record has another number of fields than the first line, which has %d", len(c.columns))
		return p
	case errors.Is(err, csv.ErrQuote):
		p.Cause = errors.New("a quote within a quoted field must be doubled; take such quotes as they are with lazy quotes")
		if wrong.StartLine != wrong.Line {
			p.Cause = fmt.Errorf("%w (the record begins in line %d)", p.Cause, c.lines+int64(wrong.StartLine))
		}
	case errors.Is(err, csv.ErrBareQuote):
		p.Cause = errors.New("a quote in a field that does not begin with one; take such quotes as they are with lazy quotes")
	default:
		p.Cause = wrong.Err
	}
	return &fatal{p}
}
