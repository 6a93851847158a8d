package access

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func wellFormed(key string) bool { _, ok := hashOf(key); return ok }

func TestAKeySaysWhatItOpensAndIsWellFormed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 1000 {
		key := newSecret(n%2 == 0)
		want := prefixTest
		if n%2 == 0 {
			want = prefixLive
		}
		if !strings.HasPrefix(key, want) || len(key) != 47 || !wellFormed(key) || seen[key] {
			t.Fatal("a bad key, or one made twice")
		}
		seen[key] = true
	}
}

func TestOneWrongCharacterIsNoticed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := newSecret(rapid.Bool().Draw(t, "live"))
		at := rapid.IntRange(0, len(key)-1).Draw(t, "at")
		other := rapid.Byte().Draw(t, "other")
		if key[at] == other {
			return
		}
		if bad := key[:at] + string([]byte{other}) + key[at+1:]; wellFormed(bad) {
			t.Fatalf("%q passed for %q", bad, key)
		}
	})
}

func TestTheChecksumIsCRC32(t *testing.T) {
	t.Parallel()
	if got := checksum([]byte("123456789")); got != 0xcbf43926 { // the check value that catalogues of CRCs give
		t.Fatalf("%x", got)
	}
}

func TestSwappedNeighboursAreNoticed(t *testing.T) {
	t.Parallel()
	key := newSecret(true)
	for i := range len(key) - 1 {
		bad := key[:i] + string([]byte{key[i+1], key[i]}) + key[i+2:]
		if bad != key && wellFormed(bad) {
			t.Fatalf("%q passed for %q", bad, key)
		}
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add(newSecret(false))
	f.Add("ktr_test_")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if wellFormed(s) && (len(s) != secretLength || s[:4] != "ktr_") {
			t.Fatalf("%q", s)
		}
	})
}
