package api

import (
	"net/http"
	"testing"
)

// Who cancels the task of a payment would leave its money held for ever, and its caller waiting.
func TestNobodyCancelsTheWorkOfAPayment(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	made := n.must(http.StatusAccepted, n.post("/v1/payments", payment("tok_slow", ""), "Prefer", "respond-async"))
	list := n.must(http.StatusOK, n.get("/v1/tasks?kind=payments.attempt"))
	task := text(list.json, "data.0.id")
	n.refused("task_not_cancellable", n.post("/v1/tasks/"+task+"/cancel", ""))
	n.until("/v1/payments/"+text(made.json, "id"), func(a answer) bool { return text(a.json, "status") != "processing" })
}
