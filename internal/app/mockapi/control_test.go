package mockapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/app/mockapi"
)

// read gives what the control answers as a noun.
func read[T any](b *bench, path string) T {
	b.t.Helper()
	var noun T
	b.do("GET", path, "").into(b.t, &noun)
	return noun
}

func TestTheRecordInPages(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: limits(t, "20/1h")})
	for i := range 25 {
		b.post(strconv.Itoa(i % 5))
	}
	var numbers []int64
	after := int64(0)
	for {
		page := read[mockapi.RecordPage](b, fmt.Sprintf("/_mock/record?limit=10&after=%d", after))
		for _, a := range page.Arrivals {
			numbers = append(numbers, a.Number)
		}
		if after = page.NextAfter; after == 0 {
			break
		}
	}
	if len(numbers) != 25 || numbers[0] != 1 || numbers[24] != 25 {
		t.Errorf("%v", numbers)
	}
	if page := read[mockapi.RecordPage](b, "/_mock/record?verdict=refused"); len(page.Arrivals) != 5 || page.NextAfter != 0 {
		t.Errorf("%+v", page)
	}
	if page := read[mockapi.RecordPage](b, "/_mock/record?idempotency_key=3&limit=2"); len(page.Arrivals) != 2 || page.Arrivals[1].Replayed == 0 || page.NextAfter == 0 {
		t.Errorf("%+v", page)
	}
	if page := read[mockapi.RecordPage](b, "/_mock/record?after=25"); len(page.Arrivals) != 0 {
		t.Errorf("%+v", page)
	}
	first := read[mockapi.KeyPage](b, "/_mock/keys?limit=3")
	rest := read[mockapi.KeyPage](b, fmt.Sprintf("/_mock/keys?limit=3&after=%d", first.NextAfter))
	if len(first.Keys) != 3 || len(rest.Keys) != 2 || rest.NextAfter != 0 || rest.Keys[1].IdempotencyKey != "4" || rest.Keys[1].Arrivals != 5 {
		t.Errorf("%+v, %+v", first, rest)
	}
	if page := read[mockapi.KeyPage](b, "/_mock/keys?arrivals_min=6"); len(page.Keys) != 0 {
		t.Errorf("%+v", page)
	}
	if g := b.do("GET", "/_mock/record?after=x&limit=0", ""); g.status != http.StatusBadRequest || !strings.Contains(g.body, "after") || !strings.Contains(g.body, "limit") {
		t.Errorf("%d %s", g.status, g.body)
	}
	if got, want := read[mockapi.Summary](b, "/_mock/summary"), b.Summary(); got.Arrivals != 25 || got.Refused != 5 || got.Limits[0].ArrivalsInWindow != want.Limits[0].ArrivalsInWindow {
		t.Errorf("%+v", got)
	}
}

func TestTheRecordIsBounded(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{RecordMax: 10})
	for i := range 25 {
		b.post(strconv.Itoa(i))
	}
	s := b.Summary()
	if s.Arrivals != 25 || s.Effects != 25 || s.Keys != 25 || s.Remembered.Arrivals != 10 || s.Remembered.ArrivalsDropped != 15 || s.Remembered.KeysDropped != 15 {
		t.Errorf("%+v", s)
	}
	page := b.Record(0, 100, mockapi.Filter{})
	if len(page.Arrivals) != 10 || page.Arrivals[0].Number != 16 || page.Dropped != 15 {
		t.Errorf("%+v", page)
	}
	keys := b.Keys(0, 3, 0, 0)
	if rest := b.Keys(keys.NextAfter, 100, 0, 0); len(keys.Keys) != 3 || len(rest.Keys) != 7 || keys.Keys[0].IdempotencyKey != "15" {
		t.Errorf("%+v, %+v", keys, rest)
	}
	var told strings.Builder
	s.WriteText(&told)
	if !strings.Contains(told.String(), "15 arrivals and 15 keys were dropped") {
		t.Error(told.String())
	}
}

