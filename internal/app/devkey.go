package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// ensureKey reads the development key of an earlier start, or makes one and keeps it: it must open this database, which
// may have been removed since.
func (d *dev) ensureKey(ctx context.Context) error {
	path := filepath.Join(d.dir, devKeyFile)
	kept, err := os.ReadFile(path) //nolint:gosec // our own file
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the development key: %w", err)
	}
	d.key = strings.TrimSpace(string(kept))
	if d.key != "" {
		_, err := d.app.access.Authenticate(ctx, d.key)
		if err == nil {
			return nil
		}
		if fault.KindOf(err) != fault.Unauthenticated {
			return fmt.Errorf("check the development key: %w", err)
		}
	}
	if d.key, _, err = d.app.access.CreateKey(ctx, organisationDefault, "kontor dev", false, time.Time{}); err != nil {
		return err
	}
	if err := writeSecret(path, d.key+"\n"); err != nil {
		return fmt.Errorf("keep the development key: %w", err)
	}
	return nil
}

// writeSecret replaces a file as a whole, readable by its owner only.
func writeSecret(path, text string) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
