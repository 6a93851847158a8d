package mockapi_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
)

// TestAnyMethodAndPath: what has an effect, and what the answer and the record say.
func TestAnyMethodAndPath(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	for _, c := range []struct {
		method string
		effect bool
	}{{"GET", false}, {"POST", true}, {"PUT", true}, {"PATCH", true}, {"DELETE", true}, {"OPTIONS", false}, {"PROPFIND", true}} {
		g := b.do(c.method, "/a%20b/c?x=1", "body", "X-Kontor-TaskName", "tsk_1", "X-Kontor-TaskRetryCount", "2")
		if g.status != http.StatusOK || (g.effect(t) > 0) != c.effect || !strings.Contains(g.body, `"path":"/a b/c","query":{"x":["1"]}`) {
			t.Errorf("%s: %d %s", c.method, g.status, g.body)
		}
		a := b.last()
		if a.Method != c.method || a.Path != "/a b/c" || a.Task != "tsk_1" || a.RetryCount != "2" || a.BodyBytes != 4 || a.BodySHA256 != sha256.Sum256([]byte("body")) ||
			a.Status != 200 || a.EndNanoseconds < a.AtNanoseconds || time.Since(a.At).Abs() > time.Minute {
			t.Errorf("%+v", a)
		}
	}
	if g := b.do("HEAD", "/", ""); g.status != http.StatusOK || g.body != "" {
		t.Errorf("HEAD: %d %s", g.status, g.body)
	}
	if s := b.Summary(); s.Keys != 0 || s.Effects != 5 || s.DuplicateEffects != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOneEffectForAnIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() { b.post("k") })
	}
	clients.Wait()
	if g := b.post("k"); g.effect(t) != 1 || g.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s %v", g.body, g.header)
	}
	if g := b.do("POST", "/orders", "another body", "Idempotency-Key", "k"); g.status != http.StatusUnprocessableEntity || g.code(t) != "idempotency_key_reused" {
		t.Errorf("%d %s", g.status, g.body)
	}
	if s := b.Summary(); s.Effects != 1 || s.Replayed != 20 || s.KeysReused != 1 || s.Keys != 1 || s.ArrivalsByKeyMax != 22 || s.DuplicateEffects != 0 {
		t.Errorf("%+v", s)
	}
	var found mockapi.KeyRecord
	b.do("GET", "/records/k", "").into(t, &found)
	if found.IdempotencyKey != "k" || found.Arrivals != 22 || len(found.Effects) != 1 {
		t.Errorf("%+v", found)
	}
	if g := b.do("GET", "/records/other", ""); g.status != http.StatusNotFound || g.code(t) != "record_not_found" {
		t.Errorf("%d %s", g.status, g.body)
	}
}

