package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

// fingerprint groups failures that are alike: of the same kind at the same destination, with the same status and code, and a text
// that differs in nothing but numbers and ids.
func (c *Completion) fingerprint() string {
	var detail struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(c.Detail, &detail) // a detail without an error is as good as none
	parts := []string{c.Task.Destination, c.Task.Kind, strconv.Itoa(c.Status), c.ErrorCode, gist(detail.Error)}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// gistMax bounds what of a text counts, in bytes.
const gistMax = 200

// gist is a text without what differs from case to case: words with digits in them, and what stands in quotes.
func gist(text string) string {
	if len(text) > gistMax {
		text = text[:gistMax]
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n,;()[]{}=/&?", r) })
	kept := words[:0]
	for _, w := range words {
		if !strings.ContainsAny(w, `0123456789"'`) {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}
