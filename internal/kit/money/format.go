package money

import "fmt"

// Format shows an amount of minor units for people: 12.50 EUR. A currency that Kontor does not know is taken to have two
// decimal places.
func Format(amount int64, currency string) string {
	scale, known := Scale(currency)
	if !known {
		scale = 2
	}
	sign, size := "", uint64(amount)
	if amount < 0 {
		sign, size = "-", -size
	}
	digits := fmt.Sprintf("%0*d", int(scale)+1, size)
	if scale == 0 {
		return sign + digits + " " + currency
	}
	point := len(digits) - int(scale)
	return sign + digits[:point] + "." + digits[point:] + " " + currency
}
