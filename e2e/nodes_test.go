package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// truths is the provider's record of every payment.
func (h *house) truths() []sandbox.PaymentTruth {
	h.Helper()
	var all []sandbox.PaymentTruth
	for after := ""; ; {
		r, err := http.NewRequestWithContext(h.Context(), http.MethodGet, h.providerURL+"/witness/payments?limit=100&after="+after, nil)
		if err != nil {
			h.Fatal(err)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			h.Fatal(err)
		}
		var page sandbox.PaymentPage
		err = json.NewDecoder(w.Body).Decode(&page)
		_ = w.Body.Close()
		if err != nil {
			h.Fatal(err)
		}
		all = append(all, page.Payments...)
		if after = page.NextAfter; after == "" {
			return all
		}
	}
}

// A node is replaced by another: whoever repeats a request there gets the answer of the first one, byte for byte.
func TestAnswersOutliveTheirNode(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	first := h.start("first")
	first.account("bank", client.AccountTypeAsset, nil)
	first.account("ada", client.AccountTypeLiability, ptr[int64](0))
	paid := decode[client.Payment](h, h.want(first.pay("pay", approved(1000)), 201, ""))
	held := decode[client.Payment](h, h.want(first.pay("hold", manual(500)), 201, ""))
	asks := map[string]func(n *node) answer{
		"payment": func(n *node) answer { return n.pay("pay", approved(1000)) },
		"capture": func(n *node) answer {
			return n.capture("capture", held.ID, client.CaptureRequest{Amount: ptr[int64](200)})
		},
		"refund": func(n *node) answer {
			return n.refund("refund", paid.ID, client.RefundRequest{Amount: ptr[int64](300)})
		},
		"refused refund": func(n *node) answer {
			return n.refund("too much", paid.ID, client.RefundRequest{Amount: ptr[int64](5000)})
		},
		"entry": func(n *node) answer {
			return n.enter("entry", client.EntryRequest{Code: "t", Postings: transfer("bank", "ada", 50)})
		},
		"refused entry": func(n *node) answer {
			return n.enter("poor", client.EntryRequest{Code: "t", Postings: transfer("ada", "bank", 5000)})
		},
		"rejected batch":  func(n *node) answer { return n.batch("batch", mixed(client.BatchModeAtomic)) },
		"some of a batch": func(n *node) answer { return n.batch("some", mixed(client.BatchModeIndependent)) },
	}
	told := map[string]answer{}
	for what, ask := range asks {
		told[what] = ask(first)
	}
	first.stop()
	second := h.start("second")
	for what, ask := range asks {
		again := ask(second)
		before := told[what]
		before.replayed = true // some were so already
		if again != before {
			t.Errorf("%s: told\n%+v\nand by the second node\n%+v", what, before, again)
		}
	}
	h.want(second.pay("pay", approved(999)), 422, "idempotency_key_reused")
	if truth := h.provider.Summary(); truth.Charges != 2 || truth.Captures != 2 || truth.Refunds != 1 {
		t.Errorf("the provider has %+v", truth)
	}
}

// mixed is a batch with a good entry and one that exceeds what is there.
func mixed(mode client.BatchMode) client.EntryBatchRequest {
	return client.EntryBatchRequest{Mode: mode, Entries: []client.BatchEntry{
		{Code: "good", Postings: transfer("bank", "ada", 10)}, {Code: "bad", Postings: transfer("ada", "bank", 100_000)},
	}}
}

