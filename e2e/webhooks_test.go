package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

const webhookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// postman brings the provider's webhooks to the nodes, each of them to every node and twice.
type postman struct {
	*house
	mu       sync.Mutex
	nodes    []*node
	statuses map[int]int
}

func (p *postman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	nodes := slices.Clone(p.nodes)
	p.mu.Unlock()
	for range 2 {
		for _, n := range nodes {
			p.deliver(n, r.Header, body)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *postman) deliver(n *node, header http.Header, body []byte) {
	r, err := http.NewRequestWithContext(context.WithoutCancel(p.Context()), http.MethodPost, n.url+"/hooks/sandbox", bytes.NewReader(body))
	if err != nil {
		p.Error(err)
		return
	}
	r.Header = header.Clone()
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Error(err)
		return
	}
	_ = w.Body.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses[w.StatusCode]++
}

func (p *postman) delivered(status int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.statuses[status]
}

// A payment that takes the provider a while is final as soon as the provider says so, however often it says so, wherever.
func TestWebhooksComeTwice(t *testing.T) {
	p := &postman{statuses: map[int]int{}}
	relay := httptest.NewServer(p)
	t.Cleanup(relay.Close)
	h := newHouse(t, sandbox.ServerConfig{
		WebhookURL: relay.URL + "/anywhere", WebhookSecret: webhookSecret, SettleDelay: 300 * time.Millisecond,
	})
	p.house = h
	h.cfg.SandboxWebhookSecret = webhookSecret
	deliver, cancel := context.WithCancel(t.Context())
	delivered := make(chan error, 1)
	go func() { delivered <- h.provider.Run(deliver) }()
	t.Cleanup(func() {
		cancel()
		if err := <-delivered; err != nil {
			t.Error(err)
		}
	})
	nodes := []*node{h.start("a"), h.start("b")}
	p.mu.Lock()
	p.nodes = nodes
	p.mu.Unlock()

	r := approved(900)
	r.PaymentMethod = "tok_requires_time"
	id := decode[client.Payment](h, h.want(nodes[0].pay("slow", r, "respond-async"), 202, "")).ID
	last := decode[client.Payment](h, h.want(nodes[1].pay("slow", r), 201, ""))
	if last.ID != id || last.Status != client.PaymentStatusCaptured {
		t.Errorf("at the end: %+v", last)
	}
	h.eventually("the webhooks", func() bool { w := h.provider.Summary().Webhooks; return w.Waiting == 0 && w.Delivered > 0 })
	if n := p.delivered(http.StatusNoContent); n < 4 || n%4 != 0 {
		t.Errorf("%d webhooks were taken in: %v", n, p.statuses)
	}
	var types []string
	h.eventually("the event", func() bool { types = nodes[0].eventsAbout(id); return slices.Contains(types, "payment.captured") })
	if n := len(slices.DeleteFunc(slices.Clone(types), func(t string) bool { return t != "payment.captured" })); n != 1 {
		t.Errorf("captured %d times: %q", n, types)
	}
	p.deliver(nodes[0], http.Header{"Webhook-Id": {"forged"}, "Webhook-Timestamp": {"1"}, "Webhook-Signature": {"v1,xxxx"}}, []byte(strings.Repeat("{", 3)))
	if p.delivered(http.StatusUnauthorized) != 1 {
		t.Errorf("a forged webhook was answered with %v", p.statuses)
	}
}
