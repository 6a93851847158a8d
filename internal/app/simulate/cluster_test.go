package simulate

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/kontorhq/kontor/client"
)

// A client whose time is up finds no node, however many are up: else it would ask them for ever.
func TestWhoseTimeIsUpFindsNoNode(t *testing.T) {
	t.Parallel()
	api, err := client.New("http://127.0.0.1:1", "key")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{nodes: []*node{{name: "node-1", api: api, url: "http://127.0.0.1:1"}}, up: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	r := rand.New(rand.NewPCG(1, 1))
	if found, err := c.pick(ctx, r, 1); err != nil || len(found) != 1 {
		t.Fatalf("%d nodes, %v", len(found), err)
	}
	cancel()
	if found, err := c.pick(ctx, r, 1); !errors.Is(err, context.Canceled) || found != nil {
		t.Errorf("%d nodes, %v", len(found), err)
	}
}
