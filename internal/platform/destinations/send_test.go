package destinations

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// desk sends from a node whose environment and secrets are the test's.
type desk struct {
	*testing.T
	*Destinations
	ahead atomic.Int64
	env   sync.Map
	dir   string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	t.Parallel()
	d := &desk{T: t, dir: t.TempDir()}
	start := clock.System()
	d.Destinations = New(Config{
		Registry: prometheus.NewRegistry(), Clock: func() time.Time { return start.Add(time.Duration(d.ahead.Load())) },
		Secrets: SecretSources{Dirs: []string{d.dir}, Lookup: func(name string) (string, bool) {
			value, ok := d.env.Load(name)
			if !ok {
				return "", false
			}
			return value.(string), true
		}},
	})
	return d
}

// target is a destination on loopback.
func (d *desk) target(baseURL string, change ...func(*Settings)) *Target {
	d.Helper()
	s := Settings{
		BaseURL: baseURL, Auth: Auth{Type: AuthNone}, TimeoutSeconds: 30, MaxResponseBytes: 1 << 10, AllowPrivateNetworks: true,
		CircuitBreaker: BreakerDefault(),
	}
	for _, f := range change {
		f(&s)
	}
	target, err := d.newTarget(Destination{ID: ids.ID{1}, Name: "api", Settings: s}, nil)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(target.links.close)
	return target
}

func (d *desk) serve(handler http.HandlerFunc) string {
	d.Helper()
	s := httptest.NewServer(handler)
	d.Cleanup(s.Close)
	return s.URL
}

// seen is a request as the other side saw it.
type seen struct {
	header http.Header
	uri    string
	body   string
}

func (d *desk) record() (string, func() seen) {
	var last atomic.Pointer[seen]
	url := d.serve(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last.Store(&seen{header: r.Header, uri: r.RequestURI, body: string(body)})
	})
	return url, func() seen { return *last.Load() }
}

func TestARequestArrivesAsItWasMeant(t *testing.T) {
	d := newDesk(t)
	url, last := d.record()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	got := d.Send(t.Context(), d.target(url+"/v1"), Request{
		Method: http.MethodPost, URL: "/charges?a=b", Body: []byte(`{"a":1}`), IdempotencyKey: "tsk_1", Traceparent: parent,
		Header: http.Header{"content-type": {"application/json"}, "Idempotency-Key": {"other"}},
		Task:   http.Header{"X-Kontor-Taskname": {"tsk_1"}},
	})
	r := last()
	if got.Class != ClassSucceeded || got.Sent != egress.SentYes || got.Status != 200 || got.ErrorCode != "" || got.Duration <= 0 || len(got.SHA256) != 32 {
		t.Fatalf("%+v", got)
	}
	if r.uri != "/v1/charges?a=b" || r.body != `{"a":1}` || r.header.Get("Idempotency-Key") != "tsk_1" || r.header.Get("User-Agent") != "Kontor" ||
		r.header.Get("Content-Type") != "application/json" || r.header.Get("Traceparent") != parent || r.header.Get("X-Kontor-Taskname") != "tsk_1" {
		t.Fatalf("%+v", r)
	}
}

func TestCredentials(t *testing.T) {
	d := newDesk(t)
	url, last := d.record()
	d.env.Store("SECRET_KEY", "s3cret")
	d.env.Store("SECRET_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	send := func(a Auth, header http.Header) seen {
		t.Helper()
		target := d.target(url, func(s *Settings) { s.Auth = a })
		got := d.Send(t.Context(), target, Request{Method: http.MethodPost, URL: "/", Body: []byte("body"), IdempotencyKey: "tsk_1", Header: header})
		if got.Class != ClassSucceeded {
			t.Fatalf("%+v", got)
		}
		return last()
	}
	forged := http.Header{"authorization": {"Bearer forged"}, "x-key": {"forged"}}
	if r := send(Auth{Type: AuthBearer, Token: "env:SECRET_KEY"}, forged); r.header.Get("Authorization") != "Bearer s3cret" || len(r.header["Authorization"]) != 1 {
		t.Errorf("%v", r.header)
	}
	if r := send(Auth{Type: AuthBasic, Username: "me", Password: "env:SECRET_KEY"}, forged); r.header.Get("Authorization") != "Basic bWU6czNjcmV0" {
		t.Errorf("%v", r.header)
	}
	if r := send(Auth{Type: AuthAPIKey, Header: "X-Key", Key: "env:SECRET_KEY"}, forged); r.header.Get("X-Key") != "s3cret" || len(r.header["X-Key"]) != 1 {
		t.Errorf("%v", r.header)
	}
	r := send(Auth{Type: AuthHMAC, Scheme: SchemeStandardWebhooks, Secret: "env:SECRET_HOOK"}, nil)
	verifier, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil || verifier.Verify([]byte(r.body), r.header) != nil || r.header.Get("Webhook-Id") != "tsk_1" {
		t.Errorf("%v, %v", r.header, err)
	}
	r = send(Auth{Type: AuthHMAC, Scheme: SchemeTimestampBody, Secret: "env:SECRET_KEY", Header: "X-Sig", TimestampHeader: "X-At"}, nil)
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(r.header.Get("X-At") + ".body"))
	if r.header.Get("X-Sig") != hex.EncodeToString(mac.Sum(nil)) || r.header.Get("X-At") == "" {
		t.Errorf("%v", r.header)
	}
}

