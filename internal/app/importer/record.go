package importer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
)

// record is one record of a file.
type record struct {
	line   int64 // where it begins, from 1
	end    int64 // the offset behind it, where the next begins
	fields map[string]any
}

// reader reads the records of a file from some place on.
type reader interface {
	// next gives the next record; io.EOF after the last. After a *Problem the record behind it can be read, but not after one
	// that is fatal.
	next() (record, error)
}

// fatal is a problem behind which nothing can be read.
type fatal struct{ problem *Problem }

func (f *fatal) Error() string { return f.problem.Error() }
func (f *fatal) Unwrap() error { return f.problem }

// layout is what the beginning of a file says: where its records begin, and of CSV, the columns.
type layout struct {
	format  Format
	begin   int64
	columns []string
	header  []byte // what stands before the first record
	mark    string // a part of the hash of how the file begins, up to the end of its first record
}

// markLength is how much of the hash goes into names.
const markLength = 8

// layout reads the beginning of the file.
func (i *Import) layout() (layout, error) {
	l := layout{}
	var err error
	if l.format, err = i.format(); err != nil {
		return l, err
	}
	s, err := openSource(i.Path)
	if err != nil {
		return l, err
	}
	defer s.close()
	s.budget = recordBytesMax
	beginning := make([]byte, len(byteOrderMark))
	n, err := io.ReadFull(s, beginning)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return l, err
	}
	if l.begin, err = checkBeginning(beginning[:n]); err != nil {
		return l, err
	}
	head := io.MultiReader(bytes.NewReader(beginning[l.begin:n]), s)
	first, err := i.first(head, &l)
	if wrong, ok := errors.AsType[*layoutError](err); ok {
		return l, wrong.err
	}
	end := first.end
	if err != nil {
		end = l.begin // of a file whose first record is bad, the columns must do
	}
	l.header = bytes.Clone(s.pending[:min(int(l.begin), len(s.pending))])
	sum := sha256.Sum256(s.pending[:min(int(end), len(s.pending))])
	l.mark = hex.EncodeToString(sum[:])[:markLength]
	return l, nil
}

// layoutError says that the beginning of a file is not what it has to be.
type layoutError struct{ err error }

func (e *layoutError) Error() string { return e.err.Error() }

// first reads the columns, if there are any, and the first record, which may be bad.
func (i *Import) first(head io.Reader, l *layout) (record, error) {
	if l.format != CSV {
		return i.records(head, *l, l.begin, 0).next()
	}
	header := i.csv(head, *l, l.begin, 0)
	err := header.readColumns()
	if err == nil {
		err = i.checkDelimiter(header.columns)
	}
	if err != nil {
		return record{}, &layoutError{err}
	}
	l.columns, l.begin = header.columns, l.begin+header.in.InputOffset()
	header.in.FieldsPerRecord = len(l.columns)
	return header.next()
}

// records reads from an offset, where so many lines have ended.
func (i *Import) records(in io.Reader, l layout, offset, lines int64) reader {
	if l.format == CSV {
		return i.csv(in, l, offset, lines)
	}
	return &jsonReader{in: newLineReader(in), offset: offset, line: lines}
}
