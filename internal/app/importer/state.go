package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// State is how far an import has come. The zero value is one that has not begun.
type State struct {
	Name    string `json:"name"`
	Offset  int64  `json:"offset"` // of what was decompressed: all records before it are done with
	SHA256  string `json:"sha256"` // of the file up to there
	Line    int64  `json:"line"`   // the lines up to there
	Records int64  `json:"records"`
	Created int64  `json:"created"`
	Existed int64  `json:"existed"` // there was such a task already
	Skipped int64  `json:"skipped"` // could not be made into a task, or were refused
	// SkippedBytes is how long the file of skipped records is with these.
	SkippedBytes int64 `json:"skipped_bytes,omitempty"`
	Batches      int64 `json:"batches"`
	Complete     bool  `json:"complete"` // the end of the file was reached
}

// FileState keeps the state in a file, such as the input's name and ".import". It is replaced as a whole.
func FileState(path string) (load func(context.Context) (State, error), save func(context.Context, State) error) {
	load = func(context.Context) (State, error) {
		var state State
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return state, nil
		}
		if err == nil {
			err = json.Unmarshal(text, &state)
		}
		if err != nil {
			return state, fmt.Errorf("read the state of the import from %s: %w", path, err)
		}
		return state, nil
	}
	save = func(_ context.Context, state State) error {
		if err := replace(path, state); err != nil {
			return fmt.Errorf("keep the state of the import in %s: %w", path, err)
		}
		return nil
	}
	return load, save
}

// replace writes a new file beside the old one, and puts it in its place when it is safe on disk.
func replace(path string, state State) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // it is gone if all went well
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