func TestNoAnswerGivesCredentialsAway(t *testing.T) {
	d := newDesk(t)
	const secret = `s3/cr"et+long`
	d.env.Store("SECRET_KEY", secret)
	url := d.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
		text, _ := json.Marshal(r.Header)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Header, text, strings.ReplaceAll(string(text), "/", `\/`))
	})
	for _, a := range []Auth{
		{Type: AuthBearer, Token: "env:SECRET_KEY"},
		{Type: AuthBasic, Username: "me", Password: "env:SECRET_KEY"},
		{Type: AuthAPIKey, Header: "X-Key", Key: "env:SECRET_KEY"},
	} {
		for _, most := range []int64{4096, 90, 100, 110, 120, 130} {
			got := d.Send(t.Context(), d.target(url, func(s *Settings) { s.Auth, s.MaxResponseBytes = a, most }), Request{Method: http.MethodGet, URL: "/"})
			said := fmt.Sprint(got.Header, got.Error) + string(got.Body)
			if got.Status != http.StatusUnauthorized || !strings.Contains(said, "User-Agent") && most == 4096 {
				t.Fatalf("%+v", got)
			}
			for _, form := range append(formsOf(secret), base64.StdEncoding.EncodeToString([]byte("me:"+secret))) {
				if strings.Contains(said, form[:concealedBytesMin]) {
					t.Errorf("%s, cut at %d: %s", a.Type, most, said)
					break
				}
			}
		}
	}
}

func TestCredentialsStayAtHome(t *testing.T) {
	d := newDesk(t)
	d.env.Store("SECRET_KEY", "s3cret")
	away, last := d.record()
	target := d.target("http://localhost:1", func(s *Settings) {
		s.Auth, s.AllowAbsoluteURLs = Auth{Type: AuthBearer, Token: "env:SECRET_KEY"}, true
	})
	got := d.Send(t.Context(), target, Request{Method: http.MethodGet, URL: away + "/x"})
	if got.Class != ClassSucceeded || !got.foreign || last().header.Get("Authorization") != "" {
		t.Fatalf("%+v, %v", got, last().header)
	}
}

