package e2e

import (
	"fmt"
	"testing"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// A batch is all or nothing, or each for itself; asked for on two nodes at once it is recorded once; tried out, not at all.
func TestBatchesOnTwoNodes(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	nodes := []*node{h.start("a"), h.start("b")}
	nodes[0].account("bank", client.AccountTypeAsset, nil)
	nodes[0].account("ada", client.AccountTypeLiability, ptr[int64](0))
	posted := func() int64 { return nodes[1].balances("ada")["ada"].Posted }

	dry := mixed(client.BatchModeIndependent)
	dry.DryRun = ptr(true)
	tried := decode[client.EntryBatch](h, h.want(nodes[0].batch("dry", dry), 200, ""))
	if tried.Recorded != 1 || tried.Refused != 1 || posted() != 0 {
		t.Errorf("tried out: %+v; ada has %d", tried, posted())
	}
	h.want(nodes[0].batch("atomic", mixed(client.BatchModeAtomic)), 409, "batch_rejected")
	if posted() != 0 {
		t.Errorf("a rejected batch left %d", posted())
	}
	some := decode[client.EntryBatch](h, h.want(nodes[0].batch("independent", mixed(client.BatchModeIndependent)), 200, ""))
	if some.Results[0].Result != "created" || some.Results[1].Result != "exceeds_available" || posted() != 10 {
		t.Errorf("each for itself: %+v; ada has %d", some, posted())
	}

	many := client.EntryBatchRequest{Mode: client.BatchModeAtomic}
	for range 200 {
		many.Entries = append(many.Entries, client.BatchEntry{Code: "many", Postings: transfer("bank", "ada", 1)})
	}
	var answers [4]answer
	at(
		func() { answers[0] = nodes[0].batch("many", many) }, func() { answers[1] = nodes[1].batch("many", many) },
		func() { answers[2] = nodes[0].batch("many", many) }, func() { answers[3] = nodes[1].batch("many", many) },
	)
	fresh := 0
	for _, a := range answers {
		if h.want(a, 200, ""); a.body != answers[0].body {
			t.Errorf("told %.200s and %.200s", answers[0].body, a.body)
		}
		if !a.replayed {
			fresh++
		}
	}
	if fresh != 1 || posted() != 210 {
		t.Errorf("%d answers say that they did it; ada has %d", fresh, posted())
	}
}

// A hot account is written to on two nodes while its statement is read page by page: nothing is missing, nothing comes twice, and each
// balance follows from the one before.
func TestAStatementIsWholeWhileItGrows(t *testing.T) {
	const writers, each = 8, 25
	h := newHouse(t, sandbox.ServerConfig{})
	nodes := []*node{h.start("a"), h.start("b")}
	bank := nodes[0].account("bank", client.AccountTypeAsset, nil)
	nodes[0].account("ada", client.AccountTypeLiability, nil)
	var asks []func()
	for w := range writers {
		asks = append(asks, func() {
			for i := range each {
				from, to := "bank", "ada"
				if i%3 == 0 {
					from, to = to, from
				}
				h.want(nodes[w%2].enter(fmt.Sprint(w, "-", i), client.EntryRequest{Code: "t", Postings: transfer(from, to, int64(1+w))}), 201, "")
			}
		})
	}
	var lines []client.StatementLine
	asks = append(asks, func() {
		var cursor *string
		h.eventually("the whole statement", func() bool {
			page := nodes[1].statement(bank.ID, cursor)
			if page.NextCursor != nil {
				lines, cursor = append(lines, page.Data...), page.NextCursor
				return false
			}
			whole := len(lines)+len(page.Data) >= writers*each
			if whole { // else this page is read again when it has grown
				lines = append(lines, page.Data...)
			}
			return whole
		})
	})
	at(asks...)
	var balance int64
	for i, l := range lines {
		change := l.Amount
		if l.Side == client.StatementLineSideCredit {
			change = -change
		}
		if balance += change; l.Version != int64(i+1) || l.Posted != balance {
			t.Fatalf("line %d: %+v, want the balance %d", i, l, balance)
		}
	}
	if now := nodes[0].balances("bank")["bank"]; now.Posted != balance || now.Version != writers*each {
		t.Errorf("the account has %+v, its statement ends with %d", now, balance)
	}
}

func (n *node) statement(account string, cursor *string) client.StatementPage {
	n.Helper()
	limit := int32(7)
	w, err := n.api.GetAccountStatementWithResponse(n.Context(), account, &client.GetAccountStatementParams{Cursor: cursor, Limit: &limit})
	if err != nil || w.JSON200 == nil {
		n.Fatalf("read a statement: %+v, %v", w, err)
	}
	return *w.JSON200
}