func TestChangingItAtRunTime(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{})
	b.post("a")
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "/_mock/limits", `{"limits":["1/1h","header:X-Tenant=5/1s"],"max_concurrent":9}`, 200, `"limits":["1/1h","header:X-Tenant=5/1s"],"algorithm":"sliding_window"`},
		{"PUT", "/_mock/limits", `{"limits":["x"]}`, 400, "count/period"},
		{"PUT", "/_mock/limits", `{"limit":["1/1h"]}`, 400, "unknown field"},
		{"PUT", "/_mock/faults", `{"profile":"light","error_503":"5%","latency":"1ms..2ms"}`, 200, `"error_503":"0.05"`},
		{"PUT", "/_mock/faults", `heavy,seed=7`, 200, `"seed":"7"`},
		{"PUT", "/_mock/faults", `"none"`, 200, "30s"},
		{"PUT", "/_mock/faults", `mild`, 400, "no profile"},
		{"PUT", "/_mock/auth", `{"kind":"password"}`, 400, "no kind"},
		{"PUT", "/_mock/auth", `{"kind":"none"}`, 200, `"kind":"none"`},
		{"POST", "/_mock/down", `{"how":"fire","for":"x"}`, 400, "503 or reset"},
		{"GET", "/_mock/else", ``, 404, "summary"},
		{"DELETE", "/_mock/summary", ``, 404, "summary"},
		{"GET", "/_mock", ``, 404, "summary"},
	} {
		if g := b.do(c.method, c.path, c.body); g.status != c.status || !strings.Contains(g.body, c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, g.status, g.body)
		}
	}
	if g, again := b.post("b"), b.post("c"); g.status != 200 || again.status != 429 {
		t.Errorf("under the new limit: %d and %d", g.status, again.status)
	}
	if s := b.Summary(); s.Arrivals != 3 {
		t.Errorf("the control's own requests are in the record: %+v", s)
	}
	b.do("POST", "/_mock/reset", "")
	if s := b.Summary(); s.Arrivals != 0 || s.Keys != 0 || len(s.Limits) != 2 || s.Limits[0].ArrivalsInWindow != 0 {
		t.Errorf("after the reset: %+v", s)
	}
	if g := b.post("a"); g.status != 200 || g.header.Get("Idempotent-Replayed") != "" || b.last().Number != 4 {
		t.Errorf("%d %s %+v", g.status, g.body, b.last())
	}
}

func TestDownAndUp(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: limits(t, "2/1h")})
	b.do("POST", "/_mock/down", "")
	if g := b.post("a"); g.status != http.StatusServiceUnavailable || g.code(t) != "down" {
		t.Errorf("%d %s", g.status, g.body)
	}
	b.do("POST", "/_mock/down", `{"how":"reset"}`)
	b.broken("POST", "/orders")
	b.do("POST", "/_mock/up", "")
	if g := b.post("a"); g.status != http.StatusOK {
		t.Errorf("%d %s", g.status, g.body)
	}
	b.do("POST", "/_mock/down", `{"for":"50ms"}`)
	b.eventually("up by itself", func() bool { return b.do("GET", "/", "").status == http.StatusOK })
	if s := b.Summary(); s.Down < 2 || s.Effects != 1 || s.Accepted != 2 || s.Limits[0].ArrivalsInWindow != 2 {
		t.Errorf("%+v", s)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Limits: limits(t, "100/1h")})
	for _, c := range []struct {
		auth  mockapi.Auth
		right []string
		wrong []string
	}{
		{mockapi.Auth{Kind: mockapi.AuthBearer, Token: "t"}, []string{"Authorization", "Bearer t"}, []string{"Authorization", "Bearer u"}},
		{mockapi.Auth{Kind: mockapi.AuthAPIKey, Token: "t"}, []string{"X-Api-Key", "t"}, []string{"Authorization", "Bearer t"}},
		{mockapi.Auth{Kind: mockapi.AuthAPIKey, Token: "t", Header: "Key"}, []string{"Key", "t"}, []string{"X-Api-Key", "t"}},
		{
			mockapi.Auth{Kind: mockapi.AuthBasic, User: "u", Password: "p"},
			[]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))},
			[]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:q"))},
		},
		{mockapi.Auth{Kind: mockapi.AuthHMAC, Secret: "s"}, signed("s", "body", time.Now()), signed("r", "body", time.Now())},
		{mockapi.Auth{Kind: mockapi.AuthHMAC, Secret: "s"}, signed("s", "body", time.Now()), signed("s", "other", time.Now())},
		{mockapi.Auth{Kind: mockapi.AuthHMAC, Secret: "s"}, signed("s", "body", time.Now()), signed("s", "body", time.Now().Add(-time.Hour))},
		{mockapi.Auth{Kind: mockapi.AuthHMAC, Secret: "whsec_" + base64.StdEncoding.EncodeToString([]byte("s"))}, webhook("s", "body"), webhook("r", "body")},
	} {
		set, _ := json.Marshal(c.auth)
		if g := b.do("PUT", "/_mock/auth", string(set)); g.status != http.StatusOK || strings.Contains(g.body, `"t"`) {
			t.Fatalf("%d %s", g.status, g.body)
		}
		before := b.Summary()
		for _, header := range [][]string{nil, c.wrong} {
			if g := b.do("POST", "/orders", "body", header...); g.status != http.StatusUnauthorized || g.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%+v with %v: %d %s", c.auth, header, g.status, g.body)
			}
		}
		if g := b.do("POST", "/orders", "body", c.right...); g.status != http.StatusOK {
			t.Errorf("%+v with %v: %d %s", c.auth, c.right, g.status, g.body)
		}
		if s := b.Summary(); s.Unauthorised != before.Unauthorised+2 || s.Accepted != before.Accepted+1 || s.Effects != before.Effects+1 {
			t.Errorf("%+v: %+v", c.auth, s)
		}
	}
}

