package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontorhq/kontor/client"
)

// The settings that nodes are started with, where they differ from the defaults: a killed node's tasks are taken over soon, and
// a provider that hangs is not waited for.
const (
	taskLeaseSeconds       = 4
	providerTimeoutSeconds = 1
	paymentWaitSeconds     = 3
	nodeStopSeconds        = 15
)

// cluster is the nodes. Safe for concurrent use.
type cluster struct {
	*simulation
	key     string
	environ []string
	http    *http.Client // to the nodes
	nodes   []*node
	kills   atomic.Int64
	ending  atomic.Bool
	watches sync.WaitGroup

	mu sync.Mutex
	up chan struct{} // closed when a node comes up, and replaced
}

// node is one `kontor serve`, over all of its lives.
type node struct {
	name string
	log  string

	life sync.Mutex // held while it is being started or ended

	mu      sync.Mutex
	process *process
	api     client.ClientInterface // nil while it is not up
	url     string
}

func newCluster(s *simulation, key string) *cluster {
	c := &cluster{simulation: s, key: key, up: make(chan struct{}), http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 2 * s.Concurrency, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}}
	for _, pair := range s.Environ {
		if !strings.HasPrefix(pair, "KONTOR_") && !strings.HasPrefix(pair, "OTEL_") {
			c.environ = append(c.environ, pair)
		}
	}
	for _, pair := range [][2]string{
		{"DATABASE_URL", s.url},
		{"DATABASE_CONNECTIONS_MAX", strconv.Itoa(min(16, max(4, connectionsOf/s.Nodes)))},
		{"SANDBOX_URL", s.witness.url},
		{"SANDBOX_WEBHOOK_SECRET", s.witness.secret},
		{"PROVIDER_TIMEOUT_SECONDS", strconv.Itoa(providerTimeoutSeconds)},
		{"TASK_LEASE_SECONDS", strconv.Itoa(taskLeaseSeconds)},
		{"PAYMENT_WAIT_SECONDS", strconv.Itoa(paymentWaitSeconds)},
		{"SHUTDOWN_TIMEOUT_SECONDS", strconv.Itoa(nodeStopSeconds)},
		{"LOG_LEVEL", "warn"},
	} {
		c.environ = append(c.environ, "KONTOR_"+pair[0]+"="+pair[1])
	}
	for i := range s.Nodes {
		name := fmt.Sprintf("node-%d", i+1)
		c.nodes = append(c.nodes, &node{name: name, log: filepath.Join(s.dir, name+".log")})
	}
	return c
}

// start brings all nodes up.
func (c *cluster) start(ctx context.Context) error {
	errs := make([]error, len(c.nodes))
	var starting sync.WaitGroup
	for i, n := range c.nodes {
		starting.Go(func() {
			n.life.Lock()
			defer n.life.Unlock()
			errs[i] = c.bringUp(ctx, n)
		})
	}
	starting.Wait()
	return errors.Join(errs...)
}

// bringUp starts a node. One that ends before it is ready is started again, as whoever runs Kontor would do it: its database may be
// away. The caller holds n.life.
func (c *cluster) bringUp(ctx context.Context, n *node) error {
	const attemptsMax, between = 30, 500 * time.Millisecond
	for attempt := 1; ; attempt++ {
		if c.ending.Load() {
			return nil // end waits for n.life and will find nothing to end
		}
		err := c.bringUpOnce(ctx, n)
		if err == nil || !errors.Is(err, errEndedEarly) || attempt == attemptsMax || !pause(ctx, between) {
			return err
		}
		c.journal.note("%s: %s", n.name, err)
	}
}

func (c *cluster) bringUpOnce(ctx context.Context, n *node) error {
	addresses, err := freeAddresses(ctx, 2, rand.IntN)
	if err != nil {
		return err
	}
	environ := append(append([]string(nil), c.environ...), "KONTOR_LISTEN="+addresses[0], "KONTOR_ADMIN_LISTEN="+addresses[1],
		fmt.Sprintf("KONTOR_NODE=%s-%x", n.name, rand.Uint32()))
	p, err := launch(c.Executable, environ, n.log)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, c.http, "http://"+addresses[1]); err != nil {
		p.kill()
		return fmt.Errorf("start %s: %w; the end of its log: %s", n.name, err, lastLines(n.log))
	}
	url := "http://" + addresses[0]
	api, err := client.New(url, c.key, client.WithDoer(c.http))
	if err != nil {
		p.kill()
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.mu.Lock()
	n.process, n.api, n.url = p, api.ClientInterface, url
	n.mu.Unlock()
	c.journal.note("%s is up at %s, process %d", n.name, url, p.os.Pid)
	c.watches.Go(func() { c.watch(ctx, n, p) })
	c.mu.Lock()
	close(c.up)
	c.up = make(chan struct{})
	c.mu.Unlock()
	return nil
}

