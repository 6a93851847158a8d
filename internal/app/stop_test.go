package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/app"
	"github.com/kontorhq/kontor/internal/commerce/payments/sandbox"
)

// startSandbox runs a provider of the test's own and points the configuration to it.
func startSandbox(t *testing.T, cfg *app.Config, faults sandbox.Faults) *sandbox.Server {
	t.Helper()
	provider := sandbox.NewServer(sandbox.ServerConfig{Faults: faults})
	server := httptest.NewServer(provider)
	t.Cleanup(server.CloseClientConnections)
	cfg.SandboxURL = server.URL
	return provider
}

func newClient(t *testing.T, node *app.App, cfg app.Config) *client.ClientWithResponses {
	t.Helper()
	code, key, errOut := kontor(t, nil, "keys", "create", "--database-url", cfg.DatabaseURL)
	if code != 0 {
		t.Fatal(errOut)
	}
	api, err := client.New(node.URL(), strings.TrimSpace(key))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// pay asks for the test's one payment in the background.
func pay(t *testing.T, api *client.ClientWithResponses, token string) <-chan *client.CreatePaymentResponse {
	t.Helper()
	answers := make(chan *client.CreatePaymentResponse, 1)
	go func() {
		answer, err := api.CreatePaymentWithResponse(t.Context(), &client.CreatePaymentParams{IdempotencyKey: "k1"},
			client.PaymentRequest{Amount: 1000, Currency: "EUR", PaymentMethod: token})
		if err != nil {
			answer = nil
		}
		answers <- answer
	}()
	return answers
}

func TestAPaymentUnderWayIsAnsweredBeforeTheNodeStops(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	provider := startSandbox(t, &cfg, sandbox.Faults{LatencyMin: 300 * time.Millisecond, LatencyMax: 300 * time.Millisecond})
	node, stop := startNode(t, cfg)
	answers := pay(t, newClient(t, node, cfg), "tok_approved")
	waitFor(t, "the provider to be asked", func() bool { return provider.Summary().Requests > 0 })
	if err := stop(); err != nil {
		t.Errorf("it stopped with %v", err)
	}
	answer := <-answers
	if answer == nil || answer.JSON201 == nil || answer.JSON201.Status != client.PaymentStatusCaptured {
		t.Errorf("got %+v", answer)
	}
}

func TestAPaymentOutlivesItsNode(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.ShutdownTimeoutSeconds, cfg.ProviderTimeoutSeconds = 2, 20
	provider := startSandbox(t, &cfg, sandbox.Faults{})
	node, stop := startNode(t, cfg)
	api := newClient(t, node, cfg)
	answers := pay(t, api, "tok_timeout_after_charge")
	waitFor(t, "the charge", func() bool { return provider.Summary().Captures > 0 })
	began := time.Now()
	if err := stop(); err != nil {
		t.Errorf("it stopped with %v", err)
	}
	if took := time.Since(began); took > 15*time.Second { // the provider would have been waited for 20 s
		t.Errorf("stopping took %v", took)
	}
	if answer := <-answers; answer == nil || answer.JSON202 == nil {
		t.Errorf("a request that could not wait any longer was answered %+v", answer)
	}

	cfg.Node = "second"
	node, stop = startNode(t, cfg)
	api = newClient(t, node, cfg)
	answer := <-pay(t, api, "tok_timeout_after_charge")
	if answer == nil || answer.HTTPResponse.StatusCode != http.StatusCreated || answer.JSON201.Status != client.PaymentStatusCaptured {
		t.Fatalf("the repeat was answered %+v", answer)
	}
	if truth := provider.Summary(); truth.Charges != 1 || truth.DoubleCharges != 0 {
		t.Errorf("the provider has %+v", truth)
	}
	if err := stop(); err != nil {
		t.Errorf("it stopped with %v", err)
	}
}

func TestRolesCanBeSplit(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.PaymentWaitSeconds = 3
	startSandbox(t, &cfg, sandbox.Faults{})
	worker := cfg
	worker.Node, worker.Roles = "worker", []app.Role{app.RoleWorker}
	second, stopWorker := startNode(t, worker)
	if second.URL() != "" {
		t.Errorf("a worker answers at %s", second.URL())
	}
	cfg.Node, cfg.Roles = "api", []app.Role{app.RoleAPI}
	node, stop := startNode(t, cfg)
	answer := <-pay(t, newClient(t, node, cfg), "tok_approved")
	if answer == nil || answer.JSON201 == nil || answer.JSON201.Status != client.PaymentStatusCaptured {
		t.Errorf("got %+v", answer)
	}
	for _, end := range []func() error{stop, stopWorker} {
		if err := end(); err != nil {
			t.Errorf("it stopped with %v", err)
		}
	}
}