// signed gives the headers of a plain signature.
func signed(secret, body string, at time.Time) []string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprint(mac, stamp+"."+body)
	return []string{"X-Timestamp", stamp, "X-Signature", hex.EncodeToString(mac.Sum(nil))}
}

// webhook gives the headers of Standard Webhooks, with an older signature beside.
func webhook(secret, body string) []string {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprint(mac, "msg_1."+stamp+"."+body)
	return []string{
		"Webhook-Id", "msg_1", "Webhook-Timestamp", stamp,
		"Webhook-Signature", "v1,b2xk v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	}
}

func TestOAuth2Tokens(t *testing.T) {
	t.Parallel()
	b := open(t, mockapi.Config{Auth: mockapi.Auth{Kind: mockapi.AuthOAuth2, User: "client", Password: "se cret"}})
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	basic := func(secret string) []string {
		plain := url.QueryEscape("client") + ":" + url.QueryEscape(secret)
		return append([]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(plain))}, form...)
	}
	var first, second struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	b.do("POST", "/oauth/token", "grant_type=client_credentials", basic("se cret")...).into(t, &first)
	b.do("POST", "/oauth/token", "grant_type=client_credentials&client_id=client&client_secret=se+cret", form...).into(t, &second)
	if first.AccessToken == "" || first.AccessToken == second.AccessToken || first.TokenType != "Bearer" || first.ExpiresIn != 60 {
		t.Fatalf("%+v, %+v", first, second)
	}
	for _, c := range []struct {
		method, body string
		header       []string
		status       int
		code         string
	}{
		{"POST", "grant_type=client_credentials", basic("wrong"), 401, "invalid_client"},
		{"POST", "grant_type=password", basic("se cret"), 400, "unsupported_grant_type"},
		{"GET", "", nil, 405, "invalid_request"},
	} {
		if g := b.do(c.method, "/oauth/token", c.body, c.header...); g.status != c.status || !strings.Contains(g.body, c.code) {
			t.Errorf("%s %s: %d %s", c.method, c.body, g.status, g.body)
		}
	}
	use := func(token string) int { return b.do("POST", "/orders", "", "Authorization", "Bearer "+token).status }
	if use(first.AccessToken) != 200 || use(second.AccessToken) != 200 || use("mock_x") != 401 {
		t.Error("a good token is refused, or a bad one is taken")
	}
	b.do("POST", "/_mock/auth/revoke", "")
	if use(first.AccessToken) != 401 {
		t.Error("a revoked token is taken")
	}
	if s := b.Summary(); s.TokensIssued != 2 || s.Arrivals != 4 {
		t.Errorf("%+v", s)
	}
}
