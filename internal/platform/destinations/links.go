package destinations

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/kontorhq/kontor/internal/kit/egress"
)

// TLS is what a destination's connections are made with: a certificate that proves who we are, with its key, and the authority whom
// alone the other side's certificate is believed from. All are PEM, by reference.
type TLS struct {
	Certificate Secret `json:"certificate,omitempty"` // with its chain
	Key         Secret `json:"key,omitempty"`
	CA          Secret `json:"ca,omitempty"` // one or several; empty: those that the system trusts
}

// links are a target's connections. Those to the destination itself and to its token's URL are made with what TLS refers to; others
// never are, or they would be shown who we are.
type links struct {
	cfg   egress.Config
	plain *egress.Client

	mu   sync.Mutex
	own  *egress.Client // made with the material of mark; nil: none yet
	mark string
}

func newLinks(cfg egress.Config) *links { return &links{cfg: cfg, plain: egress.New(cfg)} }

// close lets the idle connections go.
func (l *links) close() {
	l.plain.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.own != nil {
		l.own.Close()
	}
}

// linked is the client for the destination itself, and a mark of what its connections are made with; empty: nothing of its own. Where
// the files have changed it is another client: requests under way end on the connections that they have.
func (d *Destinations) linked(t *Target) (*egress.Client, string, error) {
	if t.TLS == (TLS{}) {
		return t.links.plain, "", nil
	}
	m, err := d.secrets.material(t.TLS)
	if err != nil {
		return nil, "", err
	}
	l, mark := t.links, m.mark()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.own != nil && l.mark == mark {
		return l.own, mark, nil
	}
	cfg := l.cfg
	if cfg.Certificates, cfg.RootCAs, err = m.parse(t.TLS); err != nil {
		return nil, mark, err
	}
	if l.own != nil {
		l.own.Close()
	}
	l.own, l.mark = egress.New(cfg), mark
	return l.own, mark, nil
}

// material is what TLS refers to.
type material struct{ certificate, key, ca string }

func (s *secrets) material(t TLS) (m material, err error) {
	for _, part := range []struct {
		from Secret
		into *string
	}{{t.Certificate, &m.certificate}, {t.Key, &m.key}, {t.CA, &m.ca}} {
		if part.from == "" {
			continue
		}
		if *part.into, err = s.read(part.from); err != nil {
			return material{}, err
		}
	}
	return m, nil
}

// mark tells one material from another.
func (m material) mark() string {
	sum := sha256.Sum256([]byte(m.certificate + "\x00" + m.key + "\x00" + m.ca))
	return hex.EncodeToString(sum[:])
}

// parse reads the PEM. Errors name references, never what they refer to.
func (m material) parse(from TLS) ([]tls.Certificate, *x509.CertPool, error) {
	var certificates []tls.Certificate
	if m.certificate != "" {
		pair, err := tls.X509KeyPair([]byte(m.certificate), []byte(m.key))
		if err != nil {
			return nil, nil, fmt.Errorf("%s and %s are no certificate and its key: %w", from.Certificate, from.Key, err)
		}
		certificates = []tls.Certificate{pair}
	}
	if m.ca == "" {
		return certificates, nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(m.ca)) {
		return nil, nil, fmt.Errorf("%s has no certificate in PEM", from.CA)
	}
	return certificates, pool, nil
}
