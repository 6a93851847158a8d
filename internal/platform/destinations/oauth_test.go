package destinations

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

// issuer is a token endpoint, and an API that takes the tokens it has not withdrawn.
type issuer struct {
	mu      sync.Mutex
	fetched int
	valid   map[string]bool
	status  int
	wait    chan struct{}
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	if i.wait != nil {
		<-i.wait
	}
	user, password, _ := r.BasicAuth()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetched++
	if i.status != 0 || user != "me" || password != "s3cret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "read" {
		w.WriteHeader(max(i.status, http.StatusUnauthorized))
		return
	}
	value := "tok" + strings.Repeat("+", i.fetched)
	i.valid[value] = true
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": value, "token_type": "Bearer", "expires_in": 3600})
}

func (i *issuer) call(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (d *desk) issuer(i *issuer) *Target {
	d.env.Store("SECRET_KEY", "s3cret")
	i.valid = map[string]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", i.token)
	mux.HandleFunc("/", i.call)
	url := d.serve(mux.ServeHTTP)
	return d.target(url, func(s *Settings) {
		s.Auth = Auth{Type: AuthOAuth2, TokenURL: url + "/token", ClientID: "me", ClientSecret: "env:SECRET_KEY", Scope: "read"}
	})
}

func (d *desk) get(to *Target) Response {
	return d.Send(d.Context(), to, Request{Method: http.MethodGet, URL: "/"})
}

func TestATokenIsFetchedByOneForAll(t *testing.T) {
	d := newDesk(t)
	i := &issuer{wait: make(chan struct{})}
	to := d.issuer(i)
	impatient, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	begun := make(chan struct{}, 51)
	all.Go(func() {
		begun <- struct{}{}
		if got := d.Send(impatient, to, Request{Method: http.MethodGet, URL: "/"}); got.Sent != egress.SentNo || got.Class != ClassRetry {
			t.Errorf("%+v", got)
		}
	})
	for range 50 {
		all.Go(func() {
			begun <- struct{}{}
			if got := d.get(to); got.Class != ClassSucceeded {
				t.Errorf("%+v", got)
			}
		})
	}
	for range 51 {
		<-begun
	}
	cancel()
	close(i.wait)
	all.Wait()
	if i.fetched != 1 {
		t.Errorf("%d tokens were fetched", i.fetched)
	}
}

func TestATokenIsRenewedAheadOfItsEnd(t *testing.T) {
	d := newDesk(t)
	i := &issuer{}
	to := d.issuer(i)
	if got := d.get(to); got.Class != ClassSucceeded {
		t.Fatalf("%+v", got)
	}
	first := to.tokens.current
	d.ahead.Add(int64(59*time.Minute + 30*time.Second))
	if got := d.get(to); got.Class != ClassSucceeded { // the old one still serves
		t.Fatalf("%+v", got)
	}
	to.tokens.mu.Lock()
	f := to.tokens.fetching
	to.tokens.mu.Unlock()
	if f != nil {
		<-f.done
	}
	if to.tokens.current == first || i.fetched != 2 {
		t.Fatalf("%d tokens were fetched", i.fetched)
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	d := newDesk(t)
	i := &issuer{}
	to := d.issuer(i)
	expect := func(class Class, code string, fetched int) {
		t.Helper()
		if got := d.get(to); got.Class != class || got.ErrorCode != code || got.RetryAfter != 0 || i.fetched != fetched {
			t.Fatalf("%+v, %d tokens were fetched", got, i.fetched)
		}
	}
	expect(ClassSucceeded, "", 1)
	clear(i.valid) // withdrawn
	expect(ClassRateLimited, codeTokenRenewed, 1)
	expect(ClassSucceeded, "", 2)
	expect(ClassSucceeded, "", 2)
	clear(i.valid)
	expect(ClassRateLimited, codeTokenRenewed, 2)
	i.mu.Lock()
	i.status = http.StatusServiceUnavailable
	i.mu.Unlock()
	expect(ClassRetry, "token_unavailable", 3)
	expect(ClassRetry, "token_unavailable", 3) // not asked again so soon
	d.ahead.Add(int64(2 * time.Second))
	i.mu.Lock()
	i.status = http.StatusBadRequest
	i.mu.Unlock()
	expect(ClassHold, "token_refused", 4)
}

func TestATokenThatIsNeverTakenHolds(t *testing.T) {
	d := newDesk(t)
	var fetched atomic.Int64
	d.env.Store("SECRET_KEY", "s3cret")
	url := d.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "tok" + strings.Repeat("+", int(fetched.Add(1)))})
	})
	to := d.target(url, func(s *Settings) {
		s.Auth = Auth{Type: AuthOAuth2, TokenURL: url + "/token", ClientID: "me", ClientSecret: "env:SECRET_KEY"}
	})
	if got := d.get(to); got.ErrorCode != codeTokenRenewed {
		t.Fatalf("%+v", got)
	}
	if got := d.get(to); got.Class != ClassHold || got.ErrorCode != "http_401" || fetched.Load() != 2 {
		t.Fatalf("%+v", got)
	}
}
