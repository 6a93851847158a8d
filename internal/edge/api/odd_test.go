package api

import (
	"net/http"
	"testing"
)

// TestOddButLegalValues are those that the generated code must not trip over once the gate has let them through.
func TestOddButLegalValues(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	n.account("ada:1.2_3-4/x", "liability", "")
	for _, key := range []string{"a,b", "100%", "%zz", "x;y=z", `"quoted"`, "a=b&c", "[1]", "null", "a b", "+1"} {
		n.must(http.StatusCreated, n.post("/v1/ledger/entries", entry("", posting("bank", "ada:1.2_3-4/x", 1)), "Idempotency-Key", key))
		again := n.must(http.StatusCreated, n.post("/v1/ledger/entries", entry("", posting("bank", "ada:1.2_3-4/x", 1)), "Idempotency-Key", key))
		if again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("the key %q was not recognised", key)
		}
	}
	for _, prefer := range []string{"respond-async, wait=5", `wait="2"; x=y`, "handling=lenient", "%", ""} {
		n.must(http.StatusCreated, n.post("/v1/payments", payment("tok_approved", ""), "Prefer", prefer))
	}
	n.must(http.StatusCreated, n.post("/v1/ledger/entries", entry(`,"reference":"r é,%\"\\\\ &=+","metadata":{" k\"":"\ud83d\ude00\n<&>"}`, posting("bank", "ada:1.2_3-4/x", 1))))
	for query, want := range map[string]int{
		"reference=r%20%C3%A9%2C%25%22%5C%5C%20%26%3D%2B": 1,
		"reference=r+%C3%A9%2C%25%22%5C%5C+%26%3D%2B":     1,
		"account=ada:1.2_3-4/x":                           11,
		"account=ada%3A1.2_3-4%2Fx":                       11,
	} {
		if got := pageThrough(n, "/v1/ledger/entries?"+query, "id"); len(got) != want {
			t.Errorf("%s: %d entries, want %d", query, len(got), want)
		}
	}
	n.refused("invalid_request", n.get("/v1/ledger/entries?recorded_from=2026-01-01T00:00:00+01:00")) // a plus is a space
	n.refused("invalid_request", n.post("/v1/ledger/entries", entry("", posting("bank", "ada", 1)), "Idempotency-Key", "é"))
	taken := n.must(http.StatusCreated, n.post("/v1/ledger/entries", entry(`,"reference":"taken"`, posting("bank", "ada:1.2_3-4/x", 5))))
	n.refused("exists_with_different_accounts", n.post("/v1/ledger/entries/"+text(taken.json, "id")+"/reverse", `{"reference":"taken"}`))
	back := n.must(http.StatusCreated, n.post("/v1/ledger/entries/"+text(taken.json, "id")+"/reverse", `{"reference":"back","metadata":{"why":"wrong"}}`))
	same := n.must(http.StatusOK, n.post("/v1/ledger/entries/"+text(taken.json, "id")+"/reverse", `{"reference":"back"}`))
	if text(same.json, "id") != text(back.json, "id") || text(same.json, "postings.0.amount") != "5" {
		t.Errorf("the same reversal again: %s", same)
	}
}
