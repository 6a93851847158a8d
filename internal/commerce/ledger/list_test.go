package ledger_test

import (
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

// What is looked for may lie far behind: a page is full when it is full, not when enough was looked at.
func TestAFilterFindsWhatLiesFarBehind(t *testing.T) {
	b := setup(t)
	b.accounts(ledger.NewAccount{Code: "cash", Type: ledger.Asset}, ledger.NewAccount{Code: "wallet", Type: ledger.Liability})
	var want []ids.ID
	for _, e := range b.must(hold("cash", "wallet", 1), hold("cash", "wallet", 1)) {
		want = append(want, e.ID)
	}
	for range 3 {
		list := make([]ledger.Entry, 500)
		for i := range list {
			list[i] = transfer("cash", "wallet", 1)
		}
		b.must(list...)
	}
	for _, e := range b.must(hold("wallet", "cash", 1)) {
		want = append(want, e.ID)
	}
	var after paging.Cursor
	for i := len(want) - 1; i >= 0; i-- {
		page, next, err := b.ledger.ListEntries(t.Context(), b.org, ledger.EntryFilter{Account: "cash", State: ledger.StatePending}, after, 1)
		if err != nil || len(page) != 1 || page[0].ID != want[i] || next.IsZero() != (i == 0) {
			t.Fatalf("%d: %d entries, next %v, %v", i, len(page), next, err)
		}
		after = next
	}
}
