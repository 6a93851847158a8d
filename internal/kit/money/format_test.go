package money_test

import (
	"math"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/money"
)

func TestAmountsAreShown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount   int64
		currency string
		want     string
	}{
		{1250, "EUR", "12.50 EUR"},
		{5, "EUR", "0.05 EUR"},
		{0, "EUR", "0.00 EUR"},
		{-5, "EUR", "-0.05 EUR"},
		{1250, "JPY", "1250 JPY"},
		{1, "KWD", "0.001 KWD"},
		{1250, "?", "12.50 ?"},
		{math.MinInt64, "EUR", "-92233720368547758.08 EUR"},
	} {
		if got := money.Format(c.amount, c.currency); got != c.want {
			t.Errorf("%d %s: %s, want %s", c.amount, c.currency, got, c.want)
		}
	}
}
