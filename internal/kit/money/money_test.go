package money_test

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/kit/money"
)

func TestSumsAreExactOrRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		sum := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		got, err := money.Add(a, b)
		if (err == nil) != sum.IsInt64() || (err == nil && got != sum.Int64()) {
			t.Fatalf("%d + %d = %d, %v", a, b, got, err)
		}
	})
}

func TestScales(t *testing.T) {
	t.Parallel()
	for currency, want := range map[string]int16{"EUR": 2, "AED": 2, "ZWG": 2, "JPY": 0, "KWD": 3, "CLF": 4} {
		if got, ok := money.Scale(currency); !ok || got != want {
			t.Errorf("%s: %d, %v", currency, got, ok)
		}
	}
	for _, bad := range []string{"", "eur", "EURO", "E1R", "EUT", "XTS", "BTC", "ED ", "D A"} {
		if _, ok := money.Scale(bad); ok {
			t.Errorf("%q was taken for a currency", bad)
		}
	}
}