// The same payment is asked for on two nodes, twice each, at the same instant: it is made once, and everybody is told of
// that one.
func TestTwoNodesTakeOneRequestOnce(t *testing.T) {
	const payments = 25
	h := newHouse(t, sandbox.ServerConfig{Faults: sandbox.Faults{LatencyMin: 2 * time.Millisecond, LatencyMax: 30 * time.Millisecond}})
	nodes := []*node{h.start("a"), h.start("b")}
	answers := make([][4]answer, payments)
	var asks []func()
	for i := range payments {
		for k := range answers[i] {
			asks = append(asks, func() { answers[i][k] = nodes[k%2].pay(fmt.Sprint("order-", i), approved(int64(100+i))) })
		}
	}
	at(asks...)
	for i := range answers {
		first := answers[i][0]
		h.want(first, 201, "")
		if p := decode[client.Payment](h, first); p.Amount != int64(100+i) || p.Status != client.PaymentStatusCaptured {
			t.Errorf("payment %d: %s", i, first.body)
		}
		fresh := 0
		for _, a := range answers[i] {
			if a.body != first.body || a.status != first.status {
				t.Errorf("payment %d: told %s and %s", i, first.body, a.body)
			}
			if !a.replayed {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("payment %d: %d answers say that they did it", i, fresh)
		}
	}
	truths := h.truths()
	if len(truths) != payments {
		t.Errorf("the provider has %d payments", len(truths))
	}
	for _, truth := range truths {
		if len(truth.Charges) != 1 || truth.Double {
			t.Errorf("charged more than once: %+v", truth)
		}
	}
}

// The last of the money is asked for on two nodes under two keys at the same instant: one gets it.
func TestTwoNodesRefundOnce(t *testing.T) {
	const payments = 12
	h := newHouse(t, sandbox.ServerConfig{})
	nodes := []*node{h.start("a"), h.start("b")}
	answers := make([][2]answer, payments)
	var asks []func()
	for i := range payments {
		id := decode[client.Payment](h, h.want(nodes[i%2].pay(fmt.Sprint("pay-", i), approved(1000)), 201, "")).ID
		for k := range answers[i] {
			asks = append(asks, func() { answers[i][k] = nodes[k].refund(fmt.Sprint("refund-", i, "-", k), id, client.RefundRequest{}) })
		}
	}
	at(asks...)
	for i := range answers {
		won := 0
		for _, a := range answers[i] {
			switch {
			case a.status == http.StatusCreated && decode[client.Payment](h, a).Status == client.PaymentStatusRefunded:
				won++
			case a.code != "attempt_in_progress" && a.code != "payment_not_refundable":
				t.Errorf("payment %d: %+v", i, a)
			}
		}
		if won != 1 {
			t.Errorf("payment %d was refunded %d times: %+v", i, won, answers[i])
		}
	}
	if truth := h.provider.Summary(); truth.Refunds != payments || truth.AmountRefunded != payments*1000 {
		t.Errorf("the provider has %+v", truth)
	}
}

// A node that only answers begins payments, one that only works carries them out; then the worker is replaced while they wait.
func TestPaymentsWaitForAWorker(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	h.cfg.TaskLeaseSeconds = 3
	h.cfg.Roles = []app.Role{app.RoleAPI}
	front := h.start("front")
	var ids [5]string
	for i := range ids {
		ids[i] = decode[client.Payment](h, h.want(front.pay(fmt.Sprint(i), approved(100), "respond-async"), 202, "")).ID
	}
	if truth := h.provider.Summary(); truth.Requests != 0 {
		t.Errorf("a node without workers asked the provider: %+v", truth)
	}
	h.cfg.Roles = []app.Role{app.RoleWorker}
	h.start("back")
	for i := range ids {
		if p := decode[client.Payment](h, h.want(front.pay(fmt.Sprint(i), approved(100)), 201, "")); p.ID != ids[i] || p.Status != client.PaymentStatusCaptured {
			t.Errorf("payment %d: %+v", i, p)
		}
	}
}

// Whatever is sent later than a second after a key was revoked is refused, on every node.
func TestARevokedKeyIsRefusedEverywhere(t *testing.T) {
	h := newHouse(t, sandbox.ServerConfig{})
	nodes := []*node{h.start("a"), h.start("b")}
	for _, n := range nodes {
		h.want(n.pay(client.NewKey(), approved(100)), 201, "")
	}
	var keys struct{ Keys []struct{ ID string } }
	listed := h.kontor("keys", "list", "--json", "--database-url", h.cfg.DatabaseURL)
	if err := json.Unmarshal([]byte(listed), &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("%v in %s", err, listed)
	}
	h.kontor("keys", "revoke", keys.Keys[0].ID, "--database-url", h.cfg.DatabaseURL)
	revoked := time.Now()
	var together sync.WaitGroup
	for _, n := range nodes {
		together.Go(func() {
			h.eventually("the refusal", func() bool {
				late := time.Since(revoked) > time.Second
				refused := n.pay(client.NewKey(), approved(100)).code == "key_revoked"
				if late && !refused {
					t.Error("a revoked key was let in")
				}
				return refused && late
			})
		})
	}
	together.Wait()
}
