package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// planNode is what EXPLAIN (ANALYZE, FORMAT JSON) says of one node.
type planNode struct {
	Type    string     `json:"Node Type"`
	Rows    float64    `json:"Actual Rows"`
	Removed float64    `json:"Rows Removed by Filter"`
	Loops   float64    `json:"Actual Loops"`
	Parts   []planNode `json:"Plans"`
}

// read is how many rows a plan took from its scans, be they kept or filtered out.
func (n *planNode) read() float64 {
	rows := 0.0
	if len(n.Parts) == 0 {
		rows = (n.Rows + n.Removed) * n.Loops
	}
	for i := range n.Parts {
		rows += n.Parts[i].read()
	}
	return rows
}

// A hot account has a long history. What reads a page of it, or one balance, must not read all of it, also while the database
// has no statistics: an order that the index does not give makes PostgreSQL sort the whole.
func TestReadingAHotAccountReadsLittle(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).Direct, postgres.Options{ConnectionsMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	source := ids.NewSource(clock.System)
	l := New(db, events.New(db, source), source)
	org, hot := source.New(), ids.ID{}
	const history, batch = 8000, 100
	for n := range history / batch {
		err := db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			if n == 0 {
				made, err := l.CreateAccounts(ctx, tx, []NewAccount{{OrgID: org, Code: "hot", Type: Asset, Asset: "EUR"}, {OrgID: org, Code: "other", Type: Asset, Asset: "EUR"}})
				if err != nil {
					return err
				}
				hot = made[0].Account.ID
			}
			list := make([]Entry, batch)
			for i := range list {
				list[i] = Entry{OrgID: org, Code: "test", Postings: []Posting{{Debit: "hot", Credit: "other", Amount: 1}}}
			}
			_, err := l.Post(ctx, tx, list)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	literal := func(id ids.ID) string {
		return fmt.Sprintf("'%x-%x-%x-%x-%x'", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	}
	account := literal(org) + ", " + literal(hot)
	for _, state := range []string{"never_analysed", "analysed"} {
		if state == "analysed" {
			if _, err := db.Pool().Exec(t.Context(), "analyze"); err != nil {
				t.Fatal(err)
			}
		}
		for name, c := range map[string]struct {
			sql, args string
			most      float64
		}{
			"balance":   {balanceAtSQL, account + ", now()", batch + 1},
			"statement": {statementSQL, account + ", '1970-01-01', now(), '1970-01-01', 0, 21", batch + 1 + 2*21},
			"entries":   {listEntriesByAccountSQL, literal(org) + ", 'ffffffff-ffff-ffff-ffff-ffffffffffff', 2, '', '1970-01-01', now(), 'hot', now()", 4*batch + 3},
			"pending":   {listEntriesByAccountSQL, literal(org) + ", 'ffffffff-ffff-ffff-ffff-ffffffffffff', 2, 'posted', '1970-01-01', now(), 'hot', now()", 6*batch + 4},
		} {
			// As the pool's sessions run it: prepared, with a generic plan.
			prepared := name + "_" + state
			if _, err := db.Pool().Exec(t.Context(), "prepare "+prepared+" as "+c.sql); err != nil {
				t.Fatal(err)
			}
			var raw []byte
			if err := db.Pool().QueryRow(t.Context(), "explain (analyze, format json) execute "+prepared+" ("+c.args+")").Scan(&raw); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var plans []struct{ Plan planNode }
			if err := json.Unmarshal(raw, &plans); err != nil {
				t.Fatal(err)
			}
			if n := plans[0].Plan.read(); n > c.most {
				t.Errorf("%s, %s of an account of %d postings reads %.0f rows, want at most %.0f:\n%s", state, name, history, n, c.most, raw)
			}
		}
	}
}
