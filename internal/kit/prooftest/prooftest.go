// Package prooftest shows that a module's checks can fail: it damages a database and names the checks that find it.
package prooftest

import (
	"context"
	"fmt"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/proof"
)

// Failing names the checks of a part that fail once a statement has damaged one row; the damage is rolled back. An empty statement
// damages nothing.
func Failing(t testing.TB, db *postgres.DB, part proof.Part, damage string) (names []string) {
	t.Helper()
	err := db.DryRun(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if damage != "" {
			if tag, err := tx.Exec(ctx, damage); err != nil || tag.RowsAffected() != 1 {
				return fmt.Errorf("it damages %d rows: %w", tag.RowsAffected(), err)
			}
		}
		report, err := proof.RunIn(ctx, tx, clock.System, []proof.Part{part}, nil)
		for _, f := range report.Failed() {
			names = append(names, f.Name)
			t.Logf("%s: %d, such as %s %s", f.Name, f.Violations, f.First[0].ID, f.First[0].Detail)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return names
}
