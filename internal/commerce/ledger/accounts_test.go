package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func number[T any](n T) *T { return &n }

func TestAccountsAreMadeOnce(t *testing.T) {
	b := setup(t)
	terms := ledger.NewAccount{
		OrgID: b.org, Code: "shop/cash", Type: ledger.Asset, Asset: "EUR", AvailableMin: number(int64(-5)), AvailableMax: number(int64(100)),
		Metadata: []byte(`{"a":"1","b":"2"}`),
	}
	made := b.createAccounts(terms, terms)
	if made[0].Err != nil || made[0].Exists || made[1].Err != nil || !made[1].Exists || made[0].Account.ID != made[1].Account.ID {
		t.Fatalf("%+v", made)
	}
	a := made[0].Account
	if a.Code != terms.Code || a.Type != terms.Type || a.Asset != "EUR" || a.Scale != 2 || *a.AvailableMin != -5 || *a.AvailableMax != 100 ||
		a.Balance != (ledger.Balance{}) || a.Version != 0 || a.CreatedAt.IsZero() || !a.RecordedAt.Equal(a.CreatedAt) {
		t.Errorf("%+v", a)
	}
	again := terms
	again.Metadata = []byte(`{ "b": "2", "a": "1" }`)
	again.Scale = number(int16(2))
	if r := b.createAccounts(again); r[0].Err != nil || !r[0].Exists || r[0].Account.ID != a.ID {
		t.Errorf("an equal account: %+v", r)
	}
	item := ledger.NewAccount{OrgID: b.org, Code: "stock/gld", Type: ledger.Asset, Asset: "GLD"}
	if r := b.createAccounts(item); r[0].Err != nil || r[0].Account.Scale != 0 {
		t.Errorf("an account of what is no currency: %+v", r)
	}
	elsewhere := terms
	elsewhere.OrgID = b.source.New()
	if r := b.createAccounts(elsewhere); r[0].Err != nil || r[0].Exists || r[0].Account.ID == a.ID {
		t.Errorf("an account of another organisation: %+v", r)
	}
}

func TestAnAccountOfOtherTermsIsRefused(t *testing.T) {
	b := setup(t)
	terms := ledger.NewAccount{OrgID: b.org, Code: "cash", Type: ledger.Asset, Asset: "EUR", AvailableMin: number(int64(0))}
	b.createAccounts(terms, ledger.NewAccount{OrgID: b.org, Code: "gold", Type: ledger.Asset, Asset: "XAU", Scale: number(int16(4))})
	for name, change := range map[string]func(*ledger.NewAccount){
		"type":     func(a *ledger.NewAccount) { a.Type = ledger.Expense },
		"asset":    func(a *ledger.NewAccount) { a.Asset = "USD" },
		"no min":   func(a *ledger.NewAccount) { a.AvailableMin = nil },
		"min":      func(a *ledger.NewAccount) { a.AvailableMin = number(int64(-1)) },
		"max":      func(a *ledger.NewAccount) { a.AvailableMax = number(int64(0)) },
		"metadata": func(a *ledger.NewAccount) { a.Metadata = []byte(`{"a":"b"}`) },
	} {
		other := terms
		change(&other)
		if r := b.createAccounts(other); codeOf(r[0].Err) != "account_exists_with_different_terms" {
			t.Errorf("%s: %+v", name, r[0])
		}
	}
	// All accounts of an asset share its scale. What is wrong does not keep the others from being made.
	r := b.createAccounts(
		ledger.NewAccount{OrgID: b.org, Code: "more/gold", Type: ledger.Asset, Asset: "XAU", Scale: number(int16(3))},
		ledger.NewAccount{OrgID: b.org, Code: "most/gold", Type: ledger.Asset, Asset: "XAU", Scale: number(int16(4))},
		ledger.NewAccount{OrgID: b.org, Code: "no gold", Type: ledger.Asset, Asset: "XAU", Scale: number(int16(4))},
	)
	if codeOf(r[0].Err) != "asset_exists_with_different_scale" || r[1].Err != nil || codeOf(r[2].Err) != "account_invalid" {
		t.Errorf("%+v", r)
	}
}

