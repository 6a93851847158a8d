package simulate

import (
	"reflect"
	"testing"

	"github.com/kontorhq/kontor/client"
)

func TestScriptsComeFromTheSeed(t *testing.T) {
	t.Parallel()
	differ := 0
	for number := range 200 {
		if !reflect.DeepEqual(draw(7, number), draw(7, number)) {
			t.Fatalf("script %d is drawn differently from the same seed", number)
		}
		if !reflect.DeepEqual(draw(7, number), draw(8, number)) {
			differ++
		}
	}
	if differ < 190 {
		t.Errorf("only %d of 200 scripts depend on the seed", differ)
	}
}

// Whatever is drawn must be possible, and everything that can be drawn must come up.
func TestScriptsAreSound(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for number := range 20_000 {
		sc := draw(1, number)
		now := sc.opening()
		seen["token "+sc.token.name]++
		seen["currency "+sc.currency]++
		if sc.amount <= 0 {
			t.Fatalf("script %d: amount %d", number, sc.amount)
		}
		for _, st := range sc.steps {
			if len(st.moves) == 2 {
				seen["two at once"]++
			}
			for _, m := range st.moves {
				seen["move "+string(m.kind)+" "+m.refusal]++
				allowed := allows(now, m)
				if allowed != (m.refusal == "") {
					t.Fatalf("script %d: %+v of %+v is allowed: %v", number, m, now, allowed)
				}
				now = now.after(m)
				if now.capturable < 0 || now.refunded > now.captured || now.captured+now.capturable > now.amount {
					t.Fatalf("script %d: after %+v the payment is %+v", number, m, now)
				}
			}
		}
		seen["ends "+string(now.status)]++
	}
	want := []string{"two at once", "currency EUR", "currency USD", "currency JPY"}
	for _, tok := range tokens() {
		want = append(want, "token "+tok.name)
	}
	for _, status := range []string{"authorised", "captured", "refunded", "declined", "voided"} {
		want = append(want, "ends "+status)
	}
	for _, move := range []string{
		"capture ", "capture " + exceedsCapturable, "capture " + notCapturable, "refund ", "refund " + exceedsRefundable,
		"refund " + notRefundable, "void ", "void " + notVoidable,
	} {
		want = append(want, "move "+move)
	}
	for _, name := range want {
		if seen[name] < 20 {
			t.Errorf("%q came up %d times in 20,000 scripts", name, seen[name])
		}
	}
}

// allows is the contract's rule of what may be asked for.
func allows(now stand, m move) bool {
	switch m.kind {
	case client.PaymentAttemptKindCapture:
		return now.capturable > 0 && m.amount <= now.capturable
	case client.PaymentAttemptKindRefund:
		return now.captured > now.refunded && m.amount <= now.captured-now.refunded
	default:
		return now.capturable > 0
	}
}
