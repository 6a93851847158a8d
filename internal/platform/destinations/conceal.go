package destinations

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// concealedBytesMin is the shortest secret that is looked for in answers: what is shorter is found in everything.
const concealedBytesMin = 6

// conceal takes out of an answer what proved who asks: there are APIs that repeat the key which they refuse, or the whole request.
func (r *Response) conceal(spent []string) {
	for _, secret := range spent {
		for _, form := range formsOf(secret) {
			r.Error = strings.ReplaceAll(r.Error, form, Redacted)
			r.Body = concealed(r.Body, form, r.Truncated)
			for _, values := range r.Header {
				for i := range values {
					values[i] = strings.ReplaceAll(values[i], form, Redacted)
				}
			}
		}
	}
}

// formsOf are the ways in which an answer may write a secret.
func formsOf(secret string) []string {
	if len(secret) < concealedBytesMin {
		return nil
	}
	quoted, _ := json.Marshal(secret) // a string always can be
	inJSON := string(quoted[1 : len(quoted)-1])
	forms := []string{secret, inJSON, strings.ReplaceAll(inJSON, "/", `\/`), url.QueryEscape(secret)}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// concealed is the body without the secret, and of one that was cut off, without the beginning of it at the end.
func concealed(body []byte, secret string, cutOff bool) []byte {
	body = bytes.ReplaceAll(body, []byte(secret), []byte(Redacted))
	if !cutOff {
		return body
	}
	for n := min(len(secret)-1, len(body)); n >= concealedBytesMin; n-- {
		if end := len(body) - n; string(body[end:]) == secret[:n] {
			return append(body[:end:end], Redacted...)
		}
	}
	return body
}
