package destinations

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/seriestest"
)

// answer is what some request came to.
func answer(class Class, status int, change ...func(*Response)) Response {
	r := Response{Class: class, Status: status, ErrorCode: errorCode(class, status, ""), Sent: egress.SentYes}
	if status == 0 {
		r.Sent = egress.SentMaybe
	}
	if class != ClassSucceeded {
		r.Error = fmt.Sprint(status)
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func after(d time.Duration) func(*Response) { return func(r *Response) { r.RetryAfter = d } }

// closed wants a gate that is closed for the reason, on each node.
func (h *house) closed(reason HoldReason, entries ...*Entry) {
	h.Helper()
	for i, e := range entries {
		if hold, held := e.Gate(""); !held || hold.Reason != reason {
			h.Fatalf("node %d: %+v, %v, want %s", i+1, hold, held, reason)
		}
	}
}

func (h *house) open(entries ...*Entry) {
	h.Helper()
	for i, e := range entries {
		if hold, held := e.Gate(""); held {
			h.Fatalf("node %d: %+v", i+1, hold)
		}
	}
}

// pair is two nodes that use the destination api.
func (h *house) pair() (first, second *Destinations, one, two *Entry) {
	h.Helper()
	first, second = h.Destinations, h.node()
	return first, second, h.entry(first, "api"), h.entry(second, "api")
}

func TestWhatOneNodeIsToldAllObey(t *testing.T) {
	h := newHouse(t)
	made := h.create("api", func(s *Settings) { s.RateLimits = []RateLimit{{Name: "second", Limit: 10, PeriodSeconds: 1}} })
	first, second, one, two := h.pair()
	h.open(one, two)
	one.Learn(one.Begin(""), answer(ClassRateLimited, 429, after(time.Minute)))
	h.closed(HeldByRetryAfter, one) // at once
	h.open(two)
	h.refresh(first, second)
	h.closed(HeldByRetryAfter, one, two)
	state := h.read("api").State
	if left := time.Until(state.LimitedUntil); left < 50*time.Second || left > time.Minute || state.Learned.Permille != 700 {
		t.Fatalf("%+v, %s", state, left)
	}
	// A shorter time changes nothing, a longer one extends.
	two.Learn(two.Begin(""), answer(ClassRateLimited, 429, after(time.Second)))
	h.refresh(second)
	if got := h.read("api").State; !got.LimitedUntil.Equal(state.LimitedUntil) {
		t.Fatalf("%+v", got)
	}
	two.Learn(two.Begin(""), answer(ClassSucceeded, 200, func(r *Response) {
		r.Advice = Advice{Exhausted: true, Reset: time.Hour, Quotas: []Quota{{5, time.Second}}}
	}))
	h.refresh(second, first)
	if hold, _ := one.Gate(""); time.Until(hold.Until) < 59*time.Minute {
		t.Fatalf("%+v", hold)
	}
	if got := h.read("api").State.Learned; got.Share(time.Now()) != 500 || got.Permille != 700 || got.Ceiling != 500 || one.Limits("")[0].Windows[0].Limit != 5 {
		t.Fatalf("%+v, %+v", got, one.Limits(""))
	}
	h.resume(false)
	h.refresh(first, second)
	h.closed(HeldByRetryAfter, one, two)
	h.resume(true)
	h.refresh(first, second)
	h.open(one, two)
	if got := h.told(made.ID); !slices.Equal(got, []string{"destination.paused retry_after", "destination.resumed retry_after"}) {
		t.Fatal(got)
	}
}

func TestABreakerCountsTheRequestsOfAllNodes(t *testing.T) {
	h := newHouse(t)
	made := h.create("api")
	first, second, one, two := h.pair()
	stale := two.Begin("")
	for range 3 {
		one.Learn(one.Begin(""), answer(ClassRetry, 500))
		two.Learn(two.Begin(""), answer(ClassUnknown, 0))
		one.Learn(one.Begin(""), answer(ClassDeadLetter, 404)) // counts for nothing
	}
	two.Learn(two.Begin(""), answer(ClassSucceeded, 200))
	h.refresh(first, second)
	if b := h.read("api").State.Breaker; b.Requests != 7 || b.Failures != 6 || b.Position != BreakerClosed {
		t.Fatalf("%+v", b)
	}
	for range 3 {
		one.Learn(one.Begin(""), answer(ClassRetry, 503))
	}
	h.refresh(first, second)
	h.closed(HeldByBreaker, one, two)
	hold, _ := two.Gate("")
	if left := time.Until(hold.Until); left < 20*time.Second || left > 30*time.Second || hold.Detail != "503" {
		t.Fatalf("%+v", hold)
	}
	// Half open: what was under way counts for nothing, probes do, and each lets one more through.
	h.exec(`update destination_state set breaker_open_until = now(), revision = revision + 1`)
	h.refresh(first, second)
	h.open(one, two)
	two.Learn(stale, answer(ClassRetry, 500))
	h.refresh(second, first)
	h.open(one, two)
	for probes := int64(1); probes <= 5; probes++ {
		if windows := one.Limits("")[0].Windows; windows[0].Limit != probes {
			t.Fatalf("%+v", windows)
		}
		one.Learn(one.Begin(""), answer(ClassSucceeded, 200))
		h.refresh(first, second)
	}
	if got := h.read("api").State.Breaker; got.Position != BreakerClosed || one.Limits("") != nil || two.Limits("") != nil {
		t.Fatalf("%+v", got)
	}
	for range 10 {
		two.Learn(two.Begin(""), answer(ClassRetry, 500))
	}
	h.refresh(second, first)
	h.closed(HeldByBreaker, one, two)
	h.resume(false)
	h.refresh(first, second)
	h.open(one, two)
	want := []string{"destination.paused breaker", "destination.resumed breaker", "destination.paused breaker", "destination.resumed breaker"}
	if got := h.told(made.ID); !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

func (h *house) exec(sql string) {
	h.Helper()
	if _, err := h.db.Pool().Exec(h.Context(), sql); err != nil {
		h.Fatal(err)
	}
}

func TestRefusedCredentialsHoldUntilTheyAreOthers(t *testing.T) {
	h := newHouse(t)
	path := filepath.Join(h.dir, "key")
	secret := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret("old")
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if !strings.HasSuffix(r.Header.Get("Authorization"), "new one") {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	made := h.create("api", func(d *Settings) {
		d.BaseURL, d.AllowPrivateNetworks, d.Auth = s.URL, true, Auth{Type: AuthBearer, Token: Secret("file:" + path)}
	})
	first, second, one, two := h.pair()
	send := func(node *Destinations, e *Entry) Response {
		t.Helper()
		ticket := e.Begin("")
		r := node.Send(t.Context(), e.Target(), Request{Method: http.MethodGet, URL: "/"})
		e.Learn(ticket, r)
		return r
	}
	if r := send(first, one); r.Class != ClassHold {
		t.Fatalf("%+v", r)
	}
	h.closed(HeldByAuth, one)
	h.refresh(first, second)
	h.refresh(first, second)
	h.closed(HeldByAuth, one, two)
	secret("new one")
	h.refresh(second, first)
	h.open(one, two)
	if r := send(second, two); r.Class != ClassSucceeded || asked.Load() != 2 {
		t.Fatalf("%+v", r)
	}
	// So does a change of the destination.
	secret("old")
	send(second, two)
	late := one.Begin("")
	h.refresh(second, first)
	h.closed(HeldByAuth, one, two)
	none := Auth{Type: AuthNone}
	if _, err := h.update(Update{Name: "api", Auth: &none}); err != nil {
		t.Fatal(err)
	}
	h.refresh(first, second)
	h.open(one, two)
	one.Learn(late, answer(ClassHold, 401)) // of the credentials before
	h.refresh(first)
	h.open(one)
	want := []string{"destination.paused auth", "destination.resumed auth", "destination.paused auth", "destination.resumed auth"}
	if got := h.told(made.ID); !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

func TestChangesAreSeenWithinASecondAndNothingIsAskedWhenNothingIsUsed(t *testing.T) {
	h := newHouse(t)
	h.create("api")
	node := h.node()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	entry := h.entry(node, "api")
	if _, err := h.pause(time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for held := false; !held; _, held = entry.Gate("") {
		<-tick.C
	}
	if took := time.Since(began); took > 5*time.Second { // a second, and what a busy machine adds
		t.Errorf("seen after %s", took)
	}
	entry.Learn(entry.Begin(""), answer(ClassSucceeded, 200))
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if b := h.read("api").State.Breaker; b.Requests != 1 {
		t.Fatalf("what was learned last is lost: %+v", b)
	}
	if got := seriestest.Values(t, newStates(node))["kontor_destination_held api operator"]; got != 1 {
		t.Error("the hold is not shown")
	}
	idle := h.node()
	idle.DB = nil // would be asked
	if err := idle.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeRecordedIsKept(t *testing.T) {
	h := newHouse(t)
	h.create("api")
	entry := h.entry(h.Destinations, "api")
	entry.Learn(entry.Begin(""), answer(ClassRetry, 500))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Destinations.refresh(gone); err == nil {
		t.Fatal("recorded without a database")
	}
	entry.Learn(entry.Begin(""), answer(ClassSucceeded, 200))
	entry.Learn(entry.Begin(""), answer(ClassRateLimited, 429, after(time.Hour)))
	h.refresh(h.Destinations)
	s := h.read("api").State
	if s.Breaker.Requests != 2 || s.Breaker.Failures != 1 || time.Until(s.LimitedUntil) < 59*time.Minute || s.Learned.Permille != 700 {
		t.Fatalf("%+v", s)
	}
}

func TestTheClockIsTheDatabases(t *testing.T) {
	h := newHouse(t)
	h.create("api")
	node := h.node()
	node.registry.clock.set(time.Now().Add(-time.Hour)) // a node whose clock is slow
	entry := h.entry(node, "api")
	h.refresh(node)
	if lag := time.Until(node.Now()); lag < -10*time.Second || lag > time.Second {
		t.Fatalf("%s apart", lag)
	}
	h.open(entry)
}

func TestManyDestinationsAreRefreshedAtOnce(t *testing.T) {
	h := newHouse(t)
	var refs []Ref
	for n := range 200 {
		name := fmt.Sprint("api-", n)
		h.create(name)
		refs = append(refs, Ref{h.org, name})
	}
	entries, err := h.Use(t.Context(), append(refs, Ref{h.org, "absent"}))
	if err != nil || len(entries) != 201 || entries[200] != nil {
		t.Fatal(len(entries), err)
	}
	for _, e := range entries[:200] {
		e.Learn(e.Begin(""), answer(ClassRateLimited, 429, after(time.Hour)))
	}
	h.refresh(h.Destinations)
	h.closed(HeldByRetryAfter, entries[:200]...)
	other := h.node()
	elsewhere, err := other.Use(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	h.closed(HeldByRetryAfter, elsewhere...)
}

// Nodes that learn about the same destinations at the same time wait for each other, and lose nothing.
func TestNodesThatRecordAtOnceLoseNothing(t *testing.T) {
	h := newHouse(t)
	const destinations, nodes, rounds = 7, 4, 15
	var refs []Ref
	for n := range destinations {
		name := fmt.Sprint("api-", n)
		h.create(name, func(s *Settings) { s.CircuitBreaker = CircuitBreaker{FailureThreshold: 1} })
		refs = append(refs, Ref{h.org, name})
	}
	var all sync.WaitGroup
	for range nodes {
		all.Go(func() {
			node := h.node()
			entries, err := node.Use(t.Context(), refs)
			if err != nil {
				t.Error(err)
				return
			}
			for range rounds {
				for _, e := range entries {
					e.Learn(e.Begin(""), answer(ClassSucceeded, 200))
					e.Learn(e.Begin(""), answer(ClassRetry, 500))
				}
				if err := node.refresh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, ref := range refs {
		if b := h.read(ref.Name).State.Breaker; b.Requests != 2*nodes*rounds || b.Failures != nodes*rounds {
			t.Errorf("%s: %+v", ref.Name, b)
		}
	}
}
