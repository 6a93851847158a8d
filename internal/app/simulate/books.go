package simulate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// balance is what one account of Kontor's books comes to.
type balance struct {
	Code    string
	Posted  int64 // debits less credits
	Pending int64 // debits less credits, held
}

const balancesSQL = `
	select a.code, a.debits_posted - a.credits_posted, a.debits_pending - a.credits_pending
	from ledger_account a
	where a.org_id = $1
	order by a.code`

// checkBooks holds the balances against what the provider really moved: every cent of every account is explained by it. It returns how
// many accounts are wrong.
func (s *simulation) checkBooks(ctx context.Context, truth map[string]totals) (int64, error) {
	rows, err := s.db.Pool().Query(ctx, balancesSQL, s.org)
	if err != nil {
		return 0, fmt.Errorf("read the balances: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[balance])
	if err != nil {
		return 0, fmt.Errorf("read the balances: %w", err)
	}
	return compareBooks(list, truth, &s.findings), nil
}

func compareBooks(list []balance, truth map[string]totals, f *findings) int64 {
	var wrong int64
	expected := expectedBalances(truth)
	for _, is := range list {
		want, known := expected[is.Code]
		delete(expected, is.Code)
		switch {
		case !known && is.Posted == 0 && is.Pending == 0:
		case is != want:
			wrong++
			f.add("account %s has %d posted and %d held; by the provider's record it must be %d and %d",
				is.Code, is.Posted, is.Pending, want.Posted, want.Pending)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(expected)) {
		if want := expected[code]; want.Posted != 0 || want.Pending != 0 {
			wrong++
			f.add("account %s is missing; by the provider's record it must have %d posted and %d held", code, want.Posted, want.Pending)
		}
	}
	return wrong
}

// expectedBalances is the chart of accounts as docs/concepts/ledger.md has it: what the provider owes us, what it keeps, and what
// customers have paid.
func expectedBalances(truth map[string]totals) map[string]balance {
	out := map[string]balance{}
	for currency, t := range truth {
		for _, b := range []balance{
			{"provider/" + providerName + "/clearing/" + currency, t.captured - t.refunded - t.fees, t.held},
			{"provider/" + providerName + "/fees/" + currency, t.fees, 0},
			{"payments/received/" + currency, t.refunded - t.captured, -t.held},
		} {
			out[b.Code] = b
		}
	}
	return out
}