// TestARequestSaysItselfWhatBecomesOfIt, by path and by header.
func TestARequestSaysItselfWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path   string
		header []string
		status int // 0: the connection breaks
		effect bool
		retry  string
	}{
		{path: "/status/503/orders", status: 503},
		{path: "/status/201/orders", status: 201, effect: true},
		{path: "/status/204/orders", status: 204, effect: true},
		{path: "/status/429/retry-after/7/orders", status: 429, retry: "7"},
		{path: "/status/500/effect/once/orders", status: 500, effect: true},
		{path: "/effect/once/status/500/orders", status: 500, effect: true},
		{path: "/effect/none/orders", status: 200},
		{path: "/drop/before/orders"},
		{path: "/drop/after/orders", effect: true},
		{path: "/hang/before/orders"},
		{path: "/hang/after/orders", effect: true},
		{path: "/delay/10ms/orders", status: 200, effect: true},
		{path: "/late/10ms/orders", status: 200, effect: true},
		{path: "/status/503", status: 503},
		{path: "/orders", header: []string{"X-Mock-Status", "502"}, status: 502},
		{path: "/orders", header: []string{"X-Mock-Drop", "after"}, effect: true},
		{path: "/orders", header: []string{"X-Mock-Status", "429", "X-Mock-Retry-After", "3s"}, status: 429, retry: "3"},
	} {
		t.Run(c.path+strings.Join(c.header, " "), func(t *testing.T) {
			t.Parallel()
			b := open(t, mockapi.Config{Faults: faults(t, "error_500=100%,hang_for=10ms")})
			header := append([]string{"Idempotency-Key", "k"}, c.header...)
			if c.status == 0 {
				b.broken("POST", c.path, header...)
			} else if g := b.do("POST", c.path, "", header...); g.status != c.status || g.header.Get("Retry-After") != c.retry {
				t.Errorf("%d %s %v", g.status, g.body, g.header)
			}
			if a := b.last(); (a.Effect == 1) != c.effect || a.Fault != "asked_for" || a.Verdict != mockapi.Accepted {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestAnOverrideForTheFirstTimes(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	for i, want := range []int{503, 503, 200, 200} {
		for _, key := range []string{"a", "b"} {
			if g := b.do("POST", "/times/2/status/503/orders", "", "Idempotency-Key", key); g.status != want {
				t.Errorf("request %d of %s: %d", i, key, g.status)
			}
		}
		if g := b.do("POST", "/orders", "", "X-Mock-Times", "2", "X-Mock-Status", "503", "X-Kontor-TaskName", "t"); g.status != want {
			t.Errorf("request %d of a task: %d", i, g.status)
		}
	}
	if s := b.Summary(); s.Effects != 4 || s.Replayed != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAWrongOverrideIsTold(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	g := b.do("POST", "/status/5O3/delay/-1s/orders", "", "X-Mock-Drop", "maybe")
	for _, want := range []string{"status", "5O3", "200 to 599", "delay", "drop", "maybe", "before or after"} {
		if !strings.Contains(g.body, want) {
			t.Errorf("no word of %q", want)
		}
	}
	if s := b.Summary(); g.status != http.StatusBadRequest || s.Invalid != 1 || s.Accepted != 0 || s.Effects != 0 {
		t.Errorf("%d %s %+v", g.status, g.body, s)
	}
}

// TestALateEffectIsMadeThoughTheClientHasGone: a look-up before says no, one after says yes.
func TestALateEffectIsMadeThoughTheClientHasGone(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	ctx, leave := context.WithCancel(t.Context())
	impatient := *b
	impatient.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		impatient.broken("POST", "/late/200ms/orders", "Idempotency-Key", "k")
	}()
	b.eventually("the arrival", func() bool { return b.Summary().Arrivals == 1 })
	if _, seen := b.Key("k"); !seen || b.Summary().Effects != 0 {
		t.Error("the effect was made at once")
	}
	leave()
	<-done
	b.eventually("the effect", func() bool { return b.Summary().Effects == 1 })
}

func TestClosingLetsHangingRequestsGo(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.broken("POST", "/hang/before/orders")
	}()
	b.eventually("the arrival", func() bool { return b.Summary().Arrivals == 1 })
	b.Close()
	b.Close()
	<-done
	b.broken("GET", "/")
	if b.Summary().Arrivals != 1 {
		t.Error("the record cannot be read after the end")
	}
}

// TestAResetWhileRequestsAreUnderWay: what ends after it belongs to neither record, but for the room it takes.
func TestAResetWhileRequestsAreUnderWay(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: mockapi.Limits{MaxConcurrent: 2}})
	body, write := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL()+"/status/x/orders", body)
		if w, err := http.DefaultClient.Do(r); err == nil {
			_ = w.Body.Close()
		}
	}()
	b.eventually("the arrival", func() bool { return b.Summary().Arrivals == 1 })
	b.Reset()
	_ = write.Close() // only now the request turns out to be invalid
	<-done
	if s := b.Summary(); s.Arrivals != 0 || s.Invalid != 0 || s.Accepted != 0 {
		t.Errorf("%+v", s)
	}
	b.post("a")
	if s := b.Summary(); s.ConcurrentMax != 1 || s.Arrivals != 1 || s.Effects != 1 {
		t.Errorf("%+v", s)
	}
}
