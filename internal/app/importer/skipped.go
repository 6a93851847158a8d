package importer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// skipped is the file of the records that could not be imported, as they stand in the import's own, behind the same first line:
// corrected, it can be imported itself. A nil one keeps nothing.
type skipped struct {
	path   string
	header []byte
	file   *os.File // nil: no record was skipped yet
	size   int64    // of what is safe
	added  []byte   // since then
}

// openSkipped goes on behind what is known to be there: what was written after the state was kept comes again.
func openSkipped(path string, size int64, header []byte) (*skipped, error) {
	s := &skipped{path: path, header: header, size: size}
	if size == 0 {
		return s, nil
	}
	return s, s.open(os.O_RDWR)
}

func (s *skipped) open(flag int) error {
	file, err := os.OpenFile(s.path, flag, 0o600) //nolint:gosec // the user's own choice
	if err == nil {
		s.file = file
		err = errors.Join(file.Truncate(s.size), seekEnd(file))
	}
	if err != nil {
		return fmt.Errorf("keep the skipped records in %s: %w", s.path, err)
	}
	return nil
}

func seekEnd(file *os.File) error {
	_, err := file.Seek(0, 2)
	return err
}

func (s *skipped) add(record []byte) {
	if s == nil {
		return
	}
	s.added = append(append(s.added, bytes.TrimLeft(bytes.TrimRight(record, "\r\n"), "\r\n")...), '\n')
}

// keep makes safe what was added since the last call, and returns how long the file is.
func (s *skipped) keep(size int64) (int64, error) {
	if s == nil {
		return size, nil
	}
	if len(s.added) == 0 {
		return s.size, nil
	}
	if s.file == nil {
		if err := s.open(os.O_RDWR | os.O_CREATE); err != nil {
			return 0, err
		}
		s.added = append(bytes.Clone(s.header), s.added...)
	}
	n, err := s.file.Write(s.added)
	if err = errors.Join(err, s.file.Sync()); err != nil {
		return 0, fmt.Errorf("keep the skipped records in %s: %w", s.path, err)
	}
	s.size, s.added = s.size+int64(n), s.added[:0]
	return s.size, nil
}

func (s *skipped) close() {
	if s != nil && s.file != nil {
		_ = s.file.Close()
	}
}
