package ledger

import (
	"encoding/json"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// What is written by hand is, byte for byte, what encoding/json makes of the same.
func FuzzEventPayload(f *testing.F) {
	for _, text := range []string{
		"", "payment.captured", `"\/`, "<a href='x'>&</a>", "\x00\x01\b\f\n\r\t\x1f", " ~\x7f\u0080ü☃😀", "\u2028\u2029", "\xff\xc3(\xed\xa0\x80",
	} {
		f.Add(text, text, int64(1), true)
	}
	type posting struct {
		Phase  Phase  `json:"phase"`
		Debit  string `json:"debit_account"`
		Credit string `json:"credit_account"`
		Amount int64  `json:"amount"`
	}
	type payload struct {
		ID         string    `json:"id"`
		State      State     `json:"state"`
		Code       string    `json:"code"`
		Reference  string    `json:"reference,omitempty"`
		ReversalOf string    `json:"reversal_of,omitempty"`
		Postings   []posting `json:"postings"`
	}
	f.Fuzz(func(t *testing.T, code, reference string, amount int64, reverses bool) {
		entry := &targetState{Recorded: Recorded{ID: ids.ID{1}, Code: code, Reference: reference}}
		if reverses {
			entry.ReversalOf = ids.ID{2}
		}
		debit, credit := &accountState{Account: Account{Code: code}}, &accountState{Account: Account{Code: reference}}
		want := payload{ID: ids.Format(EntryPrefix, entry.ID), State: StatePosted, Code: code, Reference: reference, ReversalOf: ids.Format(EntryPrefix, entry.ReversalOf)}
		var lines []postingRow
		for _, phase := range []Phase{PhasePending, PhaseSettled} {
			lines = append(lines, postingRow{line: line{phase: phase, amount: amount, debit: debit, credit: credit}})
			want.Postings = append(want.Postings, posting{phase, code, reference, amount})
		}
		wanted, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := eventPayload(entry, StatePosted, lines); string(got) != string(wanted) {
			t.Errorf("%s\nwant %s", got, wanted)
		}
	})
}
