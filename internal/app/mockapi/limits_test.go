package mockapi_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
)

func limits(t testing.TB, texts ...string) mockapi.Limits {
	t.Helper()
	read, err := mockapi.ParseLimits(texts)
	if err != nil {
		t.Fatal(err)
	}
	return mockapi.Limits{Limits: read}
}

func TestParseLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"50/1s": "50/1s", "50/s": "50/1s", "5000/d": "5000/24h", "5000/24h": "5000/24h", " 10 / 250ms ": "10/250ms", "7/90m": "7/1h30m",
		"header:X-Tenant=10/1s": "header:X-Tenant=10/1s", "query:tenant=1/m": "query:tenant=1/1m", "path:2=3/2d": "path:2=3/48h",
	} {
		l, err := mockapi.ParseLimit(text)
		if err != nil || l.String() != want {
			t.Errorf("%q is %q: %v", text, l, err)
		}
		if again, err := mockapi.ParseLimit(l.String()); err != nil || again != l {
			t.Errorf("%q shows as %q: %v", text, l, err)
		}
	}
	for _, text := range []string{"", "50", "x/1s", "0/1s", "-1/1s", "5/", "5/1", "5/0s", "5/1us", "5/400d", "5/xd", "body:x=5/1s", "header:=5/1s", "path:x=5/1s", "99999999/1s"} {
		if l, err := mockapi.ParseLimit(text); err == nil {
			t.Errorf("%q is taken as %v", text, l)
		}
	}
	_, err := mockapi.ParseLimits([]string{"5", "5/1s", "x/1s"})
	if err == nil || strings.Count(err.Error(), "malformed limit") != 2 {
		t.Errorf("not all problems are told: %v", err)
	}
}

func TestCheckTellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := mockapi.New(mockapi.Config{
		Limits: mockapi.Limits{
			Limits: []mockapi.Limit{{Count: 0, Period: time.Second}, {Count: 1e7, Period: 24 * time.Hour}}, Algorithm: "leaky", MaxConcurrent: -1, CrowdedStatus: 500,
		},
		Auth: mockapi.Auth{Kind: mockapi.AuthBasic}, RetryAfterStyle: "soon", ResetStyle: "later", RecordMax: -1,
	})
	for _, want := range []string{"count must be", "leaky", "at once is too few", "not 500", "needs a user", "needs a password", "soon", "later", "no record"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in: %v", want, err)
		}
	}
	huge := limits(t, "10000000/366d")
	huge.Algorithm = mockapi.TokenBucket
	if _, err := mockapi.New(mockapi.Config{Limits: huge}); err == nil {
		t.Error("a token bucket that overflows is taken")
	}
}

func TestOverALimit(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: limits(t, "3/1h", "100/d")})
	for i := range 3 {
		g := b.post(strconv.Itoa(i))
		if g.status != http.StatusOK || g.header.Get("X-RateLimit-Remaining") != strconv.Itoa(2-i) || g.header.Get("Retry-After") != "" {
			t.Fatalf("request %d: %d %v", i, g.status, g.header)
		}
	}
	g := b.post("over")
	wait, _ := strconv.Atoi(g.header.Get("Retry-After"))
	if g.status != http.StatusTooManyRequests || g.code(t) != "rate_limited" || wait < 3590 || wait > 3600 {
		t.Errorf("%d %s %v", g.status, g.body, g.header)
	}
	reset, _ := strconv.ParseInt(g.header.Get("X-RateLimit-Reset"), 10, 64)
	if in := time.Until(time.Unix(reset, 0)); in < 59*time.Minute || in > 61*time.Minute || g.header.Get("X-RateLimit-Limit") != "3" {
		t.Errorf("the tightest limit is not told: %v", g.header)
	}
	if policy, state := g.header.Get("RateLimit-Policy"), g.header.Get("RateLimit"); policy != `"3/1h";q=3;w=3600, "100/24h";q=100;w=86400` ||
		!strings.HasPrefix(state, `"3/1h";r=0;t=`) || !strings.Contains(state, `"100/24h";r=97;t=`) {
		t.Errorf("%s and %s", policy, state)
	}
	s := b.Summary()
	if s.Arrivals != 4 || s.Accepted != 3 || s.Refused != 1 || s.Effects != 3 || s.Limits[0].ArrivalsInWindow != 4 || s.Limits[0].AcceptedInWindow != 3 ||
		s.Limits[0].Possible != 3 || s.Limits[1].AcceptedInWindow != 3 {
		t.Errorf("%+v", s)
	}
	if a := b.last(); a.Verdict != mockapi.Refused || a.Status != http.StatusTooManyRequests || a.Effect != 0 || a.IdempotencyKey != "over" {
		t.Errorf("%+v", a)
	}
}

