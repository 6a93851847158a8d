package mockapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
)

// waitMax bounds every wait of these tests; none comes near it unless something is broken.
const waitMax = 20 * time.Second

// bench is a started API and a plain client for it.
type bench struct {
	*mockapi.Server
	t   testing.TB
	ctx context.Context // of its requests
}

func open(t testing.TB, cfg mockapi.Config) *bench {
	t.Helper()
	s, err := mockapi.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &bench{s, t, t.Context()}
}

// got is an answer, read whole.
type got struct {
	status int
	header http.Header
	body   string
}

func (g got) into(t testing.TB, noun any) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), noun); err != nil {
		t.Fatalf("%v in %s", err, g.body)
	}
}

// code is the code of a refusal.
func (g got) code(t testing.TB) string {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	g.into(t, &body)
	return body.Error.Code
}

// effect is the number of the effect in an answer.
func (g got) effect(t testing.TB) int64 {
	t.Helper()
	var body struct{ Effect int64 }
	g.into(t, &body)
	return body.Effect
}

// try makes one request as a plain client would: it repeats nothing.
func (b *bench) try(method, path, body string, header ...string) (got, error) {
	r, err := http.NewRequestWithContext(b.ctx, method, b.URL()+path, strings.NewReader(body))
	if err != nil {
		return got{}, err
	}
	r.GetBody = nil
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Timeout: waitMax, Transport: &http.Transport{DisableKeepAlives: true}}
	w, err := client.Do(r)
	if err != nil {
		return got{}, err
	}
	defer func() { _ = w.Body.Close() }()
	read, err := io.ReadAll(w.Body)
	return got{w.StatusCode, w.Header, string(read)}, err
}

// do is try where an answer is expected.
func (b *bench) do(method, path, body string, header ...string) got {
	b.t.Helper()
	g, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return g
}

// broken is try where no answer may come.
func (b *bench) broken(method, path string, header ...string) {
	b.t.Helper()
	if g, err := b.try(method, path, "", header...); err == nil {
		b.t.Fatalf("%s %s was answered: %d %s", method, path, g.status, g.body)
	}
}

// post sends an order under an idempotency key.
func (b *bench) post(key string) got {
	b.t.Helper()
	return b.do("POST", "/orders", `{"of":"`+key+`"}`, "Idempotency-Key", key)
}

// last is the newest arrival, once it has ended.
func (b *bench) last() mockapi.Arrival {
	b.t.Helper()
	var out mockapi.Arrival
	b.eventually("the last request's end", func() bool {
		page := b.Record(0, 1_000_000, mockapi.Filter{})
		if len(page.Arrivals) == 0 {
			return false
		}
		out = page.Arrivals[len(page.Arrivals)-1]
		return out.EndNanoseconds > 0
	})
	return out
}

// eventually polls until the condition holds.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	over := time.NewTimer(waitMax)
	defer over.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-over.C:
			b.t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}