// watch notices a node that ends though nobody ended it, and starts it again.
func (c *cluster) watch(ctx context.Context, n *node, p *process) {
	<-p.exited
	if n.down(p) == nil || c.ending.Load() || ctx.Err() != nil {
		return // ended on purpose: whoever did that had taken it down before
	}
	c.findings.add("%s ended by itself: %v; its log is %s", n.name, p.status, n.log)
	c.journal.note("%s ended by itself: %v", n.name, p.status)
	n.life.Lock()
	defer n.life.Unlock()
	if err := c.bringUp(ctx, n); err != nil {
		c.fail(err)
	}
}

// down takes a node out of service and gives the process it was; nil when that was done before. With a process, only that one.
func (n *node) down(only *process) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.process
	if only != nil && p != only {
		return nil
	}
	n.process, n.api, n.url = nil, nil, ""
	return p
}

// killOne ends a random node with SIGKILL and starts it again.
func (c *cluster) killOne(ctx context.Context, n *node) error {
	n.life.Lock()
	defer n.life.Unlock()
	p := n.down(nil)
	if p == nil {
		return nil // it ended by itself a moment ago
	}
	p.kill()
	c.kills.Add(1)
	c.journal.note("%s was killed", n.name)
	return c.bringUp(ctx, n)
}

// haunt kills random nodes until it is told to stop. A node that is being started by then is started all the same.
func (c *cluster) haunt(ctx context.Context, stop <-chan struct{}) {
	if c.KillEvery == 0 {
		return
	}
	r := rand.New(rand.NewPCG(uint64(c.Seed), 0xdead))
	for {
		wait := c.KillEvery*2/3 + time.Duration(r.Int64N(int64(c.KillEvery)*2/3))
		victim := c.nodes[r.IntN(len(c.nodes))]
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if err := c.killOne(ctx, victim); err != nil {
			c.fail(err)
			return
		}
	}
}

// errDown says that a node is not up at the moment.
var errDown = errors.New("the node is down")

// client speaks to the node as it lives now.
func (n *node) client() (client.ClientInterface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.api == nil {
		return nil, errDown
	}
	return n.api, nil
}

func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.url
}

// pick gives up to count different nodes that are up, in random order, and waits for one when there is none.
func (c *cluster) pick(ctx context.Context, r *rand.Rand, count int) ([]*node, error) {
	for ctx.Err() == nil { // also when some are up: who asks again and again must come to an end
		c.mu.Lock()
		someoneCameUp := c.up
		c.mu.Unlock()
		var found []*node
		for _, i := range r.Perm(len(c.nodes)) {
			if n := c.nodes[i]; n.address() != "" && len(found) < count {
				found = append(found, n)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-someoneCameUp:
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// stop asks all nodes to end. One that does not end well is a finding.
func (c *cluster) stop() {
	c.end(func(n *node, p *process) {
		if err := p.stop((nodeStopSeconds + 5) * time.Second); err != nil {
			c.findings.add("%s was asked to stop and did not end well: %s; its log is %s", n.name, err, n.log)
		}
	})
}

// kill ends all nodes at once.
func (c *cluster) kill() {
	c.end(func(_ *node, p *process) { p.kill() })
}

func (c *cluster) end(how func(*node, *process)) {
	c.ending.Store(true)
	var ending sync.WaitGroup
	for _, n := range c.nodes {
		ending.Go(func() {
			n.life.Lock()
			defer n.life.Unlock()
			if p := n.down(nil); p != nil {
				how(n, p)
			}
		})
	}
	ending.Wait()
	c.watches.Wait()
	c.http.CloseIdleConnections()
}
