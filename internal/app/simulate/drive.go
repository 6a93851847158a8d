package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontorhq/kontor/client"
	"github.com/kontorhq/kontor/internal/kit/clock"
)

// driver has the clients ask for their payments.
type driver struct {
	*simulation
	next     atomic.Int64
	finished atomic.Int64 // scripts
	halfway  chan struct{}
	ebbing   chan struct{} // closed when most scripts are finished: what is killed then only makes the last ones wait
}

// counts are what the clients met with.
type counts struct {
	sent        atomic.Int64 // requests
	lost        atomic.Int64 // answers that did not come, or not in time
	unavailable atomic.Int64 // answers that ask for a repeat: 5xx
	internal    atomic.Int64 // those of them that explain nothing: 500
	repeats     atomic.Int64 // requests sent again, under the same key
	duplicates  atomic.Int64 // copies of a request sent at the same instant
	reused      atomic.Int64 // keys used for another request, and refused
	nonsense    atomic.Int64 // requests that had to be refused, and were
	polls       atomic.Int64
	crashes     atomic.Int64 // of the database
}

// outcome is what a client ends up believing.
type outcome struct {
	script    script
	key       string                    // of the payment
	payment   string                    // its id, from the first answer that told
	asked     map[string]client.Payment // final answers by key, of what succeeded
	refused   map[string]struct{}       // keys that Kontor refused, so nothing may have been done for them
	now       stand                     // what the payment must be
	last      *client.Payment           // the last final answer
	abandoned bool                      // the client gave up: what it believes is not final
}

// times are how long clients waited for final answers. Safe for concurrent use.
type times struct {
	mu    sync.Mutex
	taken []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken = append(t.taken, d)
}

// percentile gives the time within which so many of a hundred got their answer.
func (t *times) percentile(p int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.taken) == 0 {
		return 0
	}
	slices.Sort(t.taken)
	return t.taken[min(len(t.taken)*p/100, len(t.taken)-1)]
}

// drive has all payments asked for while nodes are killed, and returns when the last client is content or has given up.
func (s *simulation) drive(ctx context.Context) {
	d := &driver{simulation: s, halfway: make(chan struct{}), ebbing: make(chan struct{})}
	s.Progress.Begin("taking payments", int64(s.Payments))
	began := clock.System()
	stop := make(chan struct{})
	var chaos, clients sync.WaitGroup
	chaos.Go(func() { s.cluster.haunt(ctx, d.ebbing) })
	chaos.Go(func() { d.crashDatabase(ctx, stop) })
	chaos.Go(func() { d.tell(ctx, stop) })
	for range min(s.Concurrency, s.Payments) {
		clients.Go(func() { d.work(ctx) })
	}
	clients.Wait()
	s.report.drove = clock.System().Sub(began)
	close(stop)
	chaos.Wait()
}

// work plays one script after the other.
func (d *driver) work(ctx context.Context) {
	for ctx.Err() == nil {
		number := int(d.next.Add(1)) - 1
		if number >= d.Payments {
			return
		}
		d.play(ctx, number)
		d.Progress.Add(1)
		finished := int(d.finished.Add(1))
		if finished == (d.Payments+1)/2 {
			close(d.halfway)
		}
		if finished == d.Payments-d.Payments/10 {
			close(d.ebbing)
		}
	}
}

// crashDatabase crashes PostgreSQL once half of the payments are made.
func (d *driver) crashDatabase(ctx context.Context, stop <-chan struct{}) {
	if !d.KillDatabase {
		return
	}
	select {
	case <-d.halfway:
	case <-stop:
		return
	case <-ctx.Done():
		return
	}
	d.journal.note("PostgreSQL is crashed")
	if err := d.postgres.Restart(ctx); err != nil {
		d.fail(err)
		return
	}
	d.journal.note("PostgreSQL is back")
	d.counts.crashes.Add(1)
}

// tell puts the latest figures behind the bar.
func (d *driver) tell(ctx context.Context, stop <-chan struct{}) {
	const every = 200 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.Progress.Note("%d kills, %d faults, %d answers lost, %d repeats, %d found wrong", d.cluster.kills.Load(),
				faultsInjected(d.witness.summary()), d.counts.lost.Load(), d.counts.repeats.Load(), len(d.findings.all()))
		}
	}
}

// talk is one client and its payment.
type talk struct {
	*driver
	r   *rand.Rand
	out *outcome
	mu  *sync.Mutex // guards out where two requests meet
}

// behaviour is the seed of what clients do by chance, kept apart from what they want.
const behaviour = 1 << 40

