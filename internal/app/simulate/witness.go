package simulate

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// witness is the provider, which remembers what it really did, and the place where its webhooks come in: they are handed on to
// any node that is up, as a load balancer would.
type witness struct {
	url    string
	secret string // of the webhooks
	server *sandbox.Server
	http   *http.Server
	nodes  *cluster // set before a node can ask for anything
	end    context.CancelFunc
	done   sync.WaitGroup
}

const (
	webhookPath = "/relay"
	hooksPath   = "/hooks/" + providerName
)

func startWitness(ctx context.Context, faults sandbox.Faults) (*witness, error) {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the provider: %w", err)
	}
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead
	w := &witness{
		url: "http://" + socket.Addr().String(), secret: "whsec_" + base64.StdEncoding.EncodeToString(random[:]),
	}
	w.server = sandbox.NewServer(sandbox.ServerConfig{
		Faults: faults, WebhookURL: w.url + webhookPath, WebhookSecret: w.secret, SettleDelay: settleDelay, Clock: clock.System,
	})
	mux := http.NewServeMux()
	mux.Handle("/", w.server)
	mux.HandleFunc("POST "+webhookPath, w.relay)
	w.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 90 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // nodes are killed: their sockets break
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	w.end = end
	w.done.Go(func() { _ = w.server.Run(running) }) // fails only for a webhook target that cannot work
	w.done.Go(func() { _ = w.http.Serve(socket) })  // until stop
	return w, nil
}

// stop ends the provider at once.
func (w *witness) stop() {
	w.end()
	_ = w.http.Close()
	w.done.Wait()
}

// relay hands a webhook on to a node, and its answer back.
func (w *witness) relay(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(io.LimitReader(in.Body, answerBytesMax))
	if err != nil {
		http.Error(out, "the webhook broke off", http.StatusBadRequest)
		return
	}
	n := w.nodes.anyUp()
	if n == nil {
		http.Error(out, "no node is up", http.StatusServiceUnavailable)
		return
	}
	r, err := http.NewRequestWithContext(in.Context(), http.MethodPost, n.address()+hooksPath, bytes.NewReader(body))
	if err != nil {
		http.Error(out, "the node has just gone", http.StatusBadGateway)
		return
	}
	r.Header = in.Header.Clone()
	answer, err := w.nodes.http.Do(r)
	if err != nil {
		http.Error(out, "the node does not answer", http.StatusBadGateway)
		return
	}
	drain(answer.Body)
	out.WriteHeader(answer.StatusCode)
}

// anyUp gives a random node that is up, or nil.
func (c *cluster) anyUp() *node {
	for _, i := range mathrand.Perm(len(c.nodes)) {
		if c.nodes[i].address() != "" {
			return c.nodes[i]
		}
	}
	return nil
}

// summary is what the provider did, all in all.
func (w *witness) summary() sandbox.Summary { return w.server.Summary() }

// faultsInjected adds up what befell requests and webhooks. That webhooks overtake each other befalls them all, and a request that
// came too late was not made late by us: those two are only in the list by kind.
func faultsInjected(s sandbox.Summary) int64 {
	var total int64
	for kind, n := range s.FaultsInjected {
		if kind != "webhook_shuffled" && kind != "too_late" {
			total += n
		}
	}
	return total
}

// eachPage reads the whole record of payments over HTTP, as an auditor would, a page at a time.
func (w *witness) eachPage(ctx context.Context, use func([]sandbox.PaymentTruth)) error {
	after := ""
	for {
		var page sandbox.PaymentPage
		if err := w.call(ctx, http.MethodGet, "/witness/payments?limit=1000&after="+after, &page); err != nil {
			return fmt.Errorf("read the witness's record: %w", err)
		}
		use(page.Payments)
		if after = page.NextAfter; after == "" {
			return nil
		}
	}
}

func (w *witness) call(ctx context.Context, method, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(""))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer drain(answer.Body)
	if answer.StatusCode >= 300 {
		return errors.New(answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
