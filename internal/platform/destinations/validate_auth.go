package destinations

import (
	"slices"
	"strings"
)

// validateAuth wants the fields of the type, all by reference where they are secret, and no others: what would be
// ignored was meant for something.
func (d *Destinations) validateAuth(p *problems, s Settings) {
	a := s.Auth
	given := map[string]string{
		"token": string(a.Token), "username": a.Username, "password": string(a.Password), "key": string(a.Key), "header": a.Header,
		"scheme": string(a.Scheme), "secret": string(a.Secret), "timestamp_header": a.TimestampHeader, "token_url": a.TokenURL,
		"client_id": a.ClientID, "client_secret": string(a.ClientSecret), "scope": a.Scope, "audience": a.Audience,
	}
	required, optional, known := a.Type.fields(a.Scheme)
	if !known {
		p.add("auth/type", "It is one of none, bearer, basic, api_key, hmac, oauth2_client_credentials.")
		return
	}
	for _, name := range []string{
		"token", "username", "password", "key", "header", "scheme", "secret", "timestamp_header", "token_url", "client_id", "client_secret", "scope", "audience",
	} {
		value := given[name]
		switch {
		case slices.Contains(required, name) && value == "":
			p.add("auth/"+name, "The type %s needs it.", a.Type)
		case value != "" && !slices.Contains(required, name) && !slices.Contains(optional, name):
			p.add("auth/"+name, "The type %s has no such field.", a.Type)
		case value != "":
			d.validateAuthField(p, s, name, value)
		}
	}
}

// fields are those that a type must and may have.
func (t AuthType) fields(scheme SignatureScheme) (required, optional []string, known bool) {
	switch t {
	case AuthNone:
		return nil, nil, true
	case AuthBearer:
		return []string{"token"}, nil, true
	case AuthBasic:
		return []string{"username", "password"}, nil, true
	case AuthAPIKey:
		return []string{"header", "key"}, nil, true
	case AuthHMAC:
		if scheme == SchemeStandardWebhooks {
			return []string{"scheme", "secret"}, nil, true
		}
		return []string{"scheme", "secret"}, []string{"header", "timestamp_header"}, true
	case AuthOAuth2:
		return []string{"token_url", "client_id", "client_secret"}, []string{"scope", "audience"}, true
	}
	return nil, nil, false
}

func (d *Destinations) validateAuthField(p *problems, s Settings, name, value string) {
	at := "auth/" + name
	switch name {
	case "token", "password", "key", "secret", "client_secret":
		if err := d.secrets.check(Secret(value)); err != nil {
			p.add(at, "%s.", capital(err.Error()))
		}
	case "header", "timestamp_header":
		if !isToken(value) || isOwn(value) {
			p.add(at, "It is no name of a header that may be set.")
		}
	case "scheme":
		if s.Auth.Scheme != SchemeStandardWebhooks && s.Auth.Scheme != SchemeTimestampBody {
			p.add(at, "It is standard_webhooks or timestamp_body.")
		}
	case "token_url":
		d.validateURL(p, at, value, s.AllowPrivateNetworks)
	case "username":
		if strings.Contains(value, ":") {
			p.add(at, "A user name has no colon.")
		}
		fallthrough
	default:
		if len(value) > 1000 || !isHeaderValue(value) {
			p.add(at, "It has at most 1000 characters, and no control characters.")
		}
	}
}

// validateTLS wants a certificate with its key, all by reference, and a base URL for which they count.
func (d *Destinations) validateTLS(p *problems, s Settings) {
	for _, part := range []struct {
		name string
		ref  Secret
	}{{"certificate", s.TLS.Certificate}, {"key", s.TLS.Key}, {"ca", s.TLS.CA}} {
		if part.ref == "" {
			continue
		}
		if err := d.secrets.check(part.ref); err != nil {
			p.add("tls/"+part.name, "%s.", capital(err.Error()))
		}
	}
	if (s.TLS.Certificate == "") != (s.TLS.Key == "") {
		p.add("tls", "A certificate has a key, and a key a certificate.")
	}
	if s.TLS != (TLS{}) && !strings.HasPrefix(strings.ToLower(s.BaseURL), "https:") {
		p.add("tls", "It counts for a base_url with https:// only.")
	}
}
