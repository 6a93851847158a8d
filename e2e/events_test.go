package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// Two nodes write payments and entries of all lengths at once while a reader follows the log, on one node and then on the other: it sees
// every event once, also those of transactions that committed late, and each payment's in its order.
func TestTheEventLogHasNoGapsWhileItGrows(t *testing.T) {
	const writers, each = 6, 12
	h := newHouse(t, sandbox.ServerConfig{Faults: sandbox.Faults{LatencyMax: 20 * time.Millisecond}})
	nodes := []*node{h.start("a"), h.start("b")}
	nodes[0].account("bank", client.AccountTypeAsset, nil)
	nodes[0].account("ada", client.AccountTypeLiability, nil)
	asks := []func(){}
	for w := range writers {
		asks = append(asks, func() {
			for i := range each {
				n, key := nodes[(w+i)%2], fmt.Sprint(w, "-", i)
				id := decode[client.Payment](h, h.want(n.pay(key, manual(100)), 201, "")).ID
				h.want(n.capture(key+"-capture", id, client.CaptureRequest{}), 200, "")
				batch := client.EntryBatchRequest{Mode: client.BatchModeAtomic}
				for range 1 + 20*(i%4) {
					batch.Entries = append(batch.Entries, client.BatchEntry{Code: "t", Postings: transfer("bank", "ada", 1)})
				}
				h.want(n.batch(key+"-batch", batch), 200, "")
			}
		})
	}
	written := make(chan string, 1)
	followed := make(chan []client.Event, 1)
	go func() { followed <- h.follow(nodes, written) }()
	at(asks...)
	final := h.want(nodes[0].batch("final", client.EntryBatchRequest{
		Mode: client.BatchModeAtomic, Entries: []client.BatchEntry{{Code: "t", Postings: transfer("bank", "ada", 1)}},
	}), 200, "")
	last := regexp.MustCompile(`ent_[0-9a-z]{26}`).FindString(final.body)
	written <- last
	seen := <-followed

	written <- last
	again, numbers := h.follow(nodes[:1], written), map[string]int{}
	if len(again) != len(seen) {
		t.Errorf("followed %d events, found %d afterwards", len(seen), len(again))
	}
	perPayment := map[string]string{}
	for i, e := range seen {
		if i < len(again) && again[i].ID != e.ID {
			t.Fatalf("event %d was %s %s when followed, and is %s %s afterwards", i, e.Type, e.ID, again[i].Type, again[i].ID)
		}
		if numbers[e.ID]++; numbers[e.ID] > 1 {
			t.Errorf("%s %s came twice", e.Type, e.ID)
		}
		if e.SubjectType == "payment" {
			perPayment[e.Subject] += e.Type + " "
		}
	}
	const story = "payment.created payment.authorised payment.capture_requested payment.captured "
	for id, told := range perPayment {
		if told != story {
			t.Errorf("%s: %s", id, told)
		}
	}
	if len(perPayment) != writers*each {
		t.Errorf("%d payments in the log", len(perPayment))
	}
}

// follow reads the log from its beginning up to the entry that was written last, each page on another node. An empty page is not the
// end: the log is read up to the oldest transaction that is open, be it somebody else's.
func (h *house) follow(nodes []*node, written <-chan string) []client.Event {
	h.Helper()
	var all []client.Event
	var cursor *string
	last := ""
	deadline := time.Now().Add(time.Minute)
	for turn := 0; time.Now().Before(deadline); turn++ {
		select {
		case last = <-written:
		default:
		}
		limit := int32(13)
		w, err := nodes[turn%len(nodes)].api.ListEventsWithResponse(h.Context(), &client.ListEventsParams{Cursor: cursor, Limit: &limit})
		if err != nil || w.JSON200 == nil {
			h.Errorf("read the events: %+v, %v", w, err)
			return all
		}
		all = append(all, w.JSON200.Data...)
		if w.JSON200.NextCursor != nil {
			cursor = w.JSON200.NextCursor
		}
		if last != "" && slices.ContainsFunc(all, func(e client.Event) bool { return e.Subject == last }) {
			return all
		}
	}
	h.Errorf("%q did not come; %d events did", last, len(all))
	return all
}
