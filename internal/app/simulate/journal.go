package simulate

import (
	"fmt"
	"os"
	"sync"

	"github.com/kontorhq/kontor/internal/kit/clock"
)

// findings are what was found wrong, in sentences. Safe for concurrent use.
type findings struct {
	mu        sync.Mutex
	sentences []string
}

// findingsMax bounds how many are kept; one wrong thing often makes thousands.
const findingsMax = 10_000

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sentences) < findingsMax {
		f.sentences = append(f.sentences, fmt.Sprintf(format, args...))
	}
}

func (f *findings) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.sentences...)
}

// journal is what the simulation did and when, to be read beside the nodes' logs. Safe for concurrent use; nil keeps nothing.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("keep a journal: %w", err)
	}
	return &journal{file: file}, nil
}

func (j *journal) note(format string, args ...any) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = fmt.Fprintf(j.file, "%s %s\n", clock.System().Format("15:04:05.000"), fmt.Sprintf(format, args...)) // a lost line is no loss
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