func TestAnAccountsForm(t *testing.T) {
	b := setup(t)
	var list []ledger.NewAccount
	var valid []bool
	ask := func(ok bool, change func(*ledger.NewAccount)) {
		a := ledger.NewAccount{OrgID: b.org, Code: fmt.Sprintf("a%d", len(list)), Type: ledger.Asset, Asset: "EUR"}
		change(&a)
		list, valid = append(list, a), append(valid, ok)
	}
	longest := strings.Repeat("x", 64)
	for _, code := range []string{"A", "a/b", "a:b.c_d-e/0", longest, strings.TrimSuffix(strings.Repeat(longest+"/", 16), "/")} {
		ask(true, func(a *ledger.NewAccount) { a.Code = code })
	}
	for _, code := range []string{"", "/", "a/", "/a", "a//b", "a b", "ä", "a\n", "a\x00", longest + "x", strings.Repeat("x/", 16) + "x"} {
		ask(false, func(a *ledger.NewAccount) { a.Code = code })
	}
	for _, asset := range []string{"", "eur", "1A", "E U", strings.Repeat("A", 33)} {
		ask(false, func(a *ledger.NewAccount) { a.Asset = asset })
	}
	for _, asset := range []string{"X", "SKU-1.b", strings.Repeat("A", 32)} {
		ask(asset != "SKU-1.b", func(a *ledger.NewAccount) { a.Asset = asset })
	}
	for kind, ok := range map[ledger.AccountType]bool{"asset": true, "liability": true, "income": true, "expense": true, "equity": true, "": false, "Asset": false} {
		ask(ok, func(a *ledger.NewAccount) { a.Type = kind })
	}
	for scale, ok := range map[int16]bool{-1: false, 0: true, 18: true, 19: false} {
		ask(ok, func(a *ledger.NewAccount) { a.Asset, a.Scale = fmt.Sprintf("S%d", scale+1), &scale })
	}
	ask(false, func(a *ledger.NewAccount) { a.AvailableMin = number(int64(1)) })
	ask(false, func(a *ledger.NewAccount) { a.AvailableMax = number(int64(-1)) })
	ask(true, func(a *ledger.NewAccount) { a.AvailableMin, a.AvailableMax = number(int64(0)), number(int64(0)) })
	for i, r := range b.createAccounts(list...) {
		if (r.Err == nil) != valid[i] || r.Err != nil && codeOf(r.Err) != "account_invalid" {
			t.Errorf("%+v: %v", list[i], r.Err)
		}
	}
}

// Many make the same accounts at once, in different orders: all are told of the same accounts.
func TestManyMakeTheSameAccounts(t *testing.T) {
	b := setup(t)
	const makers, accounts = 12, 20
	var mu sync.Mutex
	told := map[string]map[ids.ID]bool{}
	made := 0
	var wait sync.WaitGroup
	for maker := range makers {
		wait.Go(func() {
			list := make([]ledger.NewAccount, accounts)
			for i := range list {
				n := (i*7 + maker) % accounts
				list[i] = ledger.NewAccount{OrgID: b.org, Code: fmt.Sprintf("a%d", n), Type: ledger.Asset, Asset: fmt.Sprintf("X%d", n%3)}
			}
			var results []ledger.AccountResult
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
				var err error
				results, err = b.ledger.CreateAccounts(ctx, tx, list)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			for _, r := range results {
				err = errors.Join(err, r.Err)
				if told[r.Account.Code] == nil {
					told[r.Account.Code] = map[ids.ID]bool{}
				}
				told[r.Account.Code][r.Account.ID] = true
				if !r.Exists {
					made++
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for code, all := range told {
		if len(all) != 1 {
			t.Errorf("%s was told to be %d accounts", code, len(all))
		}
	}
	if len(told) != accounts || made != accounts {
		t.Errorf("%d accounts, %d made; want %d", len(told), made, accounts)
	}
}
