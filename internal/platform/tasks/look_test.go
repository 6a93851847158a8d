package tasks

import (
	"slices"
	"testing"
)

// Nobody tells the node of what another one queues: its line has to come up beside a backlog that takes every worker there is.
func TestATenantThatComesLateIsNotLeftOut(t *testing.T) {
	b := setup(t)
	api := b.node("api", Config{})
	const backlog = 3000
	noisy := make([]Spec, backlog)
	for i := range noisy {
		noisy[i] = b.named("noisy", func(s *Spec) { s.FairnessKey = "noisy" })
	}
	b.queueOnly(api, noisy...)
	node := b.node("a", Config{Workers: 2})
	var r recorder
	node.Handle("test", Policy{}, r.handle)
	b.run(node)
	b.until("the backlog is worked on", func() bool { return len(r.seen()) > 0 })
	b.queueOnly(api, b.named("quiet", func(s *Spec) { s.FairnessKey = "quiet" }))
	b.until("the quiet one has its turn", func() bool { return slices.Contains(r.seen(), "quiet") })
	if before := slices.Index(r.seen(), "quiet"); before == backlog {
		t.Fatalf("it came after all of the %d", before)
	}
}
