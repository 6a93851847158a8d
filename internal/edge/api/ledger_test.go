package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAccountsOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	body := `{"code":"customers/ada/wallet","type":"liability","asset":"EUR","available_min":0,"metadata":{"b":"é\"<","a":"1"}}`
	made := n.must(201, n.post("/v1/ledger/accounts", body, "Idempotency-Key", "one"))
	if want := "/v1/ledger/accounts/" + text(made.json, "id"); made.header.Get("Location") != want {
		t.Errorf("Location %q, want %q", made.header.Get("Location"), want)
	}
	if text(made.json, "scale") != "2" || text(made.json, "available_min") != "0" || text(made.json, "available_max") != "<nil>" || text(made.json, "metadata.b") != "é\"<" {
		t.Errorf("made %s", made)
	}
	again := n.must(201, n.post("/v1/ledger/accounts", body, "Idempotency-Key", "one"))
	if string(again.body) != string(made.body) || again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("Location") != made.header.Get("Location") {
		t.Errorf("the repeat was answered %s %v", again, again.header)
	}
	if exists := n.must(200, n.post("/v1/ledger/accounts", body)); text(exists.json, "id") != text(made.json, "id") {
		t.Errorf("the same account again: %s", exists)
	}
	n.refused("account_exists_with_different_terms", n.post("/v1/ledger/accounts", `{"code":"customers/ada/wallet","type":"asset","asset":"EUR"}`))
	n.refused("asset_exists_with_different_scale", n.post("/v1/ledger/accounts", `{"code":"x","type":"asset","asset":"EUR","scale":3}`))
	n.refused("account_invalid", n.post("/v1/ledger/accounts", `{"code":"x","type":"asset","asset":"EUR","available_min":5}`))
	n.refused("invalid_request", n.post("/v1/ledger/accounts", `{"code":"x//y","type":"asset","asset":"EUR"}`))
	for i := range 5 {
		n.account(fmt.Sprintf("list/%d", i), "asset", "")
	}
	if got := text(n.get("/v1/ledger/accounts/"+text(made.json, "id")).json, "code"); got != "customers/ada/wallet" {
		t.Errorf("read %s", got)
	}
	if got := pageThrough(n, "/v1/ledger/accounts?limit=2&code_prefix=list/", "code"); strings.Join(got, " ") != "list/0 list/1 list/2 list/3 list/4" {
		t.Errorf("listed %v", got)
	}
	if got := pageThrough(n, "/v1/ledger/accounts?limit=4", "code"); len(got) != 6 {
		t.Errorf("listed %v", got)
	}
	if got := pageThrough(n, "/v1/ledger/accounts?limit=4&code=list/3", "code"); strings.Join(got, " ") != "list/3" {
		t.Errorf("listed %v", got)
	}
	n.refused("account_not_found", n.get("/v1/ledger/accounts/"+text(made.json, "id"), "Authorization", "Bearer "+n.otherKey))
	n.refused("account_not_found", n.get("/v1/ledger/accounts/acc_01k4x9d2rzfqe8s5v0m3t7a1bc"))
	n.refused("invalid_request", n.get("/v1/ledger/accounts/acc_1"))
	n.refused("invalid_request", n.get("/v1/ledger/accounts?cursor=AAAA"))
}

// pageThrough reads a list to its end and returns one field of every item.
func pageThrough(n *node, path, field string) []string {
	n.t.Helper()
	var all []string
	for cursor := ""; ; {
		a := n.must(http.StatusOK, n.get(path+cursor))
		items, _ := a.json["data"].([]any)
		for _, item := range items {
			all = append(all, text(item, field))
		}
		if next := text(a.json, "next_cursor"); text(a.json, "has_more") == "true" {
			cursor = "&cursor=" + next
			continue
		}
		return all
	}
}

func TestEntriesOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	ada := n.account("ada", "liability", `,"available_min":0`)
	n.account("bob", "liability", `,"available_max":1000`)

	made := n.must(201, n.post("/v1/ledger/entries", entry(`,"reference":"top-up","metadata":{"order":"42"}`, posting("bank", "ada", 1000))))
	if got := text(made.json, "balances.1.account") + text(made.json, "balances.1.posted") + text(made.json, "balances.0.posted"); got != "ada10001000" {
		t.Errorf("balances %s", made)
	}
	if made.header.Get("Location") != "/v1/ledger/entries/"+text(made.json, "id") {
		t.Errorf("Location %s", made.header.Get("Location"))
	}
	n.refused("exceeds_available", n.post("/v1/ledger/entries", entry("", posting("ada", "bob", 1001))))
	n.refused("exceeds_available_max", n.post("/v1/ledger/entries", entry("", posting("bank", "bob", 1001))))
	missing := n.refused("account_not_found", n.post("/v1/ledger/entries", entry("", posting("ada", "carol", 1))))
	if !strings.HasPrefix(text(missing.json, "param"), "/") {
		t.Errorf("the place of the mistake: %s", missing)
	}
	n.refused("accounts_must_differ", n.post("/v1/ledger/entries", entry("", posting("ada", "ada", 1))))
	n.refused("overflow", n.post("/v1/ledger/entries", entry("", posting("bank", "ada", 9223372036854775807))))
	n.refused("only_pending_expires", n.post("/v1/ledger/entries", entry(`,"expires_at":"2099-01-01T00:00:00Z"`, posting("ada", "bob", 1))))

	exists := n.must(200, n.post("/v1/ledger/entries", entry(`,"reference":"top-up"`, posting("bank", "ada", 1000))))
	if text(exists.json, "id") != text(made.json, "id") || text(exists.json, "postings.0.amount") != "1000" {
		t.Errorf("the same reference again: %s", exists)
	}
	n.refused("exists_with_different_amount", n.post("/v1/ledger/entries", entry(`,"reference":"top-up"`, posting("bank", "ada", 999))))
	n.refused("exists_with_different_accounts", n.post("/v1/ledger/entries", entry(`,"reference":"top-up"`, posting("bank", "bob", 1000))))

	dry := n.must(200, n.post("/v1/ledger/entries", entry(`,"dry_run":true`, posting("ada", "bob", 400)), "Idempotency-Key", "dry"))
	if text(dry.json, "balances.0.posted") != "600" {
		t.Errorf("dry run: %s", dry)
	}
	n.refused("exceeds_available", n.post("/v1/ledger/entries", entry(`,"dry_run":true`, posting("ada", "bob", 4000))))
	if got := text(n.get("/v1/ledger/accounts/"+ada).json, "posted"); got != "1000" {
		t.Errorf("a dry run moved something: %s", got)
	}
	n.must(201, n.post("/v1/ledger/entries", entry("", posting("ada", "bob", 1)), "Idempotency-Key", "dry"))

	n.refused("exceeds_available", n.post("/v1/ledger/entries/"+text(made.json, "id")+"/reverse", ""))
}

func TestHoldsOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	n.account("shop", "income", "")
	ada := n.account("ada", "liability", `,"available_min":0`)
	n.must(201, n.post("/v1/ledger/entries", entry(`,"effective_at":"2026-01-01T00:00:00.123456789+01:00"`, posting("bank", "ada", 1000))))
	hold := n.must(201, n.post("/v1/ledger/entries", entry(`,"pending":true,"expires_at":"2099-01-01T00:00:00Z"`, posting("ada", "shop", 600))))
	id := text(hold.json, "id")
	if text(hold.json, "state") != "pending" || text(hold.json, "balances.0.available") != "400" || text(hold.json, "balances.0.posted") != "1000" {
		t.Errorf("hold: %s", hold)
	}
	n.refused("exceeds_available", n.post("/v1/ledger/entries", entry("", posting("ada", "shop", 401))))
	n.refused("exceeds_pending", n.post("/v1/ledger/entries/"+id+"/post", `{"amount":601}`))
	n.refused("amount_count", n.post("/v1/ledger/entries/"+id+"/post", `{"amounts":[1,2]}`))
	n.refused("amount_count", n.post("/v1/ledger/entries/"+id+"/post", `{"amounts":[1],"amount":1}`))
	n.refused("entry_not_posted", n.post("/v1/ledger/entries/"+id+"/reverse", ``))
	part := n.must(200, n.post("/v1/ledger/entries/"+id+"/post", `{"amount":100,"keep_pending":true}`))
	if text(part.json, "state") != "pending" || text(part.json, "balances.0.posted") != "900" || text(part.json, "balances.0.available") != "400" {
		t.Errorf("posted in part: %s", part)
	}
	rest := n.must(200, n.post("/v1/ledger/entries/"+id+"/post", ""))
	if text(rest.json, "state") != "posted" || text(rest.json, "balances.0.posted") != "400" {
		t.Errorf("posted: %s", rest)
	}
	n.refused("entry_already_posted", n.post("/v1/ledger/entries/"+id+"/void", ""))
	n.refused("entry_already_posted", n.post("/v1/ledger/entries/"+id+"/post", `{}`))
	read := n.must(200, n.get("/v1/ledger/entries/"+id))
	if text(read.json, "movements.0.phase")+text(read.json, "movements.1.phase")+text(read.json, "movements.2.origin") != "pendingsettled0" {
		t.Errorf("read: %s", read)
	}
	second := n.must(201, n.post("/v1/ledger/entries", entry(`,"pending":true`, posting("ada", "shop", 50))))
	voided := n.must(200, n.post("/v1/ledger/entries/"+text(second.json, "id")+"/void", `{}`))
	if text(voided.json, "state") != "voided" || text(voided.json, "balances.0.available") != "400" {
		t.Errorf("voided: %s", voided)
	}
	n.refused("entry_already_voided", n.post("/v1/ledger/entries/"+text(second.json, "id")+"/post", `{}`))
	back := n.must(201, n.post("/v1/ledger/entries/"+id+"/reverse", `{"code":"correction","reference":"oops"}`))
	if text(back.json, "reversal_of") != id || text(back.json, "balances.0.posted") == "" {
		t.Errorf("reversed: %s", back)
	}
	n.refused("already_reversed", n.post("/v1/ledger/entries/"+id+"/reverse", ``))
	n.refused("entry_not_found", n.post("/v1/ledger/entries/ent_01k4x9d2rzfqe8s5v0m3t7a1bc/void", ``))
	n.refused("entry_not_found", n.get("/v1/ledger/entries/"+id, "Authorization", "Bearer "+n.otherKey))

	if got := len(pageThrough(n, "/v1/ledger/entries?limit=2", "id")); got != 4 {
		t.Errorf("listed %d entries", got)
	}
	for query, want := range map[string]int{"state=voided": 1, "account=bank": 1, "reference=oops": 1, "recorded_from=2099-01-01T00:00:00Z": 0, "account=nobody": 0} {
		if got := len(pageThrough(n, "/v1/ledger/entries?limit=2&"+query, "id")); got != want {
			t.Errorf("%s: listed %d entries, want %d", query, got, want)
		}
	}
	if got := pageThrough(n, "/v1/ledger/accounts/"+ada+"/statement?limit=2", "version"); strings.Join(got, " ") != "1 2 3 4 5 6 7 8" && strings.Join(got, " ") != "1 2 3 4 5 6 7" {
		t.Errorf("statement %v", got)
	}
	now := n.must(200, n.get("/v1/ledger/accounts/"+ada+"/balance"))
	if text(now.json, "posted") != "1000" || text(now.json, "basis") != "recorded" {
		t.Errorf("balance %s", now)
	}
	if then := n.get("/v1/ledger/accounts/" + ada + "/balance?at=2026-01-02T00:00:00Z&basis=effective"); text(then.json, "posted") != "1000" {
		t.Errorf("balance by effective date %s", then)
	}
	if then := n.get("/v1/ledger/accounts/" + ada + "/balance?at=2026-01-02T00:00:00Z&basis=recorded"); text(then.json, "posted") != "0" {
		t.Errorf("balance by recorded date %s", then)
	}
}

func TestBatchesOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	ada := n.account("ada", "liability", `,"available_min":0`)
	n.account("bob", "liability", "")
	batch := func(mode, more string, entries ...string) string {
		return fmt.Sprintf(`{"mode":%q,"entries":[%s]%s}`, mode, strings.Join(entries, ","), more)
	}
	good, bad := entry("", posting("bank", "ada", 10)), entry("", posting("ada", "bob", 5000))
	all := n.must(200, n.post("/v1/ledger/entries/batch", batch("atomic", "", good, entry("", posting("ada", "bob", 10)), good)))
	if text(all.json, "recorded") != "3" || text(all.json, "results.1.entry.balances.0.posted") != "0" {
		t.Errorf("atomic: %s", all)
	}
	none := n.refused("batch_rejected", n.post("/v1/ledger/entries/batch", batch("atomic", "", good, bad), "Idempotency-Key", "rejected"))
	if text(none.json, "errors.0.code") != "exceeds_available" || !strings.HasPrefix(text(none.json, "errors.0.param"), "/entries/1") {
		t.Errorf("rejected: %s", none)
	}
	again := n.refused("batch_rejected", n.post("/v1/ledger/entries/batch", batch("atomic", "", good, bad), "Idempotency-Key", "rejected"))
	if again.header.Get("Idempotent-Replayed") != "true" || string(again.body) != string(none.body) {
		t.Errorf("the refusal again: %s %v", again, again.header)
	}
	some := n.must(200, n.post("/v1/ledger/entries/batch", batch("independent", "", good, bad, entry(`,"reference":"r"`, posting("bank", "ada", 1)), entry(`,"reference":"r"`, posting("bank", "ada", 1)))))
	if got := text(some.json, "results.0.result") + " " + text(some.json, "results.1.result") + " " + text(some.json, "results.2.result") + " " + text(some.json, "results.3.result"); got != "created exceeds_available created exists" {
		t.Errorf("independent: %s", some)
	}
	if text(some.json, "recorded") != "2" || text(some.json, "refused") != "1" || text(some.json, "results.2.entry.id") != text(some.json, "results.3.entry.id") {
		t.Errorf("independent: %s", some)
	}
	dry := n.must(200, n.post("/v1/ledger/entries/batch", batch("atomic", `,"dry_run":true`, good)))
	if text(dry.json, "recorded") != "1" {
		t.Errorf("dry run: %s", dry)
	}
	n.refused("batch_rejected", n.post("/v1/ledger/entries/batch", batch("atomic", `,"dry_run":true`, bad)))
	if got := text(n.get("/v1/ledger/accounts/"+ada).json, "posted"); got != "21" {
		t.Errorf("ada has %s", got)
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = entry("", posting("bank", "ada", 1))
	}
	n.must(200, n.post("/v1/ledger/entries/batch", batch("atomic", "", many...)))
	n.refused("invalid_request", n.post("/v1/ledger/entries/batch", batch("atomic", "", append(many, good)...)))
	n.refused("invalid_request", n.post("/v1/ledger/entries/batch", batch("atomic", "")))
	if got := text(n.get("/v1/ledger/accounts/"+ada).json, "posted"); got != "1021" {
		t.Errorf("ada has %s", got)
	}
}