func TestHowWaitingIsSaid(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: limits(t, "1/1h"), RetryAfterStyle: mockapi.StyleHTTPDate, ResetStyle: mockapi.StyleSeconds})
	b.post("a")
	g := b.post("b")
	at, err := http.ParseTime(g.header.Get("Retry-After"))
	if in := time.Until(at); err != nil || in < 59*time.Minute || in > 61*time.Minute || g.header.Get("X-RateLimit-Reset") != "3600" {
		t.Errorf("%v: %v", err, g.header)
	}
	silent := open(t, mockapi.Config{Limits: limits(t, "1/1h"), OmitLimitHeaders: true})
	silent.post("a")
	if g := silent.post("b"); g.header.Get("Retry-After") == "" || g.header.Get("RateLimit") != "" || g.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("%v", g.header)
	}
}

func TestLimitsByKey(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: limits(t, "header:X-Tenant=1/1h", "query:q=2/1h", "path:2=5/1h")})
	for i, c := range []struct {
		tenant, query string
		want          int
	}{
		{"a", "1", 200},
		{"a", "2", 429},
		{"b", "1", 200},
		{"c", "1", 429}, // over the limit by query
		{"c", "2", 200}, // c's try above was refused, and does not count
		{"", "3", 200},
		{"", "4", 429}, // no key is a key
	} {
		if g := b.do("POST", "/v1/orders?q="+c.query, "", "X-Tenant", c.tenant); g.status != c.want {
			t.Errorf("request %d: %d %s", i, g.status, g.body)
		}
	}
	if s := b.Summary(); s.Limits[0].AcceptedInWindow != 1 || s.Limits[0].ArrivalsInWindow != 2 || s.Limits[0].Key != "a" || s.Limits[2].Key != "orders" || s.Limits[0].Possible != 0 {
		t.Errorf("%+v", s.Limits)
	}
}

func TestRefusedRequestsMayCount(t *testing.T) {
	t.Parallel()
	for _, count := range []bool{false, true} {
		l := limits(t, "1/1h", "3/d")
		l.CountRefused = count
		b := open(t, mockapi.Config{Limits: l})
		for i := range 4 {
			b.post(strconv.Itoa(i))
		}
		want := "2" // the second limit has seen one accepted request
		if count {
			want = "0"
		}
		if state := b.post("x").header.Get("RateLimit"); !strings.Contains(state, `"3/24h";r=`+want) {
			t.Errorf("count refused %v: %s", count, state)
		}
	}
}

// TestTooManyAtOnce: requests that hang are under way; one more is refused; when their clients leave, there is room again.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		b := open(t, mockapi.Config{Limits: mockapi.Limits{MaxConcurrent: 2, CrowdedStatus: status}})
		ctx, leave := context.WithCancel(t.Context())
		hanging := *b
		hanging.ctx = ctx
		var clients sync.WaitGroup
		for range 2 {
			clients.Go(func() { hanging.broken("POST", "/hang/after/orders") })
		}
		b.eventually("two under way", func() bool { return b.Summary().Accepted == 2 })
		if g := b.post("third"); g.status != status || g.code(t) != "too_many_at_once" || g.header.Get("Retry-After") != "1" {
			t.Errorf("%d %s %v", g.status, g.body, g.header)
		}
		if s := b.Summary(); s.Crowded != 1 || s.ConcurrentMax != 3 || s.Effects != 2 {
			t.Errorf("%+v", s)
		}
		leave()
		clients.Wait()
		b.eventually("room again", func() bool { return b.post("fourth").status == http.StatusOK })
	}
}

// TestNoneTooManyUnderConcurrency: many clients at once, and never more are let in than the limits allow.
func TestNoneTooManyUnderConcurrency(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []mockapi.Algorithm{mockapi.SlidingWindow, mockapi.FixedWindow, mockapi.TokenBucket} {
		l := limits(t, "20/1h", "header:X-Tenant=8/1h")
		l.Algorithm = algorithm
		b := open(t, mockapi.Config{Limits: l})
		var clients sync.WaitGroup
		for c := range 16 {
			clients.Go(func() {
				for i := range 6 {
					_, _ = b.try("POST", "/orders", "", "X-Tenant", strconv.Itoa((c+i)%3))
				}
			})
		}
		clients.Wait()
		s := b.Summary()
		if s.Accepted != 20 || s.Refused != 76 || s.Effects != 20 || s.Limits[0].AcceptedInWindow != 20 || s.Limits[1].AcceptedInWindow > 8 {
			t.Errorf("%s: %+v", algorithm, s)
		}
		var before int64
		for i, a := range b.Record(0, 1000, mockapi.Filter{}).Arrivals {
			if a.Number != int64(i+1) || a.AtNanoseconds < before {
				t.Errorf("%s: out of order: %+v", algorithm, a)
			}
			before = a.AtNanoseconds
		}
	}
}
