package simulate

import (
	"context"
	"fmt"

	"github.com/kontorhq/kontor/internal/app/verify"
)

// verify has Kontor prove itself, as kontor verify does, and returns how many violations that found.
func (s *simulation) verify(ctx context.Context) (int64, error) {
	report, err := verify.Run(ctx, s.db, s.Progress)
	if err != nil {
		return 0, fmt.Errorf("verify: %w", err)
	}
	for _, check := range report.Failed() {
		s.findings.add("verify: %d violations of %s: %s", check.Violations, check.Name, check.Sentence)
		for _, f := range check.First {
			s.findings.add("verify: %s: %s: %s", check.Name, f.ID, f.Detail)
		}
	}
	return report.Violations(), nil
}