func TestASecretThatCannotBeReadHolds(t *testing.T) {
	d := newDesk(t)
	var reached atomic.Int64
	url := d.serve(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	d.env.Store("SECRET_LINES", "a\r\nX-Evil: b")
	d.env.Store("SECRET_HOOK", "whsec_!")
	for _, a := range []Auth{
		{Type: AuthBearer, Token: "env:SECRET_ABSENT"},
		{Type: AuthBearer, Token: "env:PATH"},
		{Type: AuthBearer, Token: Secret("file:" + d.dir + "/absent")},
		{Type: AuthBearer, Token: "file:/etc/passwd"},
		{Type: AuthBearer, Token: "env:SECRET_LINES"},
		{Type: AuthHMAC, Scheme: SchemeStandardWebhooks, Secret: "env:SECRET_HOOK"},
	} {
		got := d.Send(t.Context(), d.target(url, func(s *Settings) { s.Auth = a }), Request{Method: http.MethodGet, URL: "/"})
		if got.Class != ClassHold || got.Sent != egress.SentNo || got.ErrorCode != "secret_unavailable" || strings.Contains(got.Error, "Evil") {
			t.Errorf("%+v: %+v", a, got)
		}
	}
	if reached.Load() != 0 {
		t.Error("something was sent")
	}
}

func TestSecretsAreReferencesToWhatWasPutThere(t *testing.T) {
	d := newDesk(t)
	for _, good := range []Secret{"env:SECRET_A", Secret("file:" + d.dir + "/a"), Secret("file:" + d.dir + "/a/b")} {
		if err := d.secrets.check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []Secret{
		"sk_live_4242", "", "env:", "env:PATH", "env:SECRET_A B", "env:KONTOR_DATABASE_URL", "file:", "file:etc", "file:/etc/passwd", "file:/proc/self/environ",
		Secret("file:" + d.dir), Secret("file:" + d.dir + "/"), Secret("file:" + d.dir + "/../x"), Secret("file:" + d.dir + "x/a"), Secret("file:" + d.dir + "/a\x00"),
	} {
		err := d.secrets.check(bad)
		if err == nil || strings.Contains(err.Error(), "4242") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	path := filepath.Join(d.dir, "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"one", "two and more"} {
		write(text + "\r\n")
		for range 2 {
			if got, err := d.secrets.read(Secret("file:" + path)); err != nil || got != text {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	// Links stay inside.
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"inward": "key", "outward": outside} {
		if err := os.Symlink(to, filepath.Join(d.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.secrets.read(Secret("file:" + d.dir + "/inward")); err != nil || got != "two and more" {
		t.Error(got, err)
	}
	for _, name := range []string{"outward", "", "."} {
		if got, err := d.secrets.read(Secret("file:" + d.dir + "/" + name)); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, text := range []string{"", "\n", strings.Repeat("a", secretBytesMax+1)} {
		write(text)
		if got, err := d.secrets.read(Secret("file:" + path)); err == nil {
			t.Errorf("%d bytes: %s", len(text), got)
		}
	}
}

func TestWhatAnAnswerComesTo(t *testing.T) {
	d := newDesk(t)
	url := d.serve(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/limited":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/curt":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/later":
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(http.StatusInternalServerError)
		case "/silent":
			<-r.Context().Done()
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/long":
			_, _ = io.WriteString(w, strings.Repeat("a", 5000))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	for _, c := range []struct {
		path, code string
		class      Class
		sent       egress.Sent
		retryAfter time.Duration
	}{
		{"/limited", "http_429", ClassRateLimited, egress.SentYes, 7 * time.Second},
		{"/curt", "http_429", ClassRateLimited, egress.SentYes, time.Second},
		{"/later", "http_500", ClassRetry, egress.SentYes, 9 * time.Second},
		{"/silent", "timed_out", ClassUnknown, egress.SentMaybe, 0},
		{"/cut", "connection_broken", ClassUnknown, egress.SentMaybe, 0},
		{"/long", "", ClassSucceeded, egress.SentYes, 0},
		{"/absent", "http_404", ClassDeadLetter, egress.SentYes, 0},
		{"no-path", "request_invalid", ClassDeadLetter, egress.SentNo, 0},
	} {
		r := Request{Method: http.MethodPost, URL: c.path, IdempotencyKey: "k"}
		if c.path == "/silent" {
			r.Timeout = 50 * time.Millisecond
		}
		got := d.Send(t.Context(), d.target(url), r)
		if got.Class != c.class || got.ErrorCode != c.code || got.Sent != c.sent || got.RetryAfter != c.retryAfter || (got.Error == "") != (c.code == "") {
			t.Errorf("%s: %+v", c.path, got)
		}
		if c.path == "/long" && (len(got.Body) != 1<<10 || !got.Truncated || got.Size != 5000) {
			t.Errorf("%d of %d, %v", len(got.Body), got.Size, got.Truncated)
		}
	}
	refused := d.target(url, func(s *Settings) { s.AllowPrivateNetworks = false })
	if got := d.Send(t.Context(), refused, Request{Method: http.MethodGet, URL: "/"}); got.ErrorCode != "address_forbidden" || got.Sent != egress.SentNo || got.Class != ClassRetry {
		t.Errorf("%+v", got)
	}
}

func TestARequestIsASpanAndIsCounted(t *testing.T) {
	d := newDesk(t)
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	d.Destinations = New(Config{Registry: prometheus.NewRegistry(), Clock: clock.System, Tracers: provider})
	url, last := d.record()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	d.Send(t.Context(), d.target(url), Request{Method: http.MethodPut, URL: "/", Traceparent: parent})
	d.Send(t.Context(), d.target("http://127.0.0.1:1"), Request{Method: http.MethodGet, URL: "/"})
	spans := recorder.Ended()
	if len(spans) != 2 || spans[0].Name() != "PUT" || spans[0].SpanKind() != trace.SpanKindClient ||
		spans[0].Parent().SpanID().String() != "b7ad6b7169203331" || spans[1].Status().Code != codes.Error {
		t.Fatalf("%+v", spans)
	}
	own := spans[0].SpanContext()
	if got := last().header.Get("Traceparent"); got != "00-0af7651916cd43dd8448eb211c80319c-"+own.SpanID().String()+"-01" {
		t.Error(got)
	}
	for class, status := range map[Class]string{ClassSucceeded: "2xx", ClassRetry: "none"} {
		if got := testutil.ToFloat64(d.metrics.requests.WithLabelValues("api", string(class), status)); got != 1 {
			t.Errorf("%s: %v", class, got)
		}
	}
	for n := range namesMax + 10 {
		d.metrics.observe(strings.Repeat("a", n+1), &Response{Class: ClassRetry})
	}
	if got := testutil.CollectAndCount(d.metrics.requests); got > namesMax+5 {
		t.Errorf("%d series", got)
	}
}
