package egress

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/nettest"
)

// Who is refused for the certificate's sake has sent nothing, though since TLS 1.3 the request is on its way by then.
func TestACertificateThatIsRefusedHasSentNothing(t *testing.T) {
	t.Parallel()
	ours, others := nettest.NewAuthority(t, "ours"), nettest.NewAuthority(t, "others")
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Client", r.TLS.PeerCertificates[0].Subject.CommonName)
		}))
		s.TLS = &tls.Config{
			MaxVersion: version, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool, Certificates: []tls.Certificate{ours.Pair("server")},
		}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		ask := func(certificates ...tls.Certificate) Response {
			c := inside(t, func(cfg *Config) { cfg.RootCAs, cfg.Certificates = ours.Pool, certificates })
			return c.Do(t.Context(), Request{Method: http.MethodPost, URL: parse(t, s.URL), Body: []byte("{}"), Timeout: time.Minute})
		}
		if got := ask(ours.Pair("kontor")); got.Status != http.StatusOK || got.Header.Get("Client") != "kontor" {
			t.Errorf("%s: %+v", name, got)
		}
		for who, certificates := range map[string][]tls.Certificate{"nobody": nil, "somebody else": {others.Pair("kontor")}} {
			told := false
			for tries := 0; tries < 20 && !told; tries++ { // who writes late may find the connection gone, and not hear why
				got := ask(certificates...)
				if got.Sent != SentNo || got.Status != 0 {
					t.Errorf("%s, %s: %+v", name, who, got)
				}
				// Before TLS 1.3 the other side may say no more than that the handshake has failed.
				told = got.Failure == FailureCertificate || version == tls.VersionTLS12 && got.Failure == FailureTLS
			}
			if !told {
				t.Errorf("%s, %s: is never told why", name, who)
			}
		}
	}
}

// On a kept connection the same words may come after the request was read, so nothing is concluded from them.
func TestARefusalOnAKeptConnectionIsABrokenConnection(t *testing.T) {
	t.Parallel()
	refusal := &net.OpError{Op: "remote error", Err: errors.New("tls: access denied")}
	for _, c := range []struct {
		p    *passage
		want Failure
	}{
		{&passage{tls: true, conn: &conn{}}, FailureCertificate},
		{&passage{tls: true, conn: &conn{}, kept: true}, FailureBroken},
		{&passage{tls: true, conn: &conn{}, answered: true}, FailureBroken},
	} {
		if got := c.p.name(t.Context(), refusal); got != c.want {
			t.Errorf("kept %t, answered %t: got %s, want %s", c.p.kept, c.p.answered, got, c.want)
		}
	}
}
