package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

const byteOrderMark = "\xef\xbb\xbf"

// source is an open file, read from the beginning, decompressed if it is. Offsets are of what was decompressed.
type source struct {
	file *os.File
	size int64 // of the file as it lies there
	in   io.Reader
	err  error

	offset  int64  // up to which bytes were settled
	lines   int64  // how many of these ended a line
	pending []byte // read, but not settled
	digest  hash.Hash
	budget  int // bytes that may be pending; 0: any number
}

func openSource(path string) (*source, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	buffered := bufio.NewReaderSize(file, 64<<10)
	s := &source{file: file, size: info.Size(), in: buffered, digest: sha256.New()}
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if s.in, err = gzip.NewReader(buffered); err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("decompress %s: %w", path, err)
		}
	}
	return s, nil
}

func (s *source) close() { _ = s.file.Close() }

// position is how much of the file was read, as it lies there.
func (s *source) position() int64 {
	at, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return at
}

// errRecordTooLong ends a record that does not: mostly a quote that nobody closed.
var errRecordTooLong = fmt.Errorf("the record is longer than %d bytes; is a quote not closed?", recordBytesMax)

// Read implements io.Reader, and remembers what was read until it is settled.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.budget > 0 && len(s.pending) >= s.budget {
		return 0, errRecordTooLong
	}
	n, err := s.in.Read(p)
	s.pending = append(s.pending, p[:n]...)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read the file: %w", err)
	}
	s.err = err
	return n, err
}

// before is what lies before an offset and was not settled. It is good until the next call.
func (s *source) before(offset int64) []byte { return s.pending[:offset-s.offset] }

// settle counts and hashes what lies before an offset.
func (s *source) settle(offset int64) {
	n := int(offset - s.offset)
	part := s.before(offset)
	_, _ = s.digest.Write(part)
	s.lines += int64(bytes.Count(part, []byte{'\n'}))
	s.offset = offset
	s.pending = s.pending[:copy(s.pending, s.pending[n:])]
}

// sum is the SHA-256 of all that was settled.
func (s *source) sum() string { return hex.EncodeToString(s.digest.Sum(nil)) }

// skip settles everything up to an offset; false if the file is shorter.
func (s *source) skip(offset int64) (bool, error) {
	buffer := make([]byte, 64<<10)
	for s.offset < offset {
		n, err := s.Read(buffer[:min(int64(len(buffer)), offset-s.offset)])
		s.settle(s.offset + int64(n))
		switch {
		case errors.Is(err, io.EOF):
			return s.offset == offset, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}

// checkBeginning refuses what is no UTF-8 at first sight, and gives the length of a byte order mark.
func checkBeginning(beginning []byte) (int64, error) {
	switch {
	case bytes.HasPrefix(beginning, []byte(byteOrderMark)):
		return int64(len(byteOrderMark)), nil
	case bytes.HasPrefix(beginning, []byte{0xff, 0xfe}), bytes.HasPrefix(beginning, []byte{0xfe, 0xff}):
		return 0, fmt.Errorf("%w: the file is UTF-16; make it UTF-8, as with iconv -f UTF-16 -t UTF-8", ErrImport)
	}
	return 0, nil
}
