package destinations

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kontorhq/kontor/internal/kit/egress"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// The headers of signatures, where a destination names no other.
const (
	signatureHeaderDefault = "X-Signature"
	timestampHeaderDefault = "X-Timestamp"
)

// authError says that a request could not be given its credentials. Nothing was sent.
type authError struct {
	code  string
	class Class
	err   error
}

func (e *authError) Error() string { return e.err.Error() }
func (e *authError) Unwrap() error { return e.err }

func noSecret(err error) *authError {
	return &authError{code: "secret_unavailable", class: ClassHold, err: err}
}

// signed is what was proved with: enough to know later whether it is still the same.
type signed struct {
	mark  string   // of the secret; see markOf
	token *token   // of OAuth2
	spent []string // what must not be kept of an answer that repeats it
}

// prove gives the connections that prove who we are, and puts the credentials into the header.
func (d *Destinations) prove(ctx context.Context, t *Target, h http.Header, r *Request) (*egress.Client, signed, error) {
	client, linked, err := d.linked(t)
	if err != nil {
		return nil, signed{mark: marked(t, "", linked)}, noSecret(err)
	}
	proof, err := d.sign(ctx, t, h, r.IdempotencyKey, r.Body)
	if proof.mark != "" || t.Auth.secret() == "" {
		proof.mark = marked(t, proof.mark, linked)
	}
	return client, proof, err
}

// marked is a secret's mark with that of what connections are made with, where there is something.
func marked(t *Target, mark, linked string) string {
	if linked == "" {
		return mark
	}
	return markOf(t.ID, mark+linked)
}

// markNow tells the credentials as they are now from others; empty: they cannot be read.
func (d *Destinations) markNow(t *Target) string {
	mark, linked := "", ""
	if ref := t.Auth.secret(); ref != "" {
		secret, err := d.secrets.read(ref)
		if err != nil {
			return ""
		}
		mark = markOf(t.ID, secret)
	}
	if t.TLS != (TLS{}) {
		m, err := d.secrets.material(t.TLS)
		if err != nil {
			return ""
		}
		linked = m.mark()
	}
	return marked(t, mark, linked)
}

// sign puts the credentials into the header. It overwrites what the request brought under the same name.
func (d *Destinations) sign(ctx context.Context, t *Target, h http.Header, key string, body []byte) (signed, error) {
	auth := t.Auth
	ref := auth.secret()
	if ref == "" {
		return signed{}, nil
	}
	secret, err := d.secrets.read(ref)
	if err != nil {
		return signed{}, noSecret(err)
	}
	if strings.ContainsAny(secret, "\r\n\x00") && auth.Type != AuthHMAC {
		return signed{}, noSecret(fmt.Errorf("the secret %s has characters that no header may have", ref))
	}
	out := signed{mark: markOf(t.ID, secret), spent: []string{secret}}
	switch auth.Type {
	case AuthBearer:
		h.Set("Authorization", "Bearer "+secret)
	case AuthBasic:
		pair := base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + secret))
		out.spent = append(out.spent, pair)
		h.Set("Authorization", "Basic "+pair)
	case AuthAPIKey:
		h.Set(auth.Header, secret)
	case AuthHMAC:
		if err := auth.signBody(h, secret, key, body, d.Now()); err != nil {
			return out, noSecret(err)
		}
	case AuthOAuth2:
		if out.token, err = t.tokens.get(ctx, d, t, secret); err != nil {
			return out, err
		}
		out.spent = append(out.spent, out.token.value)
		h.Set("Authorization", "Bearer "+out.token.value)
	}
	return out, nil
}

// secret is the reference that counts for the type; empty where there is none.
func (a Auth) secret() Secret {
	switch a.Type {
	case AuthBearer:
		return a.Token
	case AuthBasic:
		return a.Password
	case AuthAPIKey:
		return a.Key
	case AuthHMAC:
		return a.Secret
	case AuthOAuth2:
		return a.ClientSecret
	}
	return ""
}

// signBody signs the body and the time, so that who overhears the request cannot repeat it later.
func (a Auth) signBody(h http.Header, secret, key string, body []byte, now time.Time) error {
	if a.Scheme == SchemeStandardWebhooks {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return errors.New("the secret is not whsec_ and base64")
		}
		signature, err := signer.Sign(key, now, body)
		if err != nil {
			return fmt.Errorf("sign the request: %w", err)
		}
		h.Set("Webhook-Id", key)
		h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
		h.Set("Webhook-Signature", signature)
		return nil
	}
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	h.Set(or(a.TimestampHeader, timestampHeaderDefault), at)
	h.Set(or(a.Header, signatureHeaderDefault), hex.EncodeToString(mac.Sum(nil)))
	return nil
}

// markOf tells one secret from another. It is stored when a secret is refused, so that a new one ends the hold; with 32
// bits it gives nothing away to who reads it.
func markOf(id ids.ID, secret string) string {
	sum := sha256.Sum256(append(id[:], secret...))
	return hex.EncodeToString(sum[:4])
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
