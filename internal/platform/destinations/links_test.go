package destinations

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/nettest"
)

// guarded is an API that believes clients of one authority only, and whose own certificate is of that authority.
func guarded(t *testing.T, authority *nettest.Authority) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Client", r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool, Certificates: []tls.Certificate{authority.Pair("server")}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// file puts something where secrets may be read, and gives its reference.
func (d *desk) file(name string, content []byte) Secret {
	d.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		d.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		d.Fatal(err)
	}
	return Secret("file:" + path)
}

// identity puts a client's certificate and key there.
func (d *desk) identity(authority *nettest.Authority, name string) TLS {
	d.Helper()
	certificate, key := authority.Issue(name)
	return TLS{Certificate: d.file("client.pem", certificate), Key: d.file("client.key", key), CA: d.file("ca.pem", authority.PEM)}
}

func TestADestinationIsShownWhoWeAre(t *testing.T) {
	d := newDesk(t)
	ours, others := nettest.NewAuthority(t, "ours"), nettest.NewAuthority(t, "others")
	api := guarded(t, ours)
	with := func(with TLS) *Target { return d.target(api.URL, func(s *Settings) { s.TLS = with }) }
	send := func(to *Target) Response {
		return d.Send(t.Context(), to, Request{Method: http.MethodPost, URL: "/", Body: []byte("{}")})
	}
	identity := d.identity(ours, "kontor")
	to := with(identity)
	first := send(to)
	if first.Class != ClassSucceeded || first.Header.Get("Client") != "kontor" {
		t.Fatalf("%+v", first)
	}
	if first.mark == "" || first.mark != d.markNow(to) {
		t.Errorf("the mark of what it was sent with is %q, and %q now", first.mark, d.markNow(to))
	}

	d.identity(ours, "kontor-renewed")
	if first.mark == d.markNow(to) {
		t.Error("another certificate has the same mark: a hold for the first one's sake would not end")
	}
	if got := send(to); got.Class != ClassSucceeded || got.Header.Get("Client") != "kontor-renewed" {
		t.Errorf("after the files have changed: %+v", got)
	}
	// What a change of the destination does not touch keeps its connections.
	later, err := d.newTarget(to.Destination, to)
	if err != nil || later.links != to.links {
		t.Error("connections were not carried over", err)
	}

	refused := func(name string, got Response, class Class, code string) {
		t.Helper()
		if got.Class != class || got.ErrorCode != code || got.Sent != egress.SentNo || strings.Contains(got.Error, "PRIVATE") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	refused("its authority is not known", send(with(TLS{})), ClassRetry, string(egress.FailureTLS))
	refused("another authority", send(with(TLS{CA: d.file("others.pem", others.PEM)})), ClassRetry, string(egress.FailureTLS))
	foreign, key := others.Issue("kontor")
	for tries := 0; ; tries++ { // who writes late may find the connection gone, and not hear why
		got := send(with(TLS{Certificate: d.file("foreign.pem", foreign), Key: d.file("foreign.key", key), CA: identity.CA}))
		if got.Sent == egress.SentNo && got.ErrorCode != string(egress.FailureCertificate) && tries < 20 {
			continue
		}
		refused("a certificate that it does not believe", got, ClassHold, string(egress.FailureCertificate))
		break
	}
	refused("a key of another", send(with(TLS{Certificate: identity.Certificate, Key: d.file("foreign.key", key), CA: identity.CA})), ClassHold, "secret_unavailable")
	refused("no PEM", send(with(TLS{CA: d.file("empty.pem", []byte("nothing"))})), ClassHold, "secret_unavailable")
	refused("no file", send(with(TLS{CA: Secret("file:" + filepath.Join(d.dir, "missing"))})), ClassHold, "secret_unavailable")
	refused("a private network", send(d.target(api.URL, func(s *Settings) {
		s.TLS, s.AllowPrivateNetworks = identity, false
	})), ClassRetry, string(egress.FailureForbidden))

	// Another host is neither shown the certificate nor believed for the authority's sake.
	elsewhere := d.target("https://127.0.0.1:1", func(s *Settings) { s.TLS, s.AllowAbsoluteURLs = identity, true })
	got := d.Send(t.Context(), elsewhere, Request{Method: http.MethodPost, URL: api.URL, Body: []byte("{}")})
	refused("another host", got, ClassRetry, string(egress.FailureTLS))
}

func TestTLSIsChecked(t *testing.T) {
	d := newDesk(t)
	for name, c := range map[string]struct {
		base string
		tls  TLS
		want string
	}{
		"whole":            {"https://api.example", TLS{Certificate: "env:SECRET_A", Key: "env:SECRET_B", CA: "env:SECRET_C"}, ""},
		"no key":           {"https://api.example", TLS{Certificate: "env:SECRET_A"}, "tls"},
		"itself":           {"https://api.example", TLS{CA: "-----BEGIN CERTIFICATE-----"}, "tls/ca"},
		"where it is idle": {"http://api.example", TLS{CA: "env:SECRET_C"}, "tls"},
	} {
		err := d.validate("api", Settings{BaseURL: c.base, TLS: c.tls}.withDefaults())
		if got := fault.From(err); (err != nil) != (c.want != "") || err != nil && got.Param != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
