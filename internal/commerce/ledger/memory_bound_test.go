package ledger

import (
	"strconv"
	"testing"
)

// Of very many accounts the memory keeps those that were asked for last.
func TestTheMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemory()
	key := func(n int) accountKey { return accountKey{code: strconv.Itoa(n)} }
	kept := m.find(key(0))
	kept.known = true
	for n := range 5 * memoryMax {
		m.find(key(n))
		if n%(memoryMax/2) == 0 && !m.find(key(0)).known {
			t.Fatalf("an account that is asked for is forgotten after %d", n)
		}
		if len(m.young) > memoryMax || len(m.old) > memoryMax {
			t.Fatalf("%d and %d accounts are remembered", len(m.young), len(m.old))
		}
	}
	if m.find(key(1)) == m.find(key(2)) || m.find(key(1)).known {
		t.Error("an account that was not asked for for long is remembered")
	}
}