func (d *driver) play(ctx context.Context, number int) {
	sc := draw(d.Seed, number)
	out := &d.outcomes[number]
	*out = outcome{
		script: sc, key: fmt.Sprintf("order-%d", number), now: sc.opening(),
		asked: map[string]client.Payment{}, refused: map[string]struct{}{},
	}
	t := &talk{driver: d, r: rand.New(rand.NewPCG(uint64(d.Seed), uint64(number)|behaviour)), out: out, mu: &sync.Mutex{}}
	err := t.all(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	out.abandoned = true
	d.findings.add("%s: %s", out.key, err)
	d.journal.note("%s: %s", out.key, err)
}

// all is the whole script. An error is something that must not be.
func (t *talk) all(ctx context.Context) error {
	if t.r.IntN(100) < 8 {
		if err := t.nonsense(ctx); err != nil {
			return err
		}
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	for i, st := range t.out.script.steps {
		if err := t.step(ctx, i, st); err != nil {
			return err
		}
	}
	return nil
}

// open asks for the payment.
func (t *talk) open(ctx context.Context) error {
	sc := &t.out.script
	send := sc.creation()
	a, err := t.insist(ctx, t.out.key, send)
	if err != nil {
		return err
	}
	if a.status != 201 {
		return fmt.Errorf("a payment was asked for, and the answer is %s", a)
	}
	if got := standOf(a.payment); got != t.out.now {
		return fmt.Errorf("%s was asked for, and %s is told of: %s must be %+v and is %+v", sc.token.name, a.payment.Status, a.payment.ID, t.out.now, got)
	}
	if code := valueOf(a.payment.FailureCode); code != sc.token.failure {
		return fmt.Errorf("%s was declined with %q, and ought to be with %q", a.payment.ID, code, sc.token.failure)
	}
	t.believe(t.out.key, a.payment)
	if t.r.IntN(100) < 4 {
		return t.reuse(ctx)
	}
	return nil
}

// step asks for one move, or for two at once.
func (t *talk) step(ctx context.Context, number int, st step) error {
	if len(st.moves) == 1 {
		m := st.moves[0]
		a, err := t.move(ctx, fmt.Sprintf("%s-%d", t.out.key, number), m)
		if err != nil || m.refusal != "" {
			return err
		}
		t.out.now = t.out.now.after(m)
		return t.compare(a.payment)
	}
	errs := make([]error, len(st.moves))
	answers := make([]*answer, len(st.moves))
	var both sync.WaitGroup
	for i, m := range st.moves {
		other := *t
		other.r = rand.New(rand.NewPCG(t.r.Uint64(), t.r.Uint64()))
		t.out.now = t.out.now.after(m)
		both.Go(func() { answers[i], errs[i] = other.move(ctx, fmt.Sprintf("%s-%d-%d", t.out.key, number, i), m) })
	}
	both.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	later := answers[0].payment
	if p := answers[1].payment; p.AmountRefunded > later.AmountRefunded {
		later = p
	}
	t.out.last = later
	return t.compare(later)
}

// move asks for one move and checks the answer but for the amounts.
func (t *talk) move(ctx context.Context, key string, m move) (*answer, error) {
	a, err := t.insist(ctx, key, m.change(t.out.payment))
	if err != nil {
		return nil, err
	}
	want := 200
	if m.kind == client.PaymentAttemptKindRefund {
		want = 201
	}
	if m.refusal != "" {
		want = 409
	}
	switch {
	case a.status != want || a.code() != m.refusal:
		return nil, fmt.Errorf("%s of %d of %s must be answered %d %s, and is %s", m.kind, m.amount, t.out.payment, want, m.refusal, a)
	case m.refusal != "":
		t.mu.Lock()
		defer t.mu.Unlock()
		t.out.refused[key] = struct{}{}
		return a, nil
	case a.payment.ID != t.out.payment:
		return nil, fmt.Errorf("%s of %s is answered with %s", m.kind, t.out.payment, a.payment.ID)
	}
	latest := a.payment.LatestAttempt
	if latest.Kind != m.kind || latest.State != client.PaymentAttemptStateSucceeded || m.amount != 0 && latest.Amount != m.amount {
		return nil, fmt.Errorf("%s of %d of %s was asked for, and %s of %d that %s is told of",
			m.kind, m.amount, t.out.payment, latest.Kind, latest.Amount, latest.State)
	}
	t.believe(key, a.payment)
	return a, nil
}

// believe keeps a final answer.
func (t *talk) believe(key string, p *client.Payment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.asked[key], t.out.last = *p, p
}

func (t *talk) compare(p *client.Payment) error {
	if got := standOf(p); got != t.out.now {
		return fmt.Errorf("after what was asked for, %s must be %+v and is %+v", p.ID, t.out.now, got)
	}
	return nil
}

func valueOf[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
