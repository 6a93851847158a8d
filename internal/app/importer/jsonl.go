package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// jsonReader reads an object a line. Numbers keep their digits. Empty lines are no records.
type jsonReader struct {
	in     *lineReader
	offset int64 // behind the last line
	line   int64 // the number of the last line
}

func (j *jsonReader) next() (record, error) {
	for {
		text, read, err := j.in.next()
		j.offset += int64(read)
		if read > 0 {
			j.line++
		}
		if err != nil {
			if errors.Is(err, errRecordTooLong) {
				err = &fatal{&Problem{Line: j.line, Cause: fmt.Errorf("the line is longer than %d bytes", recordBytesMax)}}
			}
			return record{end: j.offset}, err
		}
		if len(bytes.TrimSpace(text)) > 0 {
			return j.decode(text)
		}
	}
}

func (j *jsonReader) decode(text []byte) (record, error) {
	out := record{line: j.line, end: j.offset}
	if !utf8.Valid(text) {
		return out, &Problem{Line: j.line, Column: invalidAt(text), Cause: errors.New("the line is not UTF-8")}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		p := &Problem{Line: j.line, Cause: err}
		if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
			p.Column = int(wrong.Offset)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			p.Column, p.Cause = len(text)+1, errors.New("the line ends in the middle of a value")
		}
		return out, p
	}
	after := text[decoder.InputOffset():]
	if rest := bytes.TrimLeft(after, " \t\r\n"); len(rest) > 0 {
		return out, &Problem{Line: j.line, Column: len(text) - len(rest) + 1, Cause: errors.New("a line has one object, and nothing behind it")}
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return out, &Problem{Line: j.line, Column: 1, Cause: errors.New("a line must be a JSON object")}
	}
	out.fields = withoutNil(fields).(map[string]any)
	return out, nil
}

// invalidAt is the column of the first byte that is not UTF-8.
func invalidAt(text []byte) int {
	at := 0
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at + 1
}

// null stands for JSON's null: nothing where it is printed, false where it is asked. A template would print nil as "<no
// value>".
type null []struct{}

// String prints nothing.
func (null) String() string { return "" }

// MarshalJSON gives null back.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// withoutNil puts null for nil, at any depth.
func withoutNil(value any) any {
	switch value := value.(type) {
	case nil:
		return null(nil)
	case map[string]any:
		for name, inner := range value {
			value[name] = withoutNil(inner)
		}
	case []any:
		for n, inner := range value {
			value[n] = withoutNil(inner)
		}
	}
	return value
}

// lineReader reads lines of a bounded length.
type lineReader struct {
	in   *bufio.Reader
	text []byte
}

func newLineReader(in io.Reader) *lineReader { return &lineReader{in: bufio.NewReaderSize(in, 32<<10)} }

// next gives the next line without its end, and how many bytes it took with it. The text is good until the next call.
func (l *lineReader) next() (text []byte, read int, err error) {
	l.text = l.text[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		read += len(part)
		l.text = append(l.text, part...)
		switch {
		case err == nil, errors.Is(err, io.EOF) && read > 0:
			return bytes.TrimSuffix(l.text, []byte{'\n'}), read, nil
		case errors.Is(err, bufio.ErrBufferFull):
			if read > recordBytesMax {
				return nil, read, errRecordTooLong
			}
		default:
			return nil, read, err
		}
	}
}