func TestEqualRequestsAtOnceDoTheWorkOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	ada := n.account("ada", "liability", "")
	const callers = 24
	answers := make([]answer, callers)
	var together sync.WaitGroup
	for i := range callers {
		body := fmt.Sprintf(` { "postings" : [%s], "code":"te\u0073t" } `, posting("bank", "ada", 7))
		if i%2 == 0 {
			body = entry("", posting("bank", "ada", 7))
		}
		together.Go(func() { answers[i] = n.post("/v1/ledger/entries", body, "Idempotency-Key", "same") })
	}
	together.Wait()
	fresh := 0
	for _, a := range answers {
		n.must(201, a)
		if string(a.body) != string(answers[0].body) || a.header.Get("Location") != answers[0].header.Get("Location") {
			t.Errorf("two answers: %s and %s", a, answers[0])
		}
		if a.header.Get("Idempotent-Replayed") == "" {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d answers say that they did it", fresh)
	}
	if got := text(n.get("/v1/ledger/accounts/"+ada).json, "posted"); got != "7" {
		t.Errorf("ada has %s", got)
	}
	n.refused("idempotency_key_reused", n.post("/v1/ledger/entries", entry("", posting("bank", "ada", 8)), "Idempotency-Key", "same"))
	n.refused("idempotency_key_reused", n.post("/v1/ledger/accounts", `{"code":"x","type":"asset","asset":"EUR"}`, "Idempotency-Key", "same"))
	n.refused("account_not_found", n.post("/v1/ledger/entries", entry("", posting("bank", "ada", 7)), "Idempotency-Key", "same", "Authorization", "Bearer "+n.otherKey))
}

func TestARefusalIsReplayedToo(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	first := n.refused("account_not_found", n.post("/v1/ledger/entries", entry("", posting("bank", "later", 1)), "Idempotency-Key", "k", "Request-Id", "mine"))
	n.account("later", "liability", "")
	second := n.refused("account_not_found", n.post("/v1/ledger/entries", entry("", posting("bank", "later", 1)), "Idempotency-Key", "k"))
	if string(first.body) != string(second.body) || second.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s, then %s", first, second)
	}
	if text(first.json, "request_id") != "mine" {
		t.Errorf("the request's id: %s", first)
	}
}

func TestEventsOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.account("bank", "asset", "")
	n.account("ada", "liability", "")
	n.until("/v1/events?type=ledger.account.created", func(a answer) bool { return text(a.json, "data.1.data.code") == "ada" })
	if empty := n.get("/v1/events?type=nothing"); text(empty.json, "data") != "[]" {
		t.Errorf("no events: %s", empty)
	}
	var made []string
	for range 5 {
		made = append(made, text(n.must(201, n.post("/v1/ledger/entries", entry("", posting("bank", "ada", 1)))).json, "id"))
	}
	var seen []string
	deadline := n.deps.Clock().Add(30 * time.Second)
	for cursor := ""; len(seen) < len(made); { // the log shows what is older than every open transaction of the cluster
		if n.deps.Clock().After(deadline) {
			t.Fatalf("of the entries %v the log has %v", made, seen)
		}
		a := n.must(200, n.get("/v1/events?limit=2"+cursor))
		items, _ := a.json["data"].([]any)
		for _, item := range items {
			if text(item, "type") == "ledger.entry.posted" {
				seen = append(seen, text(item, "subject"))
			}
		}
		if next := text(a.json, "next_cursor"); next != "<nil>" {
			cursor = "&cursor=" + next
		}
	}
	if strings.Join(seen, " ") != strings.Join(made, " ") {
		t.Errorf("events %v, entries %v", seen, made)
	}
	of := n.must(200, n.get("/v1/events?subject="+made[2]))
	if items, _ := of.json["data"].([]any); len(items) != 1 || text(items[0], "subject") != made[2] || text(items[0], "data.id") != made[2] {
		t.Errorf("events of an entry: %s", of)
	}
	n.refused("invalid_request", n.get("/v1/events?subject=ent_x"))
	n.refused("invalid_request", n.get("/v1/events?type=Nothing"))
}
