package payments

import (
	"context"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

// The chart of accounts, for each provider and currency; docs/concepts/ledger.md explains it.

// clearing is what the provider owes us: an asset.
func clearing(provider, currency string) string {
	return "provider/" + provider + "/clearing/" + currency
}

// fees is what the provider keeps: an expense.
func fees(provider, currency string) string { return "provider/" + provider + "/fees/" + currency }

// received is what customers have paid and no invoice has claimed yet: a liability.
func received(currency string) string { return "payments/received/" + currency }

// accountSet is one line of the chart.
type accountSet struct {
	org                ids.ID
	provider, currency string
}

func setOf(c *Create) accountSet { return accountSet{c.OrgID, c.Provider, c.Currency} }

// ensureAccounts makes the accounts of the payments that need new ones.
func (p *Payments) ensureAccounts(ctx context.Context, tx postgres.Tx, list []Create, chosen []int) error {
	var missing []ledger.NewAccount
	seen := map[accountSet]bool{}
	for _, i := range chosen {
		set := setOf(&list[i])
		if _, known := p.accounts.Load(set); known || seen[set] {
			continue
		}
		seen[set] = true
		missing = append(missing,
			ledger.NewAccount{OrgID: set.org, Code: clearing(set.provider, set.currency), Type: ledger.Asset, Asset: set.currency},
			ledger.NewAccount{OrgID: set.org, Code: fees(set.provider, set.currency), Type: ledger.Expense, Asset: set.currency},
			ledger.NewAccount{OrgID: set.org, Code: received(set.currency), Type: ledger.Liability, Asset: set.currency})
	}
	if len(missing) == 0 {
		return nil
	}
	// One that exists on other terms is the organisation's own choice; it shows when the entry is posted, if it matters.
	if _, err := p.Ledger.CreateAccounts(ctx, tx, missing); err != nil {
		return err
	}
	for set := range seen {
		p.accounts.Store(set, struct{}{})
	}
	return nil
}
