package api

import (
	"net/http"
	"testing"
)

func TestADestinationSaysHowItIsConnectedTo(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	made := n.must(http.StatusCreated, n.post("/v1/destinations", `{"name":"bank","base_url":"https://bank.example","cloud_tasks_headers":true,
		"tls":{"certificate":"env:SECRET_CERT","key":"env:SECRET_KEY","ca":"file:/run/secrets/ca.pem"}}`))
	if text(made.json, "tls.certificate") != "env:SECRET_CERT" || text(made.json, "cloud_tasks_headers") != "true" {
		t.Error(made)
	}
	if a := n.must(http.StatusOK, n.send(http.MethodPatch, "/v1/destinations/bank", `{"tls":{"ca":"env:SECRET_CA"}}`)); text(a.json, "tls") != `map[ca:env:SECRET_CA]` {
		t.Error(text(a.json, "tls"))
	}
	n.refused("destination_invalid", n.send(http.MethodPatch, "/v1/destinations/bank", `{"tls":{"certificate":"env:SECRET_CERT"}}`))
	a := n.refused("invalid_request", n.post("/v1/tasks", `{"destination":"bank","http_request":{"method":"POST","url":"/x","headers":{"x-cloudtasks-taskname":"mine"}}}`))
	if text(a.json, "param") != "/http_request/headers" {
		t.Error(a)
	}
}
